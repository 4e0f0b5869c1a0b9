"""What is written has the read timeout of the request, a block at a time."""

from __future__ import annotations

import io
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from typing import Any, Union

import pytest
import requests
from urllib3 import Timeout

from requests_gracedb import ConnectionAdapter, FormData, GraceDBAdapter
from requests_gracedb.content import BLOCK_SIZE
from tests.conftest import mounted
from tests.loopback_server import Answer, LoopbackServer, ProxyServer

# More than the buffers of loopback hold, those of a proxy included.
SIZE = 32 * 2**20
PAUSE = 0.5

# A time that is over before a server that pauses reads on, and one that is not.
SHORT, LONG = PAUSE / 3, 100 * PAUSE


class SlowServer:
    """A server that reads in pieces, pauses between them, and answers with what has arrived."""

    def __init__(self, context: ssl.SSLContext | None, *, pieces: int, pause: float) -> None:
        self.requests = 0
        self._context = context
        self._piece, self._pause = SIZE // pieces, pause
        self._end = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        scheme = "https" if context else "http"
        self.url = f"{scheme}://localhost:{self._listener.getsockname()[1]}"

    def __enter__(self) -> SlowServer:
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._end.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while not self._end.is_set():
            try:
                connection, _ = self._listener.accept()
                with connection:
                    self._answer(connection)
            except OSError:
                pass  # The client has given up.

    def _answer(self, connection: socket.socket) -> None:
        if self._context is not None:
            connection = self._context.wrap_socket(connection, server_side=True)
        with connection, connection.makefile("rb") as file:
            head = b""
            while (line := file.readline()) not in (b"\r\n", b""):
                head += line
            self.requests += 1
            for _ in range(SIZE // self._piece):
                self._end.wait(self._pause)
                file.read(self._piece)
            for _ in range(3 if b"chunked" in head else 0):
                file.readline()  # The end of the only chunk, and the last one, which is empty.
            connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")


Body = Union[bytes, FormData, io.BytesIO, Iterator[bytes]]


def of_form() -> FormData:
    """Make a form of that size."""
    overhead = len(FormData(files={"upload": b""}))
    return FormData(files={"upload": bytes(SIZE - overhead)})


def generated() -> Iterator[bytes]:
    """Yield it in one piece; what frames it as chunks comes on top."""
    yield bytes(SIZE)


BODIES: dict[str, Callable[[], Any]] = {
    "bytes": lambda: bytes(SIZE),
    "memoryview": lambda: memoryview(bytes(SIZE)),
    "form": of_form,
    "generator": generated,
    "file": lambda: io.BytesIO(bytes(SIZE)),
}

bodies = pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)


@pytest.fixture(params=["http", "https", "https by a proxy"])
def start(
    request: pytest.FixtureRequest, tls: ssl.SSLContext
) -> Iterator[Callable[..., tuple[SlowServer, dict[str, str]]]]:
    """Start a slow server, and get the way to it."""
    with ExitStack() as stack:

        def start(**kwargs: Any) -> tuple[SlowServer, dict[str, str]]:
            context = None if request.param == "http" else tls
            server = stack.enter_context(SlowServer(context, **kwargs))
            if "proxy" not in request.param:
                return server, {}
            return server, {"https": stack.enter_context(ProxyServer()).url}

        yield start


@pytest.fixture
def session(ca_bundle: str) -> Iterator[requests.Session]:
    """A session with a GraceDBAdapter."""
    with mounted(GraceDBAdapter(), ca_bundle) as session:
        yield session


@bodies
def test_a_server_that_reads_slowly_gets_all_of_it(
    body: Callable[[], Any], start: Callable[..., Any], session: requests.Session
) -> None:
    server, proxies = start(pieces=8, pause=PAUSE / 8)
    data = body()
    answer = session.post(server.url, data=data, timeout=(SHORT, LONG), proxies=proxies)
    assert answer.status_code == 201


GENEROUS = [
    LONG,
    (SHORT, LONG),
    (SHORT, None),
    None,
    Timeout(connect=SHORT, read=LONG),
    Timeout(total=LONG, connect=SHORT),
    Timeout(connect=SHORT, read=None),
]

STRICT = [
    SHORT,
    (LONG, SHORT),
    (None, SHORT),
    Timeout(connect=LONG, read=SHORT),
    Timeout(total=SHORT),
    Timeout(total=LONG, read=SHORT),
]


@pytest.mark.parametrize("timeout", GENEROUS, ids=str)
def test_a_server_that_pauses_within_the_read_timeout_gets_all_of_it(
    timeout: Any, start: Callable[..., Any], session: requests.Session
) -> None:
    server, proxies = start(pieces=1, pause=PAUSE)
    answer = session.post(server.url, data=bytes(SIZE), timeout=timeout, proxies=proxies)
    assert answer.status_code == 201


@pytest.mark.parametrize("timeout", STRICT, ids=str)
def test_a_server_that_pauses_for_longer_is_a_timeout_that_says_writing(
    timeout: Any, start: Callable[..., Any], session: requests.Session
) -> None:
    server, proxies = start(pieces=1, pause=LONG)
    with pytest.raises(requests.ReadTimeout, match="Timed out while writing the request"):
        session.post(server.url, data=bytes(SIZE), timeout=timeout, proxies=proxies)
    assert server.requests == 1  # It is not repeated.


@bodies
def test_writing_has_the_read_timeout_whatever_the_body_is(
    body: Callable[[], Any], start: Callable[..., Any], session: requests.Session
) -> None:
    server, proxies = start(pieces=1, pause=LONG)
    with pytest.raises(requests.ReadTimeout, match="Timed out while writing the request"):
        session.post(server.url, data=body(), timeout=(LONG, SHORT), proxies=proxies)
    assert server.requests == 1


def test_a_connection_adapter_alone_gives_writing_the_read_timeout(
    start: Callable[..., Any], ca_bundle: str
) -> None:
    server, proxies = start(pieces=1, pause=LONG)
    with mounted(ConnectionAdapter(), ca_bundle) as session:
        with pytest.raises(requests.ReadTimeout, match="Timed out while writing the request"):
            session.post(server.url, data=bytes(SIZE), timeout=(LONG, SHORT), proxies=proxies)


def test_the_time_of_the_adapter_counts_where_a_request_has_none(
    start: Callable[..., Any], ca_bundle: str
) -> None:
    server, proxies = start(pieces=1, pause=LONG)
    with mounted(GraceDBAdapter(timeout=(LONG, SHORT)), ca_bundle) as session:
        with pytest.raises(requests.ReadTimeout, match="Timed out while writing the request"):
            session.post(server.url, data=bytes(SIZE), proxies=proxies)


def test_a_put_that_times_out_is_not_repeated(
    start: Callable[..., Any], session: requests.Session
) -> None:
    server, proxies = start(pieces=1, pause=LONG)
    with pytest.raises(requests.ReadTimeout, match="Timed out while writing the request"):
        session.put(server.url, data=bytes(SIZE), timeout=(LONG, SHORT), proxies=proxies)
    assert server.requests == 1


def test_a_total_is_over_while_blocks_are_written_that_come_in_time(
    start: Callable[..., Any], session: requests.Session
) -> None:
    server, proxies = start(pieces=64, pause=PAUSE / 4)
    timeout = Timeout(total=3 * PAUSE, read=LONG)
    with pytest.raises(requests.ReadTimeout, match="Timed out while writing the request"):
        session.post(server.url, data=bytes(SIZE), timeout=timeout, proxies=proxies)


@pytest.mark.parametrize("scheme, size", [("http", 4 * BLOCK_SIZE), ("https", BLOCK_SIZE)])
def test_the_time_to_write_is_that_for_a_block(
    scheme: str,
    size: int,
    server: LoopbackServer,
    tls_server: LoopbackServer,
    session: requests.Session,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = []
    send = HTTPConnection.send

    def recorded(connection: HTTPConnection, data: Any) -> None:
        sizes.append(len(data))
        send(connection, data)

    monkeypatch.setattr(HTTPConnection, "send", recorded)
    server = {"http": server, "https": tls_server}[scheme]
    body = bytes(range(256)) * (SIZE // 256) + b"."
    session.post(server.url, data=body)
    session.post(server.url, data=iter([body]))
    assert [received.body == body for received in server.requests] == [True, True]
    assert max(sizes) == size


def test_a_body_that_sends_a_request_of_its_own_keeps_its_timeout(
    server: LoopbackServer, start: Callable[..., Any], session: requests.Session
) -> None:
    slow, proxies = start(pieces=1, pause=LONG)

    def body() -> Iterator[bytes]:
        session.get(server.url, timeout=LONG)
        yield bytes(SIZE)

    with pytest.raises(requests.ReadTimeout, match="Timed out while writing the request"):
        session.post(slow.url, data=body(), timeout=(LONG, SHORT), proxies=proxies)


# Waiting for a connection of a pool that blocks.


@pytest.fixture(params=[ConnectionAdapter, GraceDBAdapter])
def blocking(request: pytest.FixtureRequest) -> Iterator[requests.Session]:
    """A session with one connection."""
    with requests.Session() as session:
        session.mount("http://", request.param(pool_block=True, pool_maxsize=1))
        yield session


@pytest.mark.parametrize("timeout", [0.1, (0.1, 60), (0.1, None), Timeout(0.1), Timeout(60, 0.1)])
def test_a_free_connection_is_waited_for_no_longer_than_for_a_new_one(
    timeout: Any, blocking: requests.Session, server: LoopbackServer
) -> None:
    server.answer = lambda received: Answer(body=b"unread")
    with blocking.get(server.url, stream=True):
        with pytest.raises(requests.ConnectTimeout, match="no connection was free in time"):
            blocking.post(server.url, timeout=timeout)
    assert len(server.requests) == 1
    assert blocking.get(server.url, timeout=timeout).text == "unread"


def test_a_connection_that_becomes_free_in_time_is_used(
    blocking: requests.Session, server: LoopbackServer
) -> None:
    server.answer = lambda received: Answer(body=b"unread")
    streamed = blocking.get(server.url, stream=True)
    timer = threading.Timer(0.2, lambda: streamed.content)
    timer.start()
    assert blocking.get(server.url, timeout=60).ok
    timer.join()
    assert server.connections == 1


def test_without_a_connect_timeout_it_is_waited_for_without_end(
    blocking: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(body=b"unread")]
    streamed = blocking.get(server.url, stream=True)
    timer = threading.Timer(0.3, streamed.close)
    timer.start()
    assert blocking.get(server.url, timeout=(None, 60)).ok
    timer.join()
