"""The credential for a request, chosen as GraceDB's users expect."""

from __future__ import annotations

import logging
from typing import Any

from requests import PreparedRequest
from requests.auth import AuthBase

from .basic import BasicAuth, NetrcAuth, describe_netrc
from .credential import CredentialAuth, Origin, Secret, shown
from .scitoken import (
    SciTokenAuth,
    Token,
    TokenSource,
    describe_places,
    discovered,
    token_source,
)

_logger = logging.getLogger(__name__)

_WHAT_TO_DO = (
    "get a token, e.g. with htgettoken, or pass token=, or username= and password=, or add the "
    "host to your netrc file"
)


class GraceDBAuth(AuthBase):
    """Authentication for GraceDB: the first credential found, for one origin only.

    It looks once, in this order:

    1. ``force_noauth``: no credential at all; see `NoAuth`.
    2. ``token``: a bearer token; see `SciTokenAuth`.
    3. ``username`` and ``password``: basic authentication (RFC 7617).
    4. A bearer token that has not expired and is not for another server, in the places of WLCG
       Bearer Token Discovery or HTCondor's; see `SciTokenAuth.discover`.
    5. The netrc file; see `NetrcAuth`.
    6. With ``auth_reload``, a token as in 4 that has expired but may be renewed.

    The credential goes only to the origin (scheme, host, port) of ``url``, or without ``url``, to
    the origin of each request. It goes over plain http only to loopback hosts. With an
    `AuthAdapter`, such as `GraceDBAdapter`, it follows no redirect to another origin, and a
    redirect leaves no other credential on the request. requests alone would replace it with
    netrc's.

    Parameters
    ----------
    url : str, optional
        A URL of the service. Only its origin counts.
    token : str, os.PathLike, bytes or scitokens.SciToken, optional
        The name of a file that holds a bearer token, or the token itself as `bytes` or SciToken. It
        is used whatever its claims say.
    username, password : str, optional
        Both or neither.
    force_noauth : bool, default False
        Whether to use no credential, even if one could be found.
    fail_if_noauth : bool, default False
        Whether having no credential for ``url``, or an expired token, is an error.
    auth_reload : bool, default False
        Whether to reread the token before it expires, and when the server rejects it.
    auth_reload_timeout : float, default 300
        How many seconds before expiry to reread it.

    Raises
    ------
    ValueError
        ``force_noauth`` and ``fail_if_noauth`` are both set; only one of ``username`` and
        ``password`` is given; ``url`` is not an http or https URL; what was found is malformed; or
        ``fail_if_noauth`` is set and there is no credential, or an expired one. (Without ``url``
        and with a netrc file, a request to a host without a credential raises it instead.)
    OSError
        The token file or the netrc file cannot be read, other users could have written the first,
        or they can read the second.
    TypeError
        ``token`` is not a path, `bytes` or a `scitokens.SciToken`.

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
        try:
            url = self._url = None if url is None else shown(url)
            named = None if token is None else token_source(token)
            hidden = None if password is None else Secret.of(password)
        finally:
            del token, password  # Keep them out of traceback frames.
        _refuse_contradictions(username, hidden, force_noauth, fail_if_noauth)
        reload = auth_reload, auth_reload_timeout
        self._source = _choose(url, named, username, hidden, force_noauth, reload)
        if url is not None and not force_noauth:
            self._source.only_origin = Origin.of(url)
        self._fail_if_noauth = fail_if_noauth
        self._check()

    def __repr__(self) -> str:
        return f"<GraceDBAuth {vars(self).get('_source')!r}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GraceDBAuth):
            return NotImplemented
        return (
            self._source == other._source and self._fail_if_noauth == other._fail_if_noauth
        )

    def __hash__(self) -> int:
        return hash(self._source)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Authenticate a request, as requests expects of an auth object.

        Raises
        ------
        InsecureTransportError
            The request would expose a credential to the network. Nothing was sent.
        ValueError
            ``fail_if_noauth`` is set, and the token has expired or netrc has nothing for the host.
            Nothing was sent.
        """
        request = self._source(request)
        if self._fail_if_noauth and self._source.is_for(request):
            self._check()
            if "Authorization" not in request.headers:
                raise ValueError(self._nothing_found(Origin.of(request.url or "")))
        return request

    def describe(self) -> dict[str, Any]:
        """Tell which credential is used, and why no other, as ``python -m requests_gracedb`` does.

        Returns
        -------
        dict
            ``url``, without user and query; ``places``, a list of dicts, each with ``place``,
            ``found`` and ``used``; ``token``, a dict with the claims of the token in use, or None;
            ``problem``, what keeps the credential from being used, or None. It holds no secrets.
        """
        return describe(self._url, self._source)

    def _check(self) -> None:
        """Raise an exception if a credential is required, but is missing or has expired."""
        source = self._source
        if not self._fail_if_noauth:
            return
        if isinstance(source, NetrcAuth) and not source.hosts:
            raise ValueError(self._nothing_found(source.only_origin))
        if isinstance(source, SciTokenAuth) and source.is_expired():
            raise ValueError(f"{source.problem()}: get a new token, e.g. with htgettoken")

    def _nothing_found(self, origin: Origin | None) -> str:
        server = "" if origin is None else f" for {origin}"
        passed_over = getattr(self._source, "passed_over", None)
        reason = f" ({passed_over})" if passed_over else ""
        tells_more = f"requests-gracedb {self._url or 'URL'} tells what was looked at"
        return f"no credential found{server}{reason}: {_WHAT_TO_DO}. {tells_more}"


class NoAuth(CredentialAuth):
    """No authentication: no Authorization header, whatever netrc, the session or the request says.

    requests adds netrc's credential for the host to a request without auth. After a redirect it
    does so even to a request with auth; only an `AuthAdapter` undoes that.

    Examples
    --------
    >>> session.get("https://gracedb.ligo.org/api/", auth=NoAuth())
    """

    @property
    def place(self) -> str:
        """The name that `GraceDBAuth.describe` gives it."""
        return "force_noauth"

    def authorization(self, origin: Origin) -> None:
        """Return None: there is no credential."""
        return None

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Remove any credential from a request; see `CredentialAuth`."""
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
        The one that was chosen, if any.
    problem : str, optional
        Why none was chosen.

    Returns
    -------
    dict
        See `GraceDBAuth.describe`.
    """
    found = dict.fromkeys(("force_noauth", "token", "username and password"), "not given")
    found.update(describe_places(None if url is None else Origin.of(url)))
    found["netrc"] = describe_netrc(url)
    used = _used(credential)
    if isinstance(credential, (NoAuth, BasicAuth)):
        found[credential.place] = "given"
    elif isinstance(credential, SciTokenAuth) and not credential.is_found:
        found["token"], used = credential.place, "token"
    token = None if credential is None else credential.describe()
    return {
        "url": url and shown(url),
        "places": [
            {"place": place, "found": what, "used": place == used} for place, what in found.items()
        ],
        "token": token,
        "problem": problem or _problem(url, used, credential),
    }


def _refuse_contradictions(
    username: str | None, password: str | None, force_noauth: bool, fail_if_noauth: bool
) -> None:
    if force_noauth and fail_if_noauth:
        raise ValueError("force_noauth and fail_if_noauth are mutually exclusive")
    if (username is None) != (password is None):
        raise ValueError("username and password go together: give both or neither")


def _choose(
    url: str | None,
    token: TokenSource | None,
    username: str | None,
    password: str | None,
    force_noauth: bool,
    reload: tuple[bool, float],
) -> CredentialAuth:
    if force_noauth:
        return NoAuth()
    if token is not None:
        return SciTokenAuth.of(token, token.read(), *reload)
    if username is not None and password is not None:
        return BasicAuth(username, password)
    return _find(url, *reload)


def _find(url: str | None, auth_reload: bool, auth_reload_timeout: float) -> CredentialAuth:
    """Find a token that fits, else netrc, else an expired token that may be renewed."""
    fitting, expired, passed_over = discovered(None if url is None else Origin.of(url))
    if fitting is not None:
        return SciTokenAuth.of(*fitting, auth_reload, auth_reload_timeout)
    netrc = NetrcAuth(url)
    netrc.passed_over = passed_over
    if expired is None or netrc.hosts:
        return netrc
    if auth_reload:
        return SciTokenAuth.of(*expired, auth_reload, auth_reload_timeout)
    _logger.warning("no credential is sent: the token in the %s has expired", expired[0])
    return netrc


def _used(credential: CredentialAuth | None) -> str | None:
    if credential is None or isinstance(credential, NetrcAuth) and not credential.hosts:
        return None
    return credential.place


def _problem(url: str | None, used: str | None, credential: CredentialAuth | None) -> str | None:
    if credential is None or used in (None, "force_noauth"):
        return "no credential"
    if url is not None and not Origin.of(url).is_secure:
        return "a credential is not sent over plain http"
    return credential.problem()
