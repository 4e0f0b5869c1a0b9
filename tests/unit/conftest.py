"""What the tests of credentials, of forms and of retries share among themselves."""

from __future__ import annotations

import os
import queue
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from requests_gracedb import FileAdapter, RetryAdapter
from requests_gracedb.testing import GraceDBServer
from tests.conftest import mounted, write_token
from tests.loopback_server import Answer, LoopbackServer, Received
from tests.unit.credentials import NOON, OLD, SECRET
from tests.unit.forms import Echo


# Credentials


@pytest.fixture
def bearer(token_file: Path) -> str:
    """The header with the token of the token file."""
    return f"Bearer {token_file.read_text()}"


@pytest.fixture
def clock() -> Iterator[FrozenDateTimeFactory]:
    """A clock that stands still, at noon, until a test moves it."""
    # pytest measures how long a test takes: that clock runs on.
    with freeze_time(NOON, ignore=["_pytest.timing"]) as clock:
        assert isinstance(clock, FrozenDateTimeFactory)
        yield clock


@pytest.fixture
def expiring_file(tmp_path: Path) -> Path:
    """A file with a token that expires at one o'clock."""
    return write_token(tmp_path / "old", OLD)


@pytest.fixture
def unreadable() -> Iterator[Path]:
    """A file that this process may not read, not even if it was started by root."""
    directory = Path(tempfile.mkdtemp(dir="/tmp"))
    directory.chmod(0o755)
    path = write_token(directory / "token", SECRET)
    path.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        os.setresuid(65534, 65534, 0)
    yield path
    if is_root:
        os.setresuid(0, 0, 0)
    shutil.rmtree(directory)


# Forms


@pytest.fixture
def uploading(gracedb: GraceDBServer) -> Iterator[requests.Session]:
    """A session with nothing but a FileAdapter."""
    with mounted(FileAdapter(), gracedb.ca_bundle) as session:
        yield session


@pytest.fixture
def echo(uploading: requests.Session, gracedb: GraceDBServer) -> Echo:
    """Send something, and get to know what the server made of it."""

    def echo(data: Any = None, **kwargs: Any) -> Any:
        response = uploading.post(f"{gracedb.url}echo/", data=data, **kwargs)
        response.raise_for_status()
        return response.json()

    return echo


@pytest.fixture
def arrived(server: LoopbackServer) -> queue.Queue[Received]:
    """What arrives at the server, also when nobody waits for the answer any more."""
    arrived: queue.Queue[Received] = queue.Queue()

    def answer(received: Received) -> Answer:
        arrived.put(received)
        return Answer()

    server.answer = answer
    return arrived


# Retries


@pytest.fixture
def retrying(ca_bundle: str) -> Iterator[requests.Session]:
    """A session with retries and nothing else."""
    with mounted(RetryAdapter(), ca_bundle) as session:
        yield session
