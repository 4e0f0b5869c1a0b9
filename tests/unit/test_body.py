"""Bodies: which can be sent again, and are whole then, which are sent once, and how one is read."""

from __future__ import annotations

import gzip
import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPResponse
from pathlib import Path
from typing import IO, Any

import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter

from requests_gracedb import FormData, RetryAdapter
from tests.conftest import Waits, mounted
from tests.loopback_server import (
    Answer,
    Handler,
    LoopbackServer,
    Script,
    drop,
    half_a_body,
    reset,
    reset_at_once,
)
from tests.unit.retries import LARGE, any_break, bodies, later

pytestmark = pytest.mark.usefixtures("waits")

CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"

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


# Bodies of answers


def in_chunks(content: bytes) -> Script:
    """Answer with a chunk for all but the last byte, and one for that."""

    def answer(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + CHUNKED)
        for chunk in content[:-1], content[-1:]:
            if chunk:
                handler.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        handler.wfile.write(b"0\r\n\r\n")

    return answer


def to_the_end(content: bytes) -> Script:
    """Answer without telling how long the body is."""

    def answer(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + content)
        handler.close_connection = True

    return answer


ANSWERS: dict[str, Callable[[bytes], Script]] = {
    "length": lambda content: Answer(body=content),
    "chunks": in_chunks,
    "end": to_the_end,
    "gzip": lambda content: Answer(200, {"Content-Encoding": "gzip"}, gzip.compress(content)),
}


@pytest.mark.parametrize("size", [0, 1, 1024 * 1024, 3 * 1024 * 1024 + 1])
@pytest.mark.parametrize("name", ANSWERS)
def test_the_content_of_an_answer_is_what_the_server_sent(
    name: str, size: int, retrying: requests.Session, server: LoopbackServer
) -> None:
    content = os.urandom(size)
    server.script = [ANSWERS[name](content)]
    assert retrying.get(server.url).content == content
    assert retrying.get(server.url).content == b""
    assert server.connections == (2 if name == "end" else 1)


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """How many bytes of answers http.client is asked for."""
    asked_for: list[int | None] = []
    read = HTTPResponse.read

    def noted_read(response: HTTPResponse, amt: int | None = None) -> bytes:
        asked_for.append(amt)
        return read(response, amt)

    monkeypatch.setattr(HTTPResponse, "read", noted_read)
    return asked_for


@pytest.mark.parametrize("size", [1, 1024 * 1024])
def test_an_answer_of_up_to_1_mib_is_asked_for_once(
    size: int, asked_for: list[int | None], retrying: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(body=bytes(size))]
    retrying.get(server.url)
    assert asked_for == [size]


def test_an_answer_longer_than_its_length_is_not_read_in_small_pieces(
    asked_for: list[int | None], server: LoopbackServer
) -> None:
    def answer(handler: Handler) -> None:
        # urllib3 takes this for 2, and http.client for nothing that it knows.
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n" + bytes(1000))
        handler.drop()

    server.script = [answer]
    with mounted(RetryAdapter(max_retries=0)) as session:
        with suppress(requests.exceptions.ChunkedEncodingError):
            session.get(server.url)
    assert len(asked_for) <= 4


@pytest.mark.parametrize("head", [b"Content-Length: %d\r\n\r\n", CHUNKED + b"%x\r\n"])
def test_a_promise_of_more_than_fits_into_memory_is_an_answer_that_breaks_off(
    head: bytes, server: LoopbackServer
) -> None:
    def promise(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + head % 10**15 + b"half")
        handler.drop()

    server.script = [promise]
    with mounted(RetryAdapter(max_retries=0)) as session:
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            session.get(server.url)


class Made(HTTPAdapter):
    """An adapter that asks no server, and makes an answer with what a test has for it."""

    attributes: dict[str, Any] = {}

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        headers = {"Content-Length": "10"}
        raw = urllib3.HTTPResponse(io.BytesIO(b"half"), headers, 200, preload_content=False)
        response = self.build_response(request, raw)
        vars(response).update(self.attributes)
        return response


class RetryingMade(RetryAdapter, Made):
    """The same, with retries."""


@pytest.mark.parametrize(
    "attributes, content", [({"raw": None}, None), ({"_content": b"read"}, b"read")]
)
def test_an_adapter_mixed_in_may_leave_nothing_to_read(
    attributes: dict[str, Any], content: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Made, "attributes", attributes)
    request = requests.Request("GET", "http://localhost/").prepare()
    assert RetryingMade().send(request).content == content


def test_retries_end_if_an_adapter_mixed_in_does_not_count_them(waits: Waits) -> None:
    request = requests.Request("GET", "http://localhost/").prepare()
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        RetryingMade().send(request)
    assert len(waits) == 5
