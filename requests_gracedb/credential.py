"""A credential and the origin that it is meant for, on the first request and on every redirect."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.utils import select_proxy

from .body import is_repeatable, read_body, rewind

_DEFAULT_PORTS = {"http": 80, "https": 443}


class InsecureTransportError(ValueError):
    """A credential was about to go over plain http, beyond this machine or to a proxy."""


class Origin(NamedTuple):
    """Who gets a credential: scheme, host and port of a URL (RFC 6454, section 4).

    Parameters
    ----------
    scheme : str
        Lower-case.
    host : str
        Lower-case; a name outside ASCII in its IDNA form.
    port : int
        The scheme's default port where the URL names none.
    """

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @classmethod
    def of(cls, url: str) -> Origin:
        """Get the origin of any URL that requests accepts.

        Parameters
        ----------
        url : str
            An absolute http or https URL.

        Returns
        -------
        Origin

        Raises
        ------
        ValueError
            It is not an absolute http or https URL.
        """
        request = PreparedRequest()
        request.prepare_url(url, None)
        origin = _origin(request.url or "")
        if origin.scheme not in _DEFAULT_PORTS:
            raise ValueError("a URL of a service starts with https:// or http://")
        return origin

    @property
    def is_secure(self) -> bool:
        """Whether nobody reads on the way what is sent there: over https, and to loopback."""
        return self.scheme == "https" or _is_loopback(self.host)


class AuthAdapter(HTTPAdapter):
    """An adapter that keeps the credential of a `GraceDBAuth` or its like right across redirects.

    The origin that the credential was meant for gets it again, and no other gets any. Nor does a
    proxy, as long as the request goes through it in clear text.

    Parameters
    ----------
    **kwargs
        See `requests.adapters.HTTPAdapter`.
    """

    def add_headers(self, request: PreparedRequest, **kwargs: Any) -> None:
        """Set or remove the Authorization header of a request that follows a redirect.

        Raises
        ------
        InsecureTransportError
            The credential would go over plain http to a proxy. Nothing was sent.
        """
        super().add_headers(request, **kwargs)
        for hook in request.hooks["response"]:
            if isinstance(hook, CredentialGuard):
                hook.protect(request, kwargs.get("proxies"))


class CredentialAuth(AuthBase):
    """What the auth classes of this package have in common: one credential, at one origin.

    It sets the Authorization header of the request that it is called with, and leaves a
    `CredentialGuard` in the request's hooks, by which `AuthAdapter` finds it again after a
    redirect. The auth object itself keeps nothing of a request: threads share it.
    """

    #: The only origin that gets the credential; None for that of each request.
    only_origin: Origin | None = None

    @property
    def place(self) -> str:
        """Where the credential comes from, for `~requests_gracedb.GraceDBAuth.describe`."""
        raise NotImplementedError

    def authorization(self, origin: Origin) -> str | None:
        """Get the value of the Authorization header for an origin.

        Parameters
        ----------
        origin : Origin
            Where the request goes.

        Returns
        -------
        str or None
            The value, or None for a request without a credential.
        """
        raise NotImplementedError

    def renewed(self, rejected: str) -> str | None:
        """Get another value in place of one that a server rejected with 401.

        Parameters
        ----------
        rejected : str
            The value that was sent.

        Returns
        -------
        str or None
            What to send now, or None if there is nothing else than what was rejected.
        """
        return None

    def describe(self) -> dict[str, Any] | None:
        """Tell what is known of a token; see `~requests_gracedb.GraceDBAuth.describe`.

        Returns
        -------
        dict or None
            No secrets; None for a credential that is no token.
        """
        return None

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Authenticate a request, as requests asks of an auth object.

        Raises
        ------
        InsecureTransportError
            There is a credential and the request would show it to the network. Nothing was sent.
        """
        origin = _origin(request.url or "")
        value = self.authorization(origin) if self.only_origin in (None, origin) else None
        if value is not None:
            if not origin.is_secure:
                raise InsecureTransportError(
                    f"refused to send a credential to {origin} in clear text: use https"
                )
            request.headers["Authorization"] = value
        auth = None if value is None else self
        request.register_hook("response", CredentialGuard(origin, request, auth))
        return request


class CredentialGuard:
    """Who guards the credential of one request, in its hooks, which requests copies on a redirect.

    requests does not call the auth object again after a redirect, and puts netrc's credential, if
    there is one for the host, over whatever the request had (`requests.Session.rebuild_auth`).

    Parameters
    ----------
    origin : Origin
        The only one that gets the credential.
    request : requests.PreparedRequest
        The request, authenticated.
    auth : CredentialAuth or None
        Whom to ask for another value when a server rejects this one.
    """

    def __init__(
        self, origin: Origin, request: PreparedRequest, auth: CredentialAuth | None
    ) -> None:
        self._origin = origin
        self._auth = auth
        self._is_granted = auth is not None
        value = request.headers.get("Authorization")
        self._values = [] if value is None else [value]
        self._redirected = self._repeated = False

    def __getstate__(self) -> dict[str, Any]:
        # A response, or the exception that holds it, is of use where the token file is not.
        return {**self.__dict__, "_auth": None}

    def __call__(self, response: Response, **kwargs: Any) -> Response:
        """See every response to the request, as requests calls its hooks.

        Parameters
        ----------
        response : requests.Response
        **kwargs
            The parameters of the request.

        Returns
        -------
        requests.Response
            That to the repeated request, if a server rejected the credential and there was another.
        """
        if response.status_code == 401 and self._auth is not None and not self._repeated:
            response = self._repeat(self._auth, response, **kwargs)
        # A look at the status is cheaper than one at the headers.
        self._redirected = response.status_code >= 300 and response.is_redirect
        self._repeated = self._repeated and self._redirected
        return response

    def protect(self, request: PreparedRequest, proxies: dict[str, str] | None) -> None:
        """See to it that a request has the credential at its origin, and nowhere else.

        Parameters
        ----------
        request : requests.PreparedRequest
            It is about to be sent. What the user did to its headers after authentication stays,
            but for what a redirect has done since.
        proxies : dict or None
            The proxies that requests found for it.

        Raises
        ------
        InsecureTransportError
            The credential would go over plain http to a proxy. Nothing was sent.
        """
        url = request.url or ""
        is_home = _origin(url) == self._origin
        if self._redirected:
            self._restore(request, is_home)
        if not self._is_granted or is_home and self._origin.scheme == "https":
            return
        if request.headers.get("Authorization") not in self._values:
            return
        if not is_home:
            del request.headers["Authorization"]
        elif select_proxy(url, proxies):
            raise InsecureTransportError(
                f"refused to send a credential for {self._origin} in clear text to a proxy: use "
                "https, or name the host in the environment variable no_proxy"
            )

    def _restore(self, request: PreparedRequest, is_home: bool) -> None:
        """Undo what requests did to the header on a redirect."""
        request.headers.pop("Authorization", None)
        if is_home and self._values:
            request.headers["Authorization"] = self._values[-1]

    def _repeat(self, auth: CredentialAuth, response: Response, **kwargs: Any) -> Response:
        """Send the request again with a renewed credential, as requests' HTTPDigestAuth does."""
        request = response.request.copy()
        rejected = request.headers.get("Authorization")
        if rejected not in self._values or not is_repeatable(request):
            return response  # Another origin, somebody else's credential, or a body that is gone.
        value = auth.renewed(str(rejected))
        if value is None:
            return response
        self._repeated = True
        self._values.append(value)
        request.headers["Authorization"] = value
        read_body(response)
        rewind(request)
        repeated = response.connection.send(request, **kwargs)
        repeated.history.append(response)
        repeated.request = request
        return repeated


@lru_cache(maxsize=1024)
def _origin(url: str) -> Origin:
    # By the parser that HTTPAdapter.build_connection_pool_key_attributes uses (requests 2.34):
    # where parsers disagree about a hostile URL, the one that opens the connection decides.
    parts = urlsplit(url)
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    return Origin(parts.scheme, parts.hostname or "", port)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
