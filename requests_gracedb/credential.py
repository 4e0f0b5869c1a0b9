"""A credential and the origin it is meant for, on the first request and on every redirect."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from functools import lru_cache
from hmac import compare_digest
from typing import Any
from urllib.parse import urljoin, urlsplit
from weakref import ref

from requests import PreparedRequest, Response
from requests.auth import AuthBase, _basic_auth_str
from requests.sessions import SessionRedirectMixin
from requests.utils import get_netrc_auth, select_proxy

from .body import is_repeatable, read_body, rewind
from .described import DescribedAdapter
from .redaction import shown_url

_DEFAULT_PORTS = {"http": 80, "https": 443}


class InsecureTransportError(ValueError):
    """A credential was about to go over plain http, beyond this machine or to a proxy."""


class Origin(tuple[str, str, int]):
    """Who gets a credential: scheme, host and port of a URL (RFC 6454, section 4).

    `Origin.of` makes one.
    """

    # Not a NamedTuple, because making one takes longer than importing a module of this package.
    __slots__ = ()

    @property
    def scheme(self) -> str:
        """The scheme, lower-case."""
        return self[0]

    @property
    def host(self) -> str:
        """The host, lower-case; a non-ASCII name in its IDNA form."""
        return self[1]

    @property
    def port(self) -> int:
        """The port; the scheme's default port if the URL names none."""
        return self[2]

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
            ``url`` is not an absolute http or https URL.
        """
        origin = _origin(_prepared(url))
        if origin.scheme not in _DEFAULT_PORTS:
            raise ValueError("the URL must be absolute, and start with https:// or http://")
        return origin

    @property
    def is_secure(self) -> bool:
        """Whether what is sent there is safe from eavesdroppers: over https, or to loopback."""
        return self.scheme == "https" or _is_loopback(self.host)


class AuthAdapter(DescribedAdapter):
    """An adapter that keeps a credential, such as that of a `GraceDBAuth`, right on redirects.

    The origin that the credential is meant for gets it again, and no other origin gets any. Nor
    does a proxy that the request goes through in clear text.

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
        for hook in request.hooks.get("response", ()):
            if isinstance(hook, CredentialGuard):
                hook.protect(request, kwargs.get("proxies"))


class CredentialAuth(AuthBase):
    """The base of the auth classes of this package: one credential, for one origin.

    It sets the Authorization header of the request that it is called with, and leaves a
    `CredentialGuard` in the request's hooks, where `AuthAdapter` finds it after a redirect. The
    auth object itself keeps nothing of a request, because threads share it.
    """

    #: The only origin that gets the credential; None for the origin of each request.
    only_origin: Origin | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CredentialAuth):
            return NotImplemented
        return type(self) is type(other) and bool(self._compared() == other._compared())

    def __hash__(self) -> int:
        return hash(type(self))

    def _compared(self) -> Any:
        """Get what makes two auth objects equal; a secret in it is a `Secret`."""
        return vars(self)

    @property
    def place(self) -> str:
        """Where the credential comes from, for `~requests_gracedb.GraceDBAuth.describe`."""
        raise NotImplementedError

    def is_for(self, request: PreparedRequest) -> bool:
        """Tell whether a request goes where the credential may go."""
        return self.only_origin is None or self.only_origin == _origin(request.url or "")

    def authorization(self, origin: Origin) -> str | None:
        """Get the value of the Authorization header for an origin.

        Parameters
        ----------
        origin : Origin
            Where the request goes.

        Returns
        -------
        str or None
            The value, or None to send no credential.
        """
        raise NotImplementedError

    def renewed(self, rejected: str) -> str | None:
        """Get a value to replace one that a server rejected with 401.

        Parameters
        ----------
        rejected : str
            The value that was sent.

        Returns
        -------
        str or None
            What to send now, or None if there is nothing but the rejected value.
        """
        return None

    def problem(self) -> str | None:
        """Tell why a server may ignore the credential, as far as can be known.

        Returns
        -------
        str or None
            Without secrets; None if nothing is known to be wrong.
        """
        return None

    def describe(self) -> dict[str, Any] | None:
        """Tell what is known about a token; see `~requests_gracedb.GraceDBAuth.describe`.

        Returns
        -------
        dict or None
            Without secrets; None for a credential that is not a token.
        """
        return None

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Authenticate a request, as requests expects of an auth object.

        Raises
        ------
        InsecureTransportError
            The request would expose a credential to the network. Nothing was sent.
        """
        origin = _origin(request.url or "")
        value = self.authorization(origin) if self.is_for(request) else None
        if value is not None:
            if not origin.is_secure:
                raise InsecureTransportError(
                    f"refused to send a credential to {origin} in clear text: use https"
                )
            request.headers["Authorization"] = str(value)
        guard = CredentialGuard(origin, request, value, self)
        hooks = request.hooks.get("response", ())
        if hooks:
            hooks = [hook for hook in hooks if not isinstance(hook, CredentialGuard)]
        # Not added to the existing list: copies of a request share it (requests 2.34).
        request.hooks = {**request.hooks, "response": [*hooks, guard]}
        return request


class CredentialGuard:
    """The guard of one request's credential: a response hook that travels along redirects.

    After a redirect, requests does not call the auth object again. If netrc has a credential for
    the host, requests puts it over whatever the request had (`requests.Session.rebuild_auth`).

    Parameters
    ----------
    origin : Origin
        The only one that gets the credential.
    request : requests.PreparedRequest
        The request, with its credential.
    value : str or None
        The value of the Authorization header that it got; None for no credential.
    auth : CredentialAuth
        What to ask for another value when a server rejects this one, and what may be wrong.
    """

    def __init__(
        self, origin: Origin, request: PreparedRequest, value: str | None, auth: CredentialAuth
    ) -> None:
        self._origin = origin
        self._is_granted = value is not None
        self._auth: CredentialAuth | None = auth
        self._request: Callable[[], PreparedRequest | None] = ref(request)
        # Without a credential, there may be a header of the user's own.
        sent = request.headers.get("Authorization") if value is None else value
        self._values = [] if sent is None else [Secret(sent)]

    def __getstate__(self) -> dict[str, Any]:
        # A pickled response, or the exception that holds it, is of use without the token file.
        return {**self.__dict__, "_auth": None, "_request": _no_request}

    def __call__(self, response: Response, **kwargs: Any) -> Response:
        """Check every response to the request, as a response hook of requests.

        Parameters
        ----------
        response : requests.Response
        **kwargs
            The parameters of the request.

        Returns
        -------
        requests.Response
            To the repeated request, if a server rejected the credential and there was another.

        Raises
        ------
        InsecureTransportError
            The response redirects from a secure origin to a host that requests would send netrc's
            password in clear text. The redirect was not followed. (A hook does not learn of
            ``allow_redirects=False`` or ``trust_env``.)
        """
        if response.status_code == 401 and self._is_granted and self._auth is not None:
            response = self._repeat(self._auth, response, **kwargs)
        # Checking the status is cheaper than checking the headers.
        if response.status_code >= 300 and response.is_redirect and self._origin.is_secure:
            _refuse_clear_text(response)
        return response

    def protect(self, request: PreparedRequest, proxies: dict[str, str] | None) -> None:
        """Make sure that a request has the credential at its origin, and nowhere else.

        Parameters
        ----------
        request : requests.PreparedRequest
            It is about to be sent. A header that the user set after authentication stays. What
            requests set or removed on a redirect does not.
        proxies : dict or None
            The proxies that requests found for it.

        Raises
        ------
        InsecureTransportError
            The credential would go over plain http to a proxy. Nothing was sent.
        """
        url = request.url or ""
        is_home = _origin(url) == self._origin
        if request is not self._request() and self._is_of_requests(request):
            self._restore(request, is_home)
        if not self._is_granted or is_home and (self._origin.scheme == "https" or not proxies):
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

    def explain(self, response: Response) -> str | None:
        """Tell what is known about the credential that may have caused an error.

        Parameters
        ----------
        response : requests.Response
            Of status 401, 403 or 404.

        Returns
        -------
        str or None
            None if nothing is known about it.
        """
        auth, request = self._auth, response.request
        if auth is None or _origin(request.url or "") != self._origin:
            return None
        sent = request.headers.get("Authorization")
        if sent is not None and not (self._is_granted and sent in self._values):
            return None  # It is the user's own.
        if auth.only_origin not in (None, self._origin):
            return f"no credential was sent: it is for {auth.only_origin} only"
        is_worth_telling = sent is not None and response.status_code != 404
        return auth.problem() or ("a credential was sent" if is_worth_telling else None)

    def _is_of_requests(self, request: PreparedRequest) -> bool:
        """Tell whether the header of a copy is what requests made of ours on a redirect."""
        value = request.headers.get("Authorization")
        if value is None or value in self._values:
            return True
        netrc = get_netrc_auth(request.url or "")
        return netrc is not None and value == _basic_auth_str(*netrc)

    def _restore(self, request: PreparedRequest, is_home: bool) -> None:
        request.headers.pop("Authorization", None)
        if is_home and self._values:
            request.headers["Authorization"] = str(self._values[-1])

    def _repeat(self, auth: CredentialAuth, response: Response, **kwargs: Any) -> Response:
        """Send the request again with a renewed credential, as requests' HTTPDigestAuth does."""
        request = response.request.copy()
        rejected = Secret(request.headers.get("Authorization", ""))
        if rejected != self._values[0] or not is_repeatable(request):
            # Another origin, somebody else's credential, a renewed one, or a body that is gone.
            return response
        value = auth.renewed(rejected)
        if value is None:
            return response
        self._values.append(Secret(value))
        request.headers["Authorization"] = str(value)
        read_body(response)
        rewind(request)
        repeated = response.connection.send(request, **kwargs)
        repeated.history.append(response)
        repeated.request = request
        return repeated


def shown(url: str) -> str:
    """Get what may be shown of a service's URL, as requests sends it.

    Parameters
    ----------
    url : str
        An absolute http or https URL.

    Returns
    -------
    str
    """
    return shown_url(_prepared(url))


class Secret(str):
    """A secret that stays hidden when an object, or a variable in a traceback, is printed.

    Secrets are compared in constant time, and have no hash.
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def of(cls, password: str) -> Secret:
        """Make a password a secret, and raise TypeError without showing it if it is not `str`."""
        kind = type(password).__name__
        secret = cls(password) if isinstance(password, str) else None
        del password
        if secret is None:
            raise TypeError(f"a password must be str, not {kind}")
        return secret

    def __repr__(self) -> str:
        return "'***'"

    def __getitem__(self, key: Any) -> Secret:
        return Secret(super().__getitem__(key))  # rich shows the start of a long string

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, str):
            return False
        mine, theirs = (str(each).encode("utf-8", "surrogatepass") for each in (self, other))
        return compare_digest(mine, theirs)

    def __ne__(self, other: object) -> bool:
        return not self == other


def _no_request() -> None:
    """Stand in for a request that is in another process."""


def _refuse_clear_text(response: Response) -> None:
    """Raise an exception if requests would send netrc's password in clear text."""
    try:
        target = urljoin(response.url, SessionRedirectMixin().get_redirect_target(response) or "")
        origin = _origin(target)
    except ValueError:
        return  # requests reports what is wrong with it.
    if origin.scheme != "http" or origin.is_secure or get_netrc_auth(target) is None:
        return
    read_body(response)
    raise InsecureTransportError(
        f"did not follow a redirect from {_origin(response.url)} to {origin}: requests would send "
        "the password that netrc has for it in clear text. Use the https URL, or remove the host "
        "from the netrc file"
    )


def _prepared(url: str) -> str:
    """Get a URL as requests sends it; empty if it cannot."""
    request = PreparedRequest()
    try:
        request.prepare_url(url, None)
    except ValueError:
        return ""  # The message shows the URL, which may contain a password.
    return request.url or ""


@lru_cache(maxsize=1024)
def _origin(url: str) -> Origin:
    # With the parser that HTTPAdapter.build_connection_pool_key_attributes uses (requests 2.34):
    # where parsers disagree about a hostile URL, the one that opens the connection decides.
    parts = urlsplit(url)
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    return Origin((parts.scheme, parts.hostname or "", port))


@lru_cache(maxsize=1024)
def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True  # No other name: a resolver may take x.localhost for another machine.
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
