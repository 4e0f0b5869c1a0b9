"""Bodies that are not what the headers have promised, or that fail while they are sent."""

from __future__ import annotations

import errno
import http.client
import io
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from urllib3.connection import HTTPConnection
from urllib3.exceptions import NewConnectionError, ProtocolError

from requests_gracedb import ConnectionAdapter, GraceDBAdapter
from tests.conftest import mounted
from tests.loopback_server import LoopbackServer
from tests.unit.retries import unused_port

SECOND = b"DELETE /api/events/G1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(params=[ConnectionAdapter, GraceDBAdapter])
def session(request: pytest.FixtureRequest, ca_bundle: str) -> Iterator[requests.Session]:
    """A session with the adapter alone, and with all of them."""
    with mounted(request.param(), ca_bundle) as session:
        yield session


@pytest.fixture(params=["server", "tls_server"])
def any_server(request: pytest.FixtureRequest) -> LoopbackServer:
    """A server, over http and over TLS."""
    server: LoopbackServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def send_changed(
    session: requests.Session, any_server: LoopbackServer, tmp_path: Path
) -> Callable[[bytes], requests.Response]:
    """Have a file of ten bytes sent that has another content when it is read."""
    path = tmp_path / "log"
    path.write_bytes(b"0123456789")

    def send(content: bytes) -> requests.Response:
        with open(path, "rb") as file:
            request = session.prepare_request(
                requests.Request("POST", any_server.url, data=file)
            )
            path.write_bytes(content)
            return session.send(request)

    return send


class Body:
    """A body that says how long it is."""

    def __init__(self, length: int, blocks: Iterable[Any]) -> None:
        self._length = length
        self._blocks = blocks

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Any]:
        return iter(self._blocks)


class RepeatableBody(Body):
    """One that is put together before it is sent, as it is small."""

    is_repeatable = True


any_body = pytest.mark.parametrize("body_class", [Body, RepeatableBody])


def whole_bodies(server: LoopbackServer) -> list[bytes]:
    """The bodies that have arrived to their end."""
    lengths = [int(received.headers["Content-Length"]) for received in server.requests]
    return [
        received.body
        for received, length in zip(server.requests, lengths)
        if len(received.body) == length
    ]


def test_what_has_been_added_to_a_file_is_not_taken_for_another_request(
    send_changed: Callable[[bytes], requests.Response], any_server: LoopbackServer
) -> None:
    with pytest.raises(RuntimeError, match="more than the 10 bytes that its Content-Length says"):
        send_changed(b"0123456789" + SECOND)
    assert not whole_bodies(any_server)


def test_a_file_that_has_become_shorter_is_an_error_at_once(
    send_changed: Callable[[bytes], requests.Response], any_server: LoopbackServer
) -> None:
    with pytest.raises(RuntimeError, match="less than the 10 bytes that its Content-Length says"):
        send_changed(b"01234")
    assert not whole_bodies(any_server)


def test_a_file_that_is_as_long_as_before_is_sent(
    send_changed: Callable[[bytes], requests.Response], any_server: LoopbackServer
) -> None:
    assert send_changed(b"9876543210").status_code == 200
    assert whole_bodies(any_server) == [b"9876543210"]


def test_items_are_not_taken_for_bytes(
    session: requests.Session, any_server: LoopbackServer
) -> None:
    # requests takes the number of items for Content-Length.
    with pytest.raises(RuntimeError, match="more than the 100 bytes"):
        session.post(any_server.url, data=array("d", [1.0] * 100))
    assert not whole_bodies(any_server)


def test_empty_blocks_are_no_more_than_was_promised(
    session: requests.Session, any_server: LoopbackServer
) -> None:
    blocks = [b"", b"0123", b"", "45ü", memoryview(b"89"), b"", b""]
    session.post(any_server.url, data=Body(10, blocks))
    assert whole_bodies(any_server) == ["012345ü89".encode()]


@any_body
@pytest.mark.parametrize("length, problem", [(9, "more"), (11, "less")])
def test_a_body_is_as_long_as_it_says(
    length: int,
    problem: str,
    body_class: type[Body],
    session: requests.Session,
    any_server: LoopbackServer,
) -> None:
    with pytest.raises(RuntimeError, match=f"{problem} than the {length} bytes"):
        session.post(any_server.url, data=body_class(length, [b"01234", b"56789"]))
    assert not whole_bodies(any_server)


@any_body
@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "Input/output error"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        TimeoutError("timed out"),
        http.client.IncompleteRead(b""),
        ProtocolError("Connection broken"),
        NewConnectionError(HTTPConnection("localhost"), "refused"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_body_that_fails_is_not_taken_for_the_connection(
    error: Exception,
    body_class: type[Body],
    session: requests.Session,
    any_server: LoopbackServer,
) -> None:
    def half() -> Iterator[bytes]:
        yield b"half"
        raise error

    with pytest.raises(RuntimeError, match="failed while it was sent") as caught:
        session.post(any_server.url, data=body_class(8, half()))
    assert caught.value.__cause__ is error
    assert not whole_bodies(any_server)


class Remote(io.BytesIO):
    """A file that asks another server for more when it has been read."""

    def read(self, size: int | None = -1) -> bytes:
        block = super().read(size)
        if not block:
            HTTPConnection("127.0.0.1", unused_port()).connect()
        return block


def test_a_body_whose_source_cannot_be_reached_does_not_arrive(
    session: requests.Session, any_server: LoopbackServer
) -> None:
    with pytest.raises(RuntimeError, match="failed while it was sent: .*refused"):
        session.post(any_server.url, data=Remote(b"body"))
    assert not whole_bodies(any_server)
