"""What the tests of `requests_gracedb.testing` share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from requests_gracedb.testing import GraceDBServer

TIMES = {"t_start": 1.0, "t_0": 2.0, "t_end": 3.0}


@contextmanager
def plain_session(server: GraceDBServer, token: str | None = None) -> Iterator[requests.Session]:
    """A session that shows what the server answers, and with a token of its own."""
    with requests.Session() as session:
        session.trust_env = False
        session.verify = server.ca_bundle
        session.headers["Authorization"] = f"Bearer {token or server.token()}"
        yield session


@contextmanager
def anonymous(server: GraceDBServer) -> Iterator[requests.Session]:
    """A session without a credential."""
    with plain_session(server, "none") as session:
        del session.headers["Authorization"]
        yield session


def post_event(
    session: requests.Session, url: str, content: bytes = b"<LIGO_LW/>", **fields: Any
) -> requests.Response:
    """Upload an event."""
    data = {"group": "Test", "pipeline": "gstlal", **fields}
    return session.post(f"{url}events/", data=data, files={"eventFile": ("coinc.xml", content)})


def make_event(session: requests.Session, url: str, **fields: Any) -> dict[str, Any]:
    """Upload an event, and get its description."""
    response = post_event(session, url, **fields)
    assert response.status_code == 201, response.text
    event: dict[str, Any] = response.json()
    return event


def make_superevent(session: requests.Session, url: str, **fields: Any) -> dict[str, Any]:
    """Upload an event, and make a superevent of it."""
    event = make_event(session, url)["graceid"]
    data = {"preferred_event": event, "category": "T", **TIMES, **fields}
    response = session.post(f"{url}superevents/", json=data)
    assert response.status_code == 201, response.text
    superevent: dict[str, Any] = response.json()
    return superevent
