"""Which credential a request gets, found as GraceDB's users expect."""

from __future__ import annotations

from typing import Any

from requests import PreparedRequest
from requests.auth import AuthBase

from .basic import BasicAuth, NetrcAuth, describe_netrc
from .credential import CredentialAuth, Origin
from .scitoken import SciTokenAuth, Token, describe_places

_NOTHING_FOUND = (
    "no credential found: get a token, e.g. with htgettoken, or pass token=, or username= and "
    "password=, or add the host to your netrc file"
)


class GraceDBAuth(AuthBase):
    """Authentication for GraceDB: the first credential that is found, at one origin only.

    It looks, once and in this order:

    1. ``force_noauth``: no credential at all, see `NoAuth`.
    2. ``token``: a bearer token, see `SciTokenAuth`.
    3. ``username`` and ``password``: basic authentication (RFC 7617).
    4. A bearer token in the places of WLCG Bearer Token Discovery, see `SciTokenAuth.discover`.
    5. The netrc file, see `NetrcAuth`.

    The credential goes to the origin (scheme, host, port) of ``url`` and to no other; without
    ``url``, to that of each request. It never follows a redirect to another origin, and goes over
    plain http to loopback hosts only. With `AuthAdapter`, of which `GraceDBAdapter` is one, it is
    also the only one that a redirect leaves on the request; requests alone would put netrc's in its
    place.

    Parameters
    ----------
    url : str, optional
        A URL of the service. Only its origin counts.
    token : str, os.PathLike or scitokens.SciToken, optional
        The name of a file that holds a bearer token, or a token.
    username, password : str, optional
        Both or neither.
    force_noauth : bool, default False
        Whether to use no credential, wherever one may be found.
    fail_if_noauth : bool, default False
        Whether it is an error to find no credential.
    auth_reload : bool, default False
        Whether to read the token again before it expires, and when the server rejects it.
    auth_reload_timeout : float, default 300
        How many seconds before it expires.

    Raises
    ------
    ValueError
        ``force_noauth`` goes with ``fail_if_noauth``, or ``username`` without ``password`` or the
        other way round; ``fail_if_noauth`` is set and there is no credential (without ``url`` and
        with a netrc file, it is raised by the request for whose host there is none); ``url`` is not
        an http or https URL; what was found is malformed.
    OSError
        The token file or the netrc file cannot be read, or is open to other users.
    TypeError
        ``token`` is neither a path nor a `scitokens.SciToken`.

    Warns
    -----
    UserWarning
        Other users can read the token file.

    Examples
    --------
    >>> session.auth = GraceDBAuth("https://gracedb.ligo.org/api/", auth_reload=True)
    """

    def __init__(
        self,
        url: str | None = None,
        token: Token | None = None,
        username: str | None = None,
        password: str | None = None,
        force_noauth: bool = False,
        fail_if_noauth: bool = False,
        auth_reload: bool = False,
        auth_reload_timeout: float = 300,
    ) -> None:
        if force_noauth and fail_if_noauth:
            raise ValueError("force_noauth and fail_if_noauth exclude each other")
        if (username is None) != (password is None):
            raise ValueError("username and password go together: give both or neither")
        self._source = source = self._choose(
            url, token, username, password, force_noauth, auth_reload, auth_reload_timeout
        )
        if url is not None and not force_noauth:
            source.only_origin = Origin.of(url)
        if fail_if_noauth and isinstance(source, NetrcAuth) and not source.hosts:
            raise ValueError(_NOTHING_FOUND)
        self._url = url
        # Without a URL, it is each request's own host that netrc may have nothing for.
        self._fail_if_noauth = fail_if_noauth and url is None

    def __repr__(self) -> str:
        return f"<GraceDBAuth {self._source!r}>"

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Authenticate a request, as requests asks of an auth object.

        Raises
        ------
        InsecureTransportError
            There is a credential and the request would show it to the network. Nothing was sent.
        ValueError
            ``fail_if_noauth`` is set and netrc has nothing for the host.
        """
        request = self._source(request)
        if self._fail_if_noauth and "Authorization" not in request.headers:
            raise ValueError(_NOTHING_FOUND)
        return request

    def describe(self) -> dict[str, Any]:
        """Tell which credential is used, and why no other, as ``python -m requests_gracedb`` does.

        Returns
        -------
        dict
            ``url``; ``places``, a list of dicts of which each has ``place``, ``found`` and
            ``used``; ``token``, a dict with the claims of the token that is used, or None;
            ``problem``, what keeps the credential from being used, or None. No secret is in it.
        """
        return describe(self._url, self._source)

    @staticmethod
    def _choose(
        url: str | None,
        token: Token | None,
        username: str | None,
        password: str | None,
        force_noauth: bool,
        auth_reload: bool,
        auth_reload_timeout: float,
    ) -> CredentialAuth:
        if force_noauth:
            return NoAuth()
        if token is not None:
            return SciTokenAuth(token, auth_reload, auth_reload_timeout)
        if username is not None and password is not None:
            return BasicAuth(username, password)
        return SciTokenAuth.discover(auth_reload, auth_reload_timeout) or NetrcAuth(url)


class NoAuth(CredentialAuth):
    """No authentication: no Authorization header, whatever netrc, the session or the request says.

    requests adds the credential that netrc has for the host to a request without auth. It does so
    after a redirect, too, even to a request with auth; it takes an `AuthAdapter` to undo that.

    Examples
    --------
    >>> session.get("https://gracedb.ligo.org/api/", auth=NoAuth())
    """

    @property
    def place(self) -> str:
        """Where no credential comes from."""
        return "force_noauth"

    def authorization(self, origin: Origin) -> None:
        """Get no credential."""
        return None

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Take a credential off a request; see `CredentialAuth`."""
        request.headers.pop("Authorization", None)
        return super().__call__(request)


def describe(
    url: str | None, credential: CredentialAuth | None, problem: str | None = None
) -> dict[str, Any]:
    """Tell which credential is used, and why no other; see `GraceDBAuth.describe`.

    Parameters
    ----------
    url : str or None
        A URL of the service.
    credential : CredentialAuth or None
        What was chosen, if anything could be.
    problem : str, optional
        Why not.

    Returns
    -------
    dict
        See `GraceDBAuth.describe`.
    """
    found = dict.fromkeys(("force_noauth", "token", "username and password"), "not given")
    found.update(describe_places())
    found["netrc"] = describe_netrc(url)
    used = _used(credential)
    if isinstance(credential, (NoAuth, BasicAuth)):
        found[credential.place] = "given"
    elif used is not None and used not in found:
        found["token"], used = used, "token"
    token = None if credential is None else credential.describe()
    return {
        "url": url,
        "places": [
            {"place": place, "found": what, "used": place == used} for place, what in found.items()
        ],
        "token": token,
        "problem": problem or _problem(url, used, token),
    }


def _used(credential: CredentialAuth | None) -> str | None:
    if credential is None or isinstance(credential, NetrcAuth) and not credential.hosts:
        return None
    return credential.place


def _problem(url: str | None, used: str | None, token: dict[str, Any] | None) -> str | None:
    if used in (None, "force_noauth"):
        return "no credential"
    if token is not None and token["is_expired"]:
        return "the token has expired"
    if url is not None and not Origin.of(url).is_secure:
        return "a credential does not go over plain http"
    return None
