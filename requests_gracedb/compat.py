"""For code that was written against requests-gracedb 1."""

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
    """Make a plain `requests.Session` that has what ``requests_gracedb.Session`` of version 1 had.

    This is a function and no class. What a session does for GraceDB is done by `GraceDBAdapter` and
    `GraceDBAuth`, which work on any session, be it one of your own, a library's, or a subclass with
    behaviours of its own; a class of ours would only get in their way. It follows that there is
    nothing to inherit from: mount the adapter on your class instead. The parameters are those of
    version 1.

    Parameters
    ----------
    url : str, optional
        A URL of the service. Only its origin gets the credential; without it, every server that the
        session talks to over https does.
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
    who = url, token, username, password
    how = force_noauth, fail_if_noauth, auth_reload, auth_reload_timeout
    try:
        session.auth = GraceDBAuth(*who, *how)
    finally:
        del token, password, who  # No frame of a traceback shows them.
    adapter = GraceDBAdapter()
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session
