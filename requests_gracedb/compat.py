"""For code written against requests-gracedb 1."""

from __future__ import annotations

import requests

from .adapter import GraceDBAdapter
from .auth import GraceDBAuth
from .scitoken import Token


def Session(  # noqa: N802
    url: str | None = None,
    token: Token | None = None,
    username: str | None = None,
    password: str | None = None,
    force_noauth: bool = False,
    fail_if_noauth: bool = False,
    auth_reload: bool = False,
    auth_reload_timeout: float = 300,
) -> requests.Session:
    """Make a plain `requests.Session` with what ``requests_gracedb.Session`` had in version 1.

    This is a function, not a class. `GraceDBAdapter` and `GraceDBAuth` do what a session does for
    GraceDB, and they work on any session: your own, a library's, or a subclass with behaviours of
    its own. A class of ours would only get in the way. So there is nothing to inherit from: mount
    the adapter on your class instead. The parameters are those of version 1.

    Parameters
    ----------
    url : str, optional
        A URL of the service. Only its origin gets the credential. Without it, every server that the
        session talks to over https gets it.
    token, username, password, force_noauth, fail_if_noauth, auth_reload, auth_reload_timeout
        See `GraceDBAuth`.

    Returns
    -------
    requests.Session
        With a `GraceDBAdapter` mounted on ``https://`` and ``http://``, and a `GraceDBAuth` as
        ``auth``.

    Raises
    ------
    ValueError, OSError, TypeError
        See `GraceDBAuth`.

    Examples
    --------
    >>> with Session("https://gracedb.ligo.org/api/") as session:
    ...     session.get("https://gracedb.ligo.org/api/superevents/")
    """
    session = requests.Session()
    how = force_noauth, fail_if_noauth, auth_reload, auth_reload_timeout
    try:
        session.auth = GraceDBAuth(url, token, username, password, *how)
    finally:
        del token, password  # Keep them out of traceback frames.
    adapter = GraceDBAdapter()
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session
