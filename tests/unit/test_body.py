"""Bodies: which can be sent again, and are whole then, and which are sent once."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import pytest
import requests

from requests_gracedb import FormData
from tests.conftest import Waits
from tests.loopback_server import (
    Answer,
    LoopbackServer,
    Script,
    drop,
    half_a_body,
    reset,
    reset_at_once,
)
from tests.unit.retries import LARGE, any_break, bodies, later

pytestmark = pytest.mark.usefixtures("waits")

IN_A_FORM = rb"--.*\r\n\r\n%b\r\n--.*--\r\n"

Opened = Callable[[int], IO[bytes]]

BODIES: dict[str, tuple[Callable[[Path, Opened], dict[str, Any]], bytes]] = {
    "bytes": (lambda path, opened: {"data": path.read_bytes()}, b"0123456789"),
    "str": (lambda path, opened: {"data": path.read_text()}, b"0123456789"),
    "bytearray": (lambda path, opened: {"data": bytearray(path.read_bytes())}, b"0123456789"),
    "fields": (lambda path, opened: {"data": {"group": "Test"}}, b"group=Test"),
    "file": (lambda path, opened: {"data": opened(0)}, b"0123456789"),
    "rest of a file": (lambda path, opened: {"data": opened(4)}, b"456789"),
    "end of a file": (lambda path, opened: {"data": opened(10)}, b""),
    "file in memory": (lambda path, opened: {"data": io.BytesIO(b"0123456789")}, b"0123456789"),
    "files": (lambda path, opened: {"files": {"eventFile": opened(0)}}, IN_A_FORM % b"0123456789"),
    "form": (
        lambda path, opened: {"data": FormData(files={"eventFile": path})},
        IN_A_FORM % b"0123456789",
    ),
    "form with an open file": (
        lambda path, opened: {"data": FormData(files={"eventFile": opened(4)})},
        IN_A_FORM % b"456789",
    ),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file to send."""
    path = tmp_path / "body"
    path.write_bytes(b"0123456789")
    return path


@pytest.fixture
def opened(path: Path) -> Iterator[Opened]:
    """A function that opens it and goes to a position."""
    with ExitStack() as stack:

        def opened(position: int) -> IO[bytes]:
            file = stack.enter_context(path.open("rb"))
            file.seek(position)
            return file

        yield opened


def generated() -> Iterator[bytes]:
    yield b"01234"
    yield b"56789"


# Bodies that can be sent again


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize(
    "method, script",
    [("POST", later(429, "1")), ("DELETE", Answer(503)), ("DELETE", drop), ("DELETE", reset)],
)
def test_a_body_is_sent_again_whole(
    method: str,
    script: Script,
    name: str,
    path: Path,
    opened: Opened,
    session: requests.Session,
    server: LoopbackServer,
) -> None:
    make, expected = BODIES[name]
    server.script = [script, script]
    assert session.request(method, server.url, **make(path, opened)).status_code == 200
    first, *others = bodies(server)
    assert re.fullmatch(expected, first, re.DOTALL)
    assert others == [first, first]


@pytest.mark.parametrize("name", ["bytes", "file", "form"])
def test_a_body_that_was_sent_in_part_is_sent_again_whole(
    name: str, path: Path, session: requests.Session, server: LoopbackServer
) -> None:
    server.greetings = [reset_at_once] * 2
    path.write_bytes(LARGE)
    with path.open("rb") as file:
        data = {"bytes": LARGE, "file": file, "form": FormData(files={"eventFile": path})}[name]
        assert session.delete(server.url, data=data).status_code == 200
    (body,) = bodies(server)
    assert LARGE in body if name == "form" else LARGE == body
    assert server.connections == 3


# Bodies that can be sent once


class Tells:
    """A file with a position that does not go back."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)
        self.read, self.tell = self._file.read, self._file.tell

    def __iter__(self) -> Iterator[bytes]:
        return self._file


@pytest.fixture(params=["generator", "iterator", "pipe", "answer", "file that tells"])
def unrepeatable(
    request: pytest.FixtureRequest, other_server: LoopbackServer
) -> Iterator[object]:
    """A body that can be sent once."""
    if request.param == "generator":
        yield generated()
    elif request.param == "iterator":
        yield iter([b"01234", b"56789"])
    elif request.param == "file that tells":
        yield Tells(b"0123456789")
    elif request.param == "answer":  # It has a position, but cannot go back.
        other_server.script = [Answer(200, {}, b"0123456789")]
        with requests.get(other_server.url, stream=True) as answer:
            yield answer.raw
    else:
        reading, writing = os.pipe()
        os.write(writing, b"0123456789")
        os.close(writing)
        with open(reading, "rb") as pipe:
            yield pipe


@pytest.mark.parametrize("method, status", [("DELETE", 503), ("PUT", 429), ("POST", 429)])
def test_a_body_that_can_be_sent_once_is_sent_once_and_the_status_is_the_answer(
    method: str,
    status: int,
    unrepeatable: Any,
    retrying: requests.Session,
    server: LoopbackServer,
    waits: Waits,
) -> None:
    server.script = [later(status, "1")]
    assert retrying.request(method, server.url, data=unrepeatable).status_code == status
    assert bodies(server) == [b"0123456789"]
    assert not waits


@any_break
@pytest.mark.parametrize("method", ["DELETE", "POST"])
def test_a_body_that_can_be_sent_once_is_sent_once_and_the_fault_is_a_connection_error(
    method: str,
    fault: Script,
    unrepeatable: Any,
    retrying: requests.Session,
    server: LoopbackServer,
    waits: Waits,
) -> None:
    server.script = [fault]
    with pytest.raises(requests.ConnectionError):
        retrying.request(method, server.url, data=unrepeatable)
    assert bodies(server) == [b"0123456789"]
    assert not waits


def test_a_request_after_one_that_can_be_sent_once_is_sent_again(
    retrying: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(503), Answer(503)]
    assert retrying.delete(server.url, data=generated()).status_code == 503
    assert retrying.delete(server.url, data=b"body").status_code == 200
    assert bodies(server) == [b"0123456789", b"body", b"body"]
    assert server.connections == 1


class Once:
    """An iterable that yields nothing the second time, and does not tell."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks

    def __iter__(self) -> Iterator[bytes]:
        yield from self._blocks


def test_a_body_of_which_nothing_is_known_is_sent_once(
    retrying: requests.Session, server: LoopbackServer
) -> None:
    server.script = [later(429, "0")]
    assert retrying.post(server.url, data=Once(generated())).status_code == 429
    assert bodies(server) == [b"0123456789"]


def test_a_copy_of_a_request_whose_body_became_a_generator_is_sent_once(
    retrying: requests.Session, server: LoopbackServer
) -> None:
    prepared = retrying.prepare_request(requests.Request("DELETE", server.url, data=b"body"))
    retrying.send(prepared)
    copy = prepared.copy()
    copy.prepare_body(generated(), None)
    del copy.headers["Content-Length"]
    server.script = [half_a_body]
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        retrying.send(copy)
    assert bodies(server) == [b"body", b"0123456789"]
