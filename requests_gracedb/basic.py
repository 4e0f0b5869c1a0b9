"""User names and passwords: given, or found in the netrc file."""

from __future__ import annotations

import errno
import os
import re
import stat
from base64 import b64encode
from typing import Any

from .credential import CredentialAuth, Origin, Secret, shown

_NOT_FOR_BASIC = "[\x00-\x1f\x7f\ud800-\udfff]"


class BasicAuth(CredentialAuth):
    """Basic authentication (RFC 7617) with a user name and a password.

    Unlike `requests.auth.HTTPBasicAuth`, it accepts any text that the scheme allows, refuses any
    other, and sends nothing over the network in clear text.

    Parameters
    ----------
    username : str
        Without a colon.
    password : str

    Raises
    ------
    ValueError
        Basic authentication cannot send the user name or the password.
    TypeError
        One of them is not a `str`.

    Examples
    --------
    >>> session.auth = BasicAuth("albert.einstein", "relativity")
    """

    def __init__(self, username: str, password: str) -> None:
        try:
            hidden = Secret.of(password)
        finally:
            del password  # Keep it out of traceback frames.
        if not isinstance(username, str):
            raise TypeError(f"a user name must be str, not {type(username).__name__}")
        self._authorization = _basic_authorization(username, hidden)

    @property
    def place(self) -> str:
        """Where the credential comes from."""
        return "username and password"

    def authorization(self, origin: Origin) -> str:
        """Get the value of the Authorization header."""
        return self._authorization


class NetrcAuth(CredentialAuth):
    """Basic authentication with the user name and password that the netrc file has for a host.

    The file is ``$NETRC``, or else ``~/.netrc``. It is read once, when the object is made.
    Unlike requests, which reads it for each request, this class refuses a file that is open to
    other users, and says so when a file is broken.

    Its pickle holds no password; the file is read where the pickle is loaded.

    Parameters
    ----------
    url : str, optional
        A URL of the only origin that gets a credential. Without it, each request gets the
        credential for its host.

    Raises
    ------
    OSError
        The file cannot be read, belongs to another user, or is readable by others.
    ValueError
        The file is broken.

    Examples
    --------
    >>> session.auth = NetrcAuth("https://gracedb.ligo.org/api/")
    """

    #: Why a token was not used, to tell it if there is no credential here either.
    passed_over: str | None = None

    def __init__(self, url: str | None = None) -> None:
        url = self._url = None if url is None else shown(url)
        self.path = os.path.expanduser(os.environ.get("NETRC", "~/.netrc"))
        self._entries = _read_netrc(self.path)
        if url is not None:
            self.only_origin = Origin.of(url)
            hosts = self.only_origin.host, "default"
            self._entries = {host: self._entries[host] for host in hosts if host in self._entries}

    def __repr__(self) -> str:
        hosts = ", ".join(sorted(vars(self).get("_entries", ()))) or "no host"
        return f"<NetrcAuth {self.path}, {hosts}>"

    def __reduce__(self) -> tuple[type[NetrcAuth], tuple[str | None]]:
        return type(self), (self._url,)

    @property
    def place(self) -> str:
        """Where the credential comes from."""
        return "netrc"

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts that have a credential; ``default`` stands for any other."""
        return frozenset(self._entries)

    def problem(self) -> str | None:
        """Tell which token was passed over, if nothing else was found."""
        if self._entries or self.passed_over is None:
            return None
        return f"no credential was sent: when it was looked for, {self.passed_over}"

    def _compared(self) -> tuple[Any, ...]:
        return self.only_origin, self.path

    def authorization(self, origin: Origin) -> str | None:
        """Get the value of the Authorization header for an origin's host, if there is one."""
        entry = self._entries.get(origin.host) or self._entries.get("default")
        return _basic_authorization(*entry) if entry else None


def describe_netrc(url: str | None) -> str:
    """Tell what the netrc file holds.

    Parameters
    ----------
    url : str or None
        A URL of the only origin that matters.

    Returns
    -------
    str
        The hosts, without secrets, or why the file cannot be used.
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


def _basic_authorization(username: str, password: str) -> Secret:
    if ":" in username:
        raise ValueError("basic authentication allows no colon in a user name (RFC 7617)")
    if re.search(_NOT_FOR_BASIC, username) or re.search(_NOT_FOR_BASIC, password):
        problem = "basic authentication allows no control characters or surrogates (RFC 7617)"
        raise ValueError(problem)
    pair = Secret(f"{username}:{password}")
    # requests sends ISO-8859-1, which servers expect, and cannot send the rest.
    encoding = "latin-1" if max(pair) <= "\xff" else "utf-8"
    return Secret(f"Basic {b64encode(pair.encode(encoding)).decode()}")


def _read_netrc(path: str) -> dict[str, tuple[str, Secret]]:
    hosts = _parse_netrc(path) if _is_there(path) else {}
    return {
        host.lower(): (login or account or "", Secret(password or ""))
        for host, (login, account, password) in hosts.items()
        if login or account or password
    }


def _is_there(path: str) -> bool:
    """Tell whether a file exists; raise an exception if it is not private to the user."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return False  # as for requests
    if stat.S_ISCHR(status.st_mode):
        return True  # A device, such as /dev/null, keeps no secret.
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, f"netrc file {path} is not a regular file: name one that is")
    if status.st_uid != os.geteuid():
        problem = "belongs to another user: write one of your own, or set NETRC to its name"
    elif status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        problem = f"is open to other users: run chmod 600 {path}"
    else:
        return True
    raise PermissionError(errno.EPERM, f"netrc file {path} {problem}")


def _parse_netrc(path: str) -> dict[str, tuple[str, str, str]]:
    from netrc import NetrcParseError, netrc  # as requests does: most programs never need it

    try:
        return netrc(path).hosts
    except NetrcParseError as error:
        problem = f"near line {error.lineno}"
    except UnicodeDecodeError:
        problem = "because it is not UTF-8"
    # Raised outside the except clauses: the exceptions there show the content.
    raise ValueError(
        f"netrc file {path} is broken {problem}: an entry is a line "
        "machine HOST login NAME password PASSWORD"
    )
