"""A plug-in for the tests of other clients: they talk to a server of ours, over our adapter."""

from __future__ import annotations

import os
from typing import Any

import pytest
import requests

from requests_gracedb import GraceDBAdapter

SERVICE = os.environ["TEST_SERVICE"]


def pytest_configure(config: pytest.Config) -> None:
    send = requests.Session.send

    def send_over_our_adapter(session: requests.Session, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(session.get_adapter(SERVICE), GraceDBAdapter):
            session.mount(SERVICE, GraceDBAdapter())
        return send(session, *args, **kwargs)

    requests.Session.send = send_over_our_adapter  # type: ignore[method-assign]
    if os.environ["CLIENT"] == "gracedb-sdk":
        from gracedb_sdk import Client

        # Its tests name the server for tests of the collaborations.
        connect = Client.__init__
        Client.__init__ = lambda self, url, **kwargs: connect(self, SERVICE, **kwargs)
    elif version := os.environ.get("API_VERSION"):
        from ligo.gracedb.rest import GraceDb

        create = GraceDb.__init__
        GraceDb.__init__ = lambda self, *args, **kwargs: create(
            self, *args, **{"api_version": version, **kwargs}
        )
