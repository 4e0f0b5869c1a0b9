"""An answer that is an error is read within bounds of size, memory and time."""

from __future__ import annotations

import gzip
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

from requests_gracedb import (
    ErrorAdapter, GraceDBAdapter, GraceDBRetry, RetryAdapter, SciTokenAuth, TimeoutAdapter,
)
from tests.conftest import mounted, write_token
from tests.loopback_server import Answer, Handler, LoopbackServer, Script
from tests.unit.test_errors import as_text

MIB = 1024 * 1024
SHORT = (60, 0.5)  # seconds
AT_LEAST = 60  # seconds that a request would take without a limit, and then some


@pytest.fixture(params=["server", "tls_server"])
def any_server(request: pytest.FixtureRequest) -> LoopbackServer:
    server: LoopbackServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def session(ca_bundle: str) -> Iterator[requests.Session]:
    with mounted(ErrorAdapter(), ca_bundle) as session:
        yield session


def failing(session: requests.Session, url: str, **kwargs: object) -> requests.Response:
    """Get the response of a request that raises."""
    with pytest.raises(requests.HTTPError) as caught:
        session.get(url, **kwargs)  # type: ignore[arg-type]
    return caught.value.response


def begin(handler: Handler, status: int, *headers: str) -> None:
    lines = [f"HTTP/1.1 {status} Some Reason", "Content-Type: text/plain", *headers, "", ""]
    handler.wfile.write("\r\n".join(lines).encode())


def endless(*headers: str, status: int = 503, block: bytes = bytes(65536)) -> Script:
    """Answer with a body that has no end."""

    def send(handler: Handler) -> None:
        begin(handler, status, *headers, "Connection: close")
        while True:
            handler.wfile.write(block)

    return send


def dripping(*headers: str, status: int = 503, piece: bytes = b".") -> Script:
    """Answer with a body of which some comes in good time, again and again."""

    def send(handler: Handler) -> None:
        begin(handler, status, *headers)
        until = time.monotonic() + AT_LEAST
        while time.monotonic() < until:
            handler.wfile.write(piece)
            time.sleep(0.02)
        handler.drop()

    return send


def bomb(size: int, wbits: int) -> Script:
    """Answer with so many zeros, compressed."""
    zeros = zlib.compressobj(wbits=wbits)
    first, again = (zeros.compress(bytes(MIB)) + zeros.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    encoding = "gzip" if wbits > zlib.MAX_WBITS else "deflate"

    def send(handler: Handler) -> None:
        begin(handler, 503, f"Content-Encoding: {encoding}", "Content-Length: 1000000000")
        handler.wfile.write(first)
        for _ in range(size // MIB - 1):
            handler.wfile.write(again)
        handler.drop()

    return send


@pytest.mark.parametrize("size, connections", [(1000, 1), (MIB - 1, 1), (MIB + 1, 2)])
def test_a_body_of_up_to_1_mib_leaves_the_connection_for_the_next_request(
    size: int, connections: int, session: requests.Session, any_server: LoopbackServer
) -> None:
    any_server.script = [as_text(b"x" * size)]
    assert failing(session, any_server.url).content == b"x" * min(size, MIB)
    session.get(any_server.url)
    assert any_server.connections == connections


@pytest.mark.parametrize("stream", [False, True])
def test_of_an_endless_body_1_mib_is_read(
    stream: bool, session: requests.Session, any_server: LoopbackServer
) -> None:
    any_server.script = [endless()]
    assert failing(session, any_server.url, stream=stream).content == bytes(MIB)


def test_of_endless_chunks_1_mib_is_read(
    session: requests.Session, any_server: LoopbackServer
) -> None:
    chunk = b"400\r\n%b\r\n" % bytes(1024)
    any_server.script = [endless("Transfer-Encoding: chunked", block=chunk)]
    assert failing(session, any_server.url).content == bytes(MIB)


def test_an_endless_body_that_never_decodes_to_anything_is_given_up(
    session: requests.Session, server: LoopbackServer
) -> None:
    # Blocks of deflate that are empty.
    empty = b"\x00\x00\x00\xff\xff" * 10_000
    server.script = [endless("Content-Encoding: deflate", block=empty)]
    assert failing(session, server.url).content == b""


@pytest.mark.parametrize("wbits", [zlib.MAX_WBITS, 16 + zlib.MAX_WBITS], ids=["deflate", "gzip"])
@pytest.mark.parametrize("stream", [False, True])
def test_2_gib_that_come_compressed_take_less_than_32_mib(
    stream: bool, wbits: int, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [bomb(2048 * MIB, wbits)]
    tracemalloc.start()
    try:
        response = failing(session, server.url, stream=stream)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert response.content == bytes(MIB)
    assert peak < 32 * MIB


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_explanation_is_read(
    encoding: str, session: requests.Session, server: LoopbackServer
) -> None:
    compress = gzip.compress if "gzip" in encoding else zlib.compress
    body = compress(b"Maintenance")
    server.script = [Answer(503, {"Content-Encoding": encoding}, body)]
    with pytest.raises(requests.HTTPError, match=": Maintenance$"):
        session.get(server.url)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "script",
    [
        dripping("Content-Length: 1000000"),
        dripping("Connection: close"),
        dripping("Transfer-Encoding: chunked", piece=b"1\r\n.\r\n"),
        dripping("Content-Length: 1000000", "Content-Encoding: gzip"),
    ],
    ids=["a length", "no length", "chunks", "gzip"],
)
def test_a_dripping_body_is_read_for_the_read_timeout_altogether(
    script: Script, stream: bool, session: requests.Session, any_server: LoopbackServer
) -> None:
    any_server.script = [script]
    start = time.monotonic()
    failing(session, any_server.url, stream=stream, timeout=SHORT)
    assert time.monotonic() - start < AT_LEAST / 4


def test_what_had_come_of_it_is_there(session: requests.Session, server: LoopbackServer) -> None:
    server.script = [dripping("Content-Length: 1000000")]
    response = failing(session, server.url, timeout=SHORT)
    assert response.text == "." * len(response.content) != ""


def test_the_timeout_of_an_adapter_counts_as_well(server: LoopbackServer) -> None:
    class Adapter(ErrorAdapter, TimeoutAdapter):
        pass

    server.script = [dripping("Content-Length: 1000000")]
    start = time.monotonic()
    with mounted(Adapter(timeout=SHORT)) as session:
        failing(session, server.url)
    assert time.monotonic() - start < AT_LEAST / 4


def test_silence_in_a_body_is_waited_for_no_longer(
    session: requests.Session, any_server: LoopbackServer
) -> None:
    silent = threading.Event()

    def send(handler: Handler) -> None:
        begin(handler, 503, "Content-Length: 100")
        handler.wfile.write(b"half")
        silent.wait(AT_LEAST)
        handler.drop()

    any_server.script = [send]
    assert failing(session, any_server.url, timeout=SHORT).content == b"half"
    silent.set()


# Answers that are read to be retried


@pytest.fixture(params=[RetryAdapter, GraceDBAdapter])
def retrying(request: pytest.FixtureRequest, ca_bundle: str) -> Iterator[requests.Session]:
    adapter: HTTPAdapter = request.param(max_retries=GraceDBRetry(backoff_factor=0))
    with mounted(adapter, ca_bundle) as session:
        yield session


@pytest.mark.parametrize(
    "script",
    [
        endless(),
        dripping("Content-Length: 1000000"),
        dripping("Transfer-Encoding: chunked", piece=b"1\r\n.\r\n"),
    ],
    ids=["endless", "dripping", "dripping chunks"],
)
def test_an_answer_that_is_retried_is_read_within_the_same_bounds(
    script: Script, retrying: requests.Session, any_server: LoopbackServer
) -> None:
    any_server.script = [script]
    start = time.monotonic()
    assert retrying.get(any_server.url, timeout=SHORT).status_code == 200
    assert time.monotonic() - start < AT_LEAST / 4
    assert any_server.connections == 2


def test_a_compressed_answer_that_is_retried_takes_less_than_32_mib(
    retrying: requests.Session, server: LoopbackServer
) -> None:
    server.script = [bomb(2048 * MIB, 16 + zlib.MAX_WBITS)]
    tracemalloc.start()
    try:
        assert retrying.get(server.url).status_code == 200
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 * MIB


def test_an_answer_that_rejects_a_token_is_read_within_the_same_bounds(
    server: LoopbackServer, tmp_path: Path
) -> None:
    path = write_token(tmp_path / "token", "e30.eyJuYW1lIjogImEifQ.c2ln")
    server.script = [endless(status=401)]
    with mounted(GraceDBAdapter()) as session:
        session.auth = SciTokenAuth(path, auth_reload=True)
        write_token(path, "e30.eyJuYW1lIjogImIifQ.c2ln")
        assert session.get(server.url).status_code == 200


@pytest.mark.parametrize(
    "start, piece",
    [(b"", b"0"), (b"5;", b"x"), (b"0\r\n", b"Trailer: x\r\n")],
    ids=["size of a chunk", "extension of a chunk", "trailers"],
)
def test_what_is_around_chunks_is_read_no_longer_than_the_rest(
    start: bytes, piece: bytes, session: requests.Session, any_server: LoopbackServer
) -> None:
    if not hasattr(HTTPResponse, "shutdown"):
        pytest.skip("there is no way to end that before urllib3 2.3")
    given_up = threading.Event()

    def drip(handler: Handler) -> None:
        begin(handler, 400, "Transfer-Encoding: chunked")
        handler.wfile.write(start)
        try:
            while True:
                handler.wfile.write(piece)
                time.sleep(0.02)
        except OSError:
            given_up.set()
            raise

    any_server.script = [drip]
    failing(session, any_server.url, timeout=SHORT)
    assert given_up.wait(60)
