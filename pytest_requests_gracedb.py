"""The pytest plug-in of requests-gracedb: fixtures that provide a GraceDB.

It is a separate module, and imports nothing until a fixture is used: every run of pytest loads it,
before pytest-cov begins to measure what importing `requests_gracedb` executes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import requests

    from requests_gracedb.testing import GraceDBServer


@pytest.fixture(scope="session")
def _gracedb_server() -> Iterator[GraceDBServer]:
    from requests_gracedb.testing import GraceDBServer

    with GraceDBServer() as server:
        yield server


@pytest.fixture
def gracedb_server(_gracedb_server: GraceDBServer) -> GraceDBServer:
    """Get a GraceDB with nothing in it, a `requests_gracedb.testing.GraceDBServer`."""
    _gracedb_server.reset()
    return _gracedb_server


@pytest.fixture
def gracedb_session(
    gracedb_server: GraceDBServer, tmp_path: Path
) -> Iterator[requests.Session]:
    """Get a plain session with a GraceDBAdapter and a GraceDBAuth for this GraceDB."""
    import requests

    from requests_gracedb import GraceDBAdapter, GraceDBAuth

    token_file = tmp_path / "gracedb-token"
    token_file.touch(mode=0o600)
    token_file.write_text(gracedb_server.token())
    with requests.Session() as session:
        # The certificates, proxies and netrc of whoever runs the tests are not for this server.
        session.trust_env = False
        session.verify = gracedb_server.ca_bundle
        session.mount(gracedb_server.url, GraceDBAdapter())
        session.auth = GraceDBAuth(gracedb_server.url, token=token_file)
        yield session
