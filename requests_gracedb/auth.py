"""Which credential a request gets, found as GraceDB's users expect."""

from __future__ import annotations

import errno
import os
import re
import stat
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from .credential import Credential, CredentialAuth, Origin
from .scitoken import SciTokenAuth, Token


if TYPE_CHECKING:
    from netrc import NetrcParseError

_NOTHING_FOUND = (
    "no credential found: get a token, e.g. with htgettoken, or pass token=, or username= and "
    "password=, or add the host to your netrc file"
)
_NOT_FOR_BASIC = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


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
        source: CredentialAuth
        if force_noauth:
            source = NoAuth()
        elif token is not None:
            source = SciTokenAuth(token, auth_reload, auth_reload_timeout)
        elif username is not None and password is not None:
            source = _BasicAuth(username, password)
        else:
            source = SciTokenAuth.discover(auth_reload, auth_reload_timeout) or NetrcAuth(url)
        if url is not None and not force_noauth:
            source.only_origin = Origin.of(url)
        if fail_if_noauth and isinstance(source, NetrcAuth) and not source.hosts:
            raise ValueError(_NOTHING_FOUND)
        self._url = url
        self._source = source
        # Without a URL, it is each request's own host that netrc may have nothing for.
        self._fail_if_noauth = fail_if_noauth and url is None

    def __repr__(self) -> str:
        return f"<GraceDBAuth {self._source!r}>"

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Authenticate a request, as requests asks of an auth object.

        Parameters
        ----------
        request : requests.PreparedRequest

        Returns
        -------
        requests.PreparedRequest
            The same request.

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
        from .help import describe

        return describe(self._url, self._source)


class NetrcAuth(CredentialAuth):
    """Basic authentication with the user name and password that the netrc file has for a host.

    The file is ``$NETRC``, or else ``~/.netrc``. It is read once, here. Other than requests, which
    reads it for each request, this class refuses a file that is open to other users, and says so
    when a file is broken.

    A pickle of it holds no password; the file is read where the pickle is loaded.

    Parameters
    ----------
    url : str, optional
        A URL of the only origin that gets a credential. Without it each request gets the one for
        its host.

    Raises
    ------
    OSError
        The file cannot be read, belongs to another user, or others can read it.
    ValueError
        The file is broken.

    Examples
    --------
    >>> session.auth = NetrcAuth("https://gracedb.ligo.org/api/")
    """

    def __init__(self, url: str | None = None) -> None:
        self._url = url
        self.path = os.path.expanduser(os.environ.get("NETRC", "~/.netrc"))
        self._entries = _read_netrc(self.path)
        if url is not None:
            self.only_origin = Origin.of(url)
            hosts = self.only_origin.host, "default"
            self._entries = {host: self._entries[host] for host in hosts if host in self._entries}

    def __repr__(self) -> str:
        hosts = ", ".join(sorted(self._entries)) or "no host"
        return f"<NetrcAuth {self.path}, {hosts}>"

    def __reduce__(self) -> tuple[type[NetrcAuth], tuple[str | None]]:
        return type(self), (self._url,)

    @property
    def place(self) -> str:
        """Where the credential comes from."""
        return "netrc"

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts that there is a credential for; ``default`` is any other."""
        return frozenset(self._entries)

    def authorization(self, origin: Origin) -> str | None:
        """Get the value of the Authorization header for an origin.

        Parameters
        ----------
        origin : Origin
            Where the request goes. Only its host counts.

        Returns
        -------
        str or None
            None if the file has no entry for the host.

        Raises
        ------
        ValueError
            The user name or the password cannot be sent by basic authentication.
        """
        entry = self._entries.get(origin.host) or self._entries.get("default")
        return _basic_authorization(*entry) if entry else None


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
        """Get no credential.

        Parameters
        ----------
        origin : Origin
            Any.

        Returns
        -------
        None
        """
        return None

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Take a credential off a request; see `CredentialAuth`."""
        request.headers.pop("Authorization", None)
        return super().__call__(request)


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

        Parameters
        ----------
        request : requests.PreparedRequest
        **kwargs
            The parameters of `requests.adapters.HTTPAdapter.send`.

        Raises
        ------
        InsecureTransportError
            The credential would go over plain http to a proxy. Nothing was sent.
        """
        super().add_headers(request, **kwargs)
        for hook in request.hooks["response"]:
            if isinstance(hook, Credential):
                hook.protect(request, kwargs.get("proxies"))


class _BasicAuth(CredentialAuth):
    def __init__(self, username: str, password: str) -> None:
        self._authorization = _basic_authorization(username, password)

    def __repr__(self) -> str:
        return f"<{self.place}>"

    @property
    def place(self) -> str:
        return "username and password"

    def authorization(self, origin: Origin) -> str:
        return self._authorization


def _basic_authorization(username: str, password: str) -> str:
    if ":" in username:
        raise ValueError("basic authentication takes no user name with a colon in it (RFC 7617)")
    if _NOT_FOR_BASIC.search(username) or _NOT_FOR_BASIC.search(password):
        raise ValueError("basic authentication takes no control characters (RFC 7617)")
    pair = f"{username}:{password}"
    # requests sends ISO-8859-1, which servers have come to expect, and cannot send the rest.
    encoding = "latin-1" if max(pair) <= "\xff" else "utf-8"
    return f"Basic {b64encode(pair.encode(encoding)).decode()}"


def _read_netrc(path: str) -> dict[str, tuple[str, str]]:
    from netrc import NetrcParseError, netrc  # as requests does: most programs need none

    try:
        status = os.stat(path)
    except FileNotFoundError:
        return {}
    # A device, such as /dev/null, keeps no secret.
    if not stat.S_ISCHR(status.st_mode):
        if status.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "netrc file belongs to another user", path)
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            problem = f"netrc file is open to other users: run chmod 600 {path}"
            raise PermissionError(errno.EPERM, problem, path)
    line: int | None = None
    try:
        hosts = netrc(path).hosts
    except (NetrcParseError, UnicodeDecodeError) as error:
        line = _line_of(error, path)
    else:
        return {
            host.lower(): (login or account or "", password or "")
            for host, (login, account, password) in hosts.items()
            if login or account or password
        }
    # Not from within the except clause: the exceptions above show the content.
    raise ValueError(
        f"netrc file {path} is broken in line {line}: an entry is a line "
        "machine HOST login NAME password PASSWORD"
    )


def _line_of(error: NetrcParseError | UnicodeDecodeError, path: str) -> int:
    """Find the line of a broken netrc file."""
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = file.read().split("\n")
    if isinstance(error, UnicodeDecodeError):
        # The error counts from the start of the block that was read.
        return next(number for number, line in enumerate(lines, 1) if "\ufffd" in line)
    # The parser has counted the line break behind the word that it stumbled over (Python 3.13).
    line = error.lineno or 1
    words = lines[line - 2].split() if line > 1 else []
    return line - 1 if words and repr(words[-1]) in error.msg else line
