"""What comes before it is expected: an answer to half a request, responses before the answer."""

from __future__ import annotations

import io
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from requests_gracedb import ConnectionAdapter, FormData, GraceDBAdapter, retry
from tests.conftest import mounted
from tests.loopback_server import (
    Answer,
    Handler,
    LoopbackServer,
    ProxyServer,
    drop,
    slowly,
)

# More than the buffers of loopback hold, those of a proxy included.
SIZE = 32 * 2**20


@pytest.fixture
def session(ca_bundle: str) -> Iterator[requests.Session]:
    """A session with nothing but a ConnectionAdapter."""
    with mounted(ConnectionAdapter(), ca_bundle) as session:
        yield session


@pytest.fixture
def whole(ca_bundle: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[requests.Session]:
    """A session with all behaviours, which does not wait between two attempts."""
    monkeypatch.setattr(retry, "time", SimpleNamespace(sleep=lambda seconds: None))
    with mounted(GraceDBAdapter(), ca_bundle) as session:
        yield session


# A server that answers before it has read the body, and closes the connection.


class HastyServer:
    """A server that reads the headers, says the next of ``answers``, and closes the connection.

    When there is none left, it reads the whole request, and says 201.
    """

    def __init__(self, context: ssl.SSLContext | None, *, is_polite: bool) -> None:
        self.answers: list[bytes] = []
        self.requests = 0
        self._context = context
        self._is_polite = is_polite
        self._listener = socket.create_server(("127.0.0.1", 0))
        scheme = "https" if context else "http"
        self.url = f"{scheme}://localhost:{self._listener.getsockname()[1]}"

    def __enter__(self) -> HastyServer:
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            try:
                with connection:
                    self._answer(connection)
            except OSError:
                pass  # The client has gone.

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(20)  # A client that never comes must not keep the test waiting.
        # Or closing it may take along the answer, which waits for what TLS has sent to be received.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is not None:
            connection = self._context.wrap_socket(connection, server_side=True)
        with connection, connection.makefile("rb") as file:
            while file.readline() not in (b"\r\n", b""):
                pass
            self.requests += 1
            if not self.answers:
                file.read(SIZE)
                head = b"HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                connection.sendall(head)
                file.read(1)
                return
            connection.sendall(self.answers.pop(0))
            if self._is_polite:
                self._say_goodbye(connection)

    def _say_goodbye(self, connection: socket.socket) -> None:
        if isinstance(connection, ssl.SSLSocket):
            connection.settimeout(0)
            try:
                connection.unwrap()  # It says so, and does not wait for the client to say it, too.
            except (ssl.SSLError, OSError):
                pass
        else:
            connection.shutdown(socket.SHUT_WR)


@pytest.fixture(params=["http", "https", "https by a proxy"])
def hasty(
    request: pytest.FixtureRequest, tls: ssl.SSLContext
) -> Iterator[Callable[..., tuple[HastyServer, dict[str, str]]]]:
    """Start a hasty server, and get the way to it."""
    with ExitStack() as stack:

        def start(is_polite: bool = False) -> tuple[HastyServer, dict[str, str]]:
            context = None if request.param == "http" else tls
            server = stack.enter_context(HastyServer(context, is_polite=is_polite))
            if "proxy" not in request.param:
                return server, {}
            return server, {"https": stack.enter_context(ProxyServer()).url}

        yield start


def of_form() -> FormData:
    """Make a form of that size."""
    overhead = len(FormData(files={"upload": b""}))
    return FormData(files={"upload": bytes(SIZE - overhead)})


BODIES: dict[str, Callable[[], Any]] = {
    "bytes": lambda: bytes(SIZE),
    "form": of_form,
    "generator": lambda: iter([bytes(SIZE)]),
    "file": lambda: io.BytesIO(bytes(SIZE)),
}


def early(status: str, *headers: str, body: bytes = b"") -> bytes:
    """Make an answer."""
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers])
    return f"{head}\r\n\r\n".encode() + body


@pytest.mark.parametrize("is_polite", [False, True], ids=["rude", "polite"])
@pytest.mark.parametrize("status", ["413 Content Too Large", "401 Unauthorized"])
def test_an_answer_before_the_body_is_heard_20_of_20_times(
    status: str, is_polite: bool, hasty: Callable[..., Any], session: requests.Session
) -> None:
    server, proxies = hasty(is_polite)
    server.answers = [early(status, body=b"no")] * 20
    body = bytes(SIZE)
    answers = [session.post(server.url, data=body, proxies=proxies) for _ in range(20)]
    heard = [(f"{answer.status_code} {answer.reason}", answer.text) for answer in answers]
    assert heard == [(status, "no")] * 20


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_an_early_answer_is_heard_whatever_the_body_is(
    body: Callable[[], Any], hasty: Callable[..., Any], session: requests.Session
) -> None:
    server, proxies = hasty()
    server.answers = [early("413 Content Too Large", body=b"no")]
    answer = session.post(server.url, data=body(), proxies=proxies)
    assert (answer.status_code, answer.text) == (413, "no")


def test_the_explanation_of_an_early_answer_is_part_of_the_error(
    hasty: Callable[..., Any], whole: requests.Session
) -> None:
    server, proxies = hasty()
    server.answers = [early("413 Content Too Large", body=b"at most 20 MB")]
    with pytest.raises(requests.HTTPError, match="413 .*: at most 20 MB"):
        whole.post(server.url, data=of_form(), proxies=proxies)
    assert server.requests == 1


def test_a_429_is_obeyed_and_the_request_repeated(
    hasty: Callable[..., Any], whole: requests.Session
) -> None:
    server, proxies = hasty()
    server.answers = [early("429 Too Many Requests", "Retry-After: 1")] * 3
    assert whole.post(server.url, data=of_form(), proxies=proxies).status_code == 201
    assert server.requests == 4


def test_a_connection_that_broke_is_not_used_again(
    hasty: Callable[..., Any], session: requests.Session
) -> None:
    server, proxies = hasty()
    server.answers = [early("413 Content Too Large", "Connection: keep-alive")]
    statuses = [
        session.post(server.url, data=bytes(SIZE), proxies=proxies).status_code for _ in range(2)
    ]
    assert statuses == [413, 201]


@pytest.mark.parametrize("is_polite", [False, True], ids=["rude", "polite"])
def test_without_an_answer_the_error_is_that_of_writing(
    is_polite: bool, hasty: Callable[..., Any], whole: requests.Session
) -> None:
    server, proxies = hasty(is_polite)
    server.answers = [b""]
    with pytest.raises(requests.ConnectionError, match="EOF|Broken pipe|reset by peer") as caught:
        whole.post(server.url, data=of_form(), proxies=proxies)
    assert "Remote end closed" not in str(caught.value)
    assert server.requests == 1  # It is not repeated.


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "303 See Other"])
def test_an_early_answer_that_claims_success_is_an_error(
    status: str, hasty: Callable[..., Any], whole: requests.Session
) -> None:
    server, proxies = hasty()
    server.answers = [early(status, "Location: /")]
    with pytest.raises(requests.ConnectionError, match=f"said {status}, but closed .* before"):
        whole.post(server.url, data=of_form(), proxies=proxies)
    assert server.requests == 1


def test_without_an_answer_an_idempotent_request_is_repeated(
    hasty: Callable[..., Any], whole: requests.Session
) -> None:
    server, proxies = hasty()
    server.answers = [b""]
    assert whole.delete(server.url, data=bytes(SIZE), proxies=proxies).status_code == 201
    assert server.requests == 2


# Interim responses.


EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"

Route = tuple[LoopbackServer, str, dict[str, str]]


@pytest.fixture(params=["http", "https", "http by a proxy", "https by a proxy"])
def route(
    request: pytest.FixtureRequest, server: LoopbackServer, tls_server: LoopbackServer
) -> Iterator[Route]:
    """Each way to a server."""
    with ProxyServer() as proxy:
        yield {
            "http": (server, server.url, {}),
            "https": (tls_server, tls_server.url, {}),
            "http by a proxy": (server, "http://gracedb.invalid/", {"http": server.url}),
            "https by a proxy": (tls_server, tls_server.url, {"https": proxy.url}),
        }[request.param]


def after(interim: bytes, answer: Answer) -> Callable[[Handler], None]:
    """Say something before the answer."""

    def send(handler: Handler) -> None:
        handler.wfile.write(interim)
        handler.write(answer)

    return send


@pytest.mark.parametrize(
    "interim",
    [
        EARLY_HINTS,
        3 * EARLY_HINTS,
        CONTINUE,
        PROCESSING,
        CONTINUE + EARLY_HINTS + CONTINUE + PROCESSING,
        b"HTTP/1.1 199 Unheard Of\r\n\r\n",
        100 * EARLY_HINTS,
    ],
    ids=["103", "three", "100", "102", "of all kinds", "199", "a hundred"],
)
def test_interim_responses_are_skipped(
    interim: bytes, route: Route, session: requests.Session
) -> None:
    server, url, proxies = route
    server.script = [after(interim, Answer(201, {"X-Name": "it"}, b"first"))]
    server.answer = lambda received: Answer(body=b"second")
    first = session.post(url, data=b"x", proxies=proxies)
    assert (first.status_code, first.text, first.headers["X-Name"]) == (201, "first", "it")
    assert "Link" not in first.headers
    # The next request on this connection has its own answer.
    assert session.get(url, proxies=proxies).text == "second"
    assert server.connections == 1


def test_an_error_after_an_interim_response_is_an_error(
    server: LoopbackServer, whole: requests.Session
) -> None:
    server.script = [after(EARLY_HINTS, Answer(400, body=b"bad"))]
    with pytest.raises(requests.HTTPError, match="400 .*: bad"):
        whole.post(server.url)


def test_an_answer_without_a_body_after_an_interim_response(
    server: LoopbackServer, session: requests.Session
) -> None:
    server.script = [after(EARLY_HINTS, Answer(204)), after(EARLY_HINTS, Answer(body=b"head"))]
    assert session.get(server.url).status_code == 204
    assert session.head(server.url).status_code == 200
    assert session.get(server.url).status_code == 200
    assert server.connections == 1


def test_101_is_an_answer(server: LoopbackServer, session: requests.Session) -> None:
    def switch(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\n\r\n")
        drop(handler)

    server.script = [switch]
    answer = session.get(server.url, headers={"Connection": "Upgrade", "Upgrade": "other"})
    assert (answer.status_code, answer.headers["Upgrade"]) == (101, "other")


@pytest.mark.parametrize("interim", [EARLY_HINTS, CONTINUE, PROCESSING], ids=["103", "100", "102"])
def test_a_flood_of_interim_responses_is_an_error(
    interim: bytes, server: LoopbackServer, whole: requests.Session
) -> None:
    def flood(handler: Handler) -> None:
        while True:
            handler.wfile.write(interim)

    server.script = [flood]
    with pytest.raises(requests.ConnectionError, match="more than 100 interim responses"):
        whole.post(server.url)
    assert len(server.requests) == 1


def test_a_connection_that_drops_after_an_interim_response_is_an_error(
    server: LoopbackServer, whole: requests.Session
) -> None:
    def hint_and_drop(handler: Handler) -> None:
        handler.wfile.write(EARLY_HINTS)
        drop(handler)

    server.script = [hint_and_drop]
    with pytest.raises(requests.ConnectionError):
        whole.post(server.url)
    assert len(server.requests) == 1


# Headers that break off.

BROKEN_OFF = [
    b"HTTP/1.1 201",
    b"HTTP/1.1 201 Created\r\n",
    b"HTTP/1.1 201 Created\r\nContent-Le",
    b"HTTP/1.1 201 Created\r\nServer: it\r\n",
    b"HTTP/1.1 201 Created\nServer: it\n",
    b"HTTP/1.1 302 Found\r\nLoca",
    EARLY_HINTS[:-2],
    EARLY_HINTS + b"HTTP/1.1 201 Created\r\nContent-Length: 2\r",
]


def broken_off(head: bytes) -> Callable[[Handler], None]:
    """Close the connection in the middle of the headers."""

    def send(handler: Handler) -> None:
        handler.wfile.write(head)
        drop(handler)

    return send


@pytest.mark.parametrize("head", BROKEN_OFF)
def test_headers_that_break_off_are_no_answer_to_a_post(
    head: bytes, route: Route, whole: requests.Session
) -> None:
    server, url, proxies = route
    server.script = [broken_off(head)]
    with pytest.raises(requests.ConnectionError):
        whole.post(url, data=b"x", proxies=proxies)
    assert len(server.requests) == 1


@pytest.mark.parametrize("head", BROKEN_OFF)
def test_a_get_is_repeated_after_headers_that_break_off(
    head: bytes, route: Route, whole: requests.Session
) -> None:
    server, url, proxies = route
    server.script = [broken_off(head), Answer(body=b"whole")]
    assert whole.get(url, proxies=proxies).text == "whole"


@pytest.mark.parametrize("line_break", [b"\r\n", b"\n"], ids=["CRLF", "LF"])
def test_headers_that_come_byte_by_byte_are_whole(
    line_break: bytes, route: Route, session: requests.Session
) -> None:
    server, url, proxies = route
    hints = b"HTTP/1.1 103 Early Hints", b""
    head = line_break.join([*hints, b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked", b"", b""])
    server.script = [slowly(head + b"5\r\nfirst\r\n0\r\n\r\n", pause=0.001)]
    server.answer = lambda received: Answer(body=b"second")
    assert [session.get(url, proxies=proxies).text for _ in range(2)] == ["first", "second"]
    assert server.connections == 1


def test_a_header_that_never_ends_is_an_error(
    server: LoopbackServer, session: requests.Session
) -> None:
    server.script = [broken_off(b"HTTP/1.1 200 OK\r\nServer: " + 70_000 * b"x")]
    with pytest.raises(requests.ConnectionError, match="more than 65536 bytes"):
        session.get(server.url)


def test_a_proxy_that_breaks_off_its_refusal_has_refused(
    server: LoopbackServer, tls_server: LoopbackServer, session: requests.Session
) -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 403 Forbidden by policy\r\nServ")
        connection.close()

    server.greetings = [refuse]
    with pytest.raises(requests.exceptions.ProxyError, match="403 Forbidden by policy"):
        session.get(tls_server.url, proxies={"https": server.url})
