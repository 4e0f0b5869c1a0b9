"""User names and passwords: given, or found in the netrc file."""

from __future__ import annotations

import errno
import os
import re
import stat
from base64 import b64encode

from .credential import CredentialAuth, Origin

_NOT_FOR_BASIC = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


class BasicAuth(CredentialAuth):
    """Basic authentication (RFC 7617) with a user name and a password.

    Unlike `requests.auth.HTTPBasicAuth`, it takes any text that the scheme allows, refuses what it
    does not, and never travels in clear text.

    Parameters
    ----------
    username : str
        Without a colon.
    password : str

    Raises
    ------
    ValueError
        Basic authentication cannot send the user name or the password.

    Examples
    --------
    >>> session.auth = BasicAuth("albert.einstein", "relativity")
    """

    def __init__(self, username: str, password: str) -> None:
        self._authorization = _basic_authorization(username, password)

    def __repr__(self) -> str:
        return f"<{self.place}>"

    @property
    def place(self) -> str:
        """Where the credential comes from."""
        return "username and password"

    def authorization(self, origin: Origin) -> str:
        """Get the value of the Authorization header."""
        return self._authorization


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
        """Get the value of the Authorization header for the host of an origin, if there is one."""
        entry = self._entries.get(origin.host) or self._entries.get("default")
        return _basic_authorization(*entry) if entry else None


def describe_netrc(url: str | None) -> str:
    """Tell what there is in the netrc file.

    Parameters
    ----------
    url : str or None
        A URL of the only origin that matters.

    Returns
    -------
    str
        Hosts, no secrets; or why the file cannot be used.
    """
    try:
        auth = NetrcAuth(url)
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:
        return str(error)
    if auth.hosts:
        return f"{auth.path} has {', '.join(sorted(auth.hosts))}"
    if not os.path.exists(auth.path):
        return f"{auth.path} is absent"
    return f"{auth.path} has nothing" + (f" for {Origin.of(url).host}" if url else "")


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
    hosts = _parse_netrc(path) if _is_private(path) else {}
    return {
        host.lower(): (login or account or "", password or "")
        for host, (login, account, password) in hosts.items()
        if login or account or password
    }


def _is_private(path: str) -> bool:
    """Tell whether a file is there; raise an exception if it is not the user's alone."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return False
    if stat.S_ISCHR(status.st_mode):
        return True  # A device, such as /dev/null, keeps no secret.
    if status.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "netrc file belongs to another user", path)
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        problem = f"netrc file is open to other users: run chmod 600 {path}"
        raise PermissionError(errno.EPERM, problem, path)
    return True


def _parse_netrc(path: str) -> dict[str, tuple[str, str, str]]:
    from netrc import NetrcParseError, netrc  # as requests does: most programs need none

    try:
        return netrc(path).hosts
    except NetrcParseError as error:
        problem = f"near line {error.lineno}"
    except UnicodeDecodeError:
        problem = "because it is not UTF-8"
    # Not from within the except clauses: the exceptions there show the content.
    raise ValueError(
        f"netrc file {path} is broken {problem}: an entry is a line "
        "machine HOST login NAME password PASSWORD"
    )
