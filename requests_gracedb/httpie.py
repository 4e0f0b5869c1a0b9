"""The HTTPie plug-in: ``http -A gracedb https://gracedb.ligo.org/api/superevents/``."""

from __future__ import annotations

import os

from httpie.plugins import AuthPlugin
from requests import PreparedRequest
from requests.auth import AuthBase

from .auth import GraceDBAuth
from .credential import Secret


class GraceDBPlugin(AuthPlugin):  # type: ignore[misc]
    r"""HTTPie's ``--auth-type=gracedb``: the credential that `GraceDBAuth` finds.

    ``-a`` is optional, and names a token file. HTTPie loads this module by its entry point;
    ``import requests_gracedb`` does not import it.

    It authenticates, and leaves everything else to HTTPie. With ``--follow``, redirects are handled
    as in requests: another origin does not get this credential, and netrc's replaces it if there is
    one for the host. For errors, HTTPie has ``--check-status``.

    Examples
    --------
    .. code-block:: sh

        http -A gracedb https://gracedb.ligo.org/api/superevents/
        http -A gracedb -a ~/token -f POST https://gracedb.ligo.org/api/events/ \
            group=Test pipeline=gstlal eventFile@coinc.xml
    """

    name = "GraceDB authentication"
    auth_type = "gracedb"
    description = "A bearer token or netrc, as found by requests-gracedb; -a names a token file"
    auth_require = False
    auth_parse = False

    def get_auth(self, username: str | None = None, password: str | None = None) -> AuthBase:
        """Get the auth object for one request; HTTPie passes neither parameter."""
        return _Auth(self.raw_auth)


class _Auth(AuthBase):
    """Look for the credential when the request is made.

    HTTPie shows a message and an exit status for what a request raises, but a traceback for what is
    raised before.
    """

    def __init__(self, token: str | None) -> None:
        self._token = None if token is None else Secret(token)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        if self._token is not None and ":" in self._token and not os.path.exists(self._token):
            raise ValueError(
                "-a takes the name of a token file here, not a user name and a password: use "
                "-A basic for those"
            )
        return GraceDBAuth(request.url, self._token)(request)
