"""Connections on a network that takes its time, and forgets."""

from __future__ import annotations

import random
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from typing import Any, Optional

import pytest
import requests

from requests_gracedb import GraceDBAdapter
from tests.loopback_server import LoopbackServer

pytestmark = pytest.mark.usefixtures("unmeasured")


class Relay:
    """A relay to a server on loopback, as a context manager.

    Each piece of what it relays arrives ``delay`` seconds later, and so does the end. A connection
    that was idle for ``memory`` seconds is forgotten: what comes then vanishes, and nobody is told.
    """

    def __init__(self, port: int, *, delay: float = 0.0, memory: float = float("inf")) -> None:
        self.connections = 0
        self._port, self._delay, self._memory = port, delay, memory
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> Relay:
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for connection in [self._listener, *self._sockets]:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(("127.0.0.1", self._port))
            for connection in client, server:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets += [client, server]
            last = [time.monotonic()]
            for source, target in (client, server), (server, client):
                pieces: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
                for run, of in (self._read, source), (self._write, target):
                    threading.Thread(target=run, args=(of, pieces, last), daemon=True).start()

    def _read(
        self, source: socket.socket, pieces: SimpleQueue[tuple[float, bytes]], last: list[float]
    ) -> None:
        piece: Optional[bytes] = None
        while piece != b"":
            try:
                piece = source.recv(65536)
            except OSError:
                piece = b""
            now = time.monotonic()
            if now - last[0] >= self._memory:
                return
            last[0] = now
            pieces.put((now + self._delay, piece))

    def _write(
        self, target: socket.socket, pieces: SimpleQueue[tuple[float, bytes]], last: list[float]
    ) -> None:
        try:
            while True:
                due, piece = pieces.get()
                time.sleep(max(0, due - time.monotonic()))
                if not piece:
                    target.shutdown(socket.SHUT_WR)
                    return
                target.sendall(piece)
        except OSError:
            pass  # It is closed already.


class Handler(BaseHTTPRequestHandler):
    """A server that closes connections that are idle for 2 seconds, and says so."""

    protocol_version = "HTTP/1.1"
    timeout = 2

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Keep-Alive", "timeout=2")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Such a server."""

    daemon_threads = True
    request_queue_size = 128
    context: Optional[ssl.SSLContext] = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.context is not None:
            request = self.context.wrap_socket(request, server_side=True)
        with request:
            super().finish_request(request, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # The client has gone.


@pytest.fixture(params=["http", "https"])
def forgetful(request: pytest.FixtureRequest, tls: ssl.SSLContext) -> Iterator[str]:
    """The URL of such a server, 50 ms away."""
    with Server(("127.0.0.1", 0), Handler) as server:
        if request.param == "https":
            server.context = tls
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        with Relay(server.server_address[1], delay=0.05) as relay:
            yield f"{request.param}://localhost:{relay.port}/"
        server.shutdown()
        thread.join()


def test_300_posts_around_the_limits_of_a_server_arrive(forgetful: str, ca_bundle: str) -> None:
    answers: list[object] = []

    def work(seed: int) -> None:
        gaps = random.Random(seed)
        with requests.Session() as session:
            session.verify = ca_bundle
            session.mount(forgetful, GraceDBAdapter())
            for number in range(10):
                # That of the server is at 2 seconds, ours at 1.
                time.sleep(gaps.uniform(-0.12, 0.12) + (2 if number % 3 else 1))
                try:
                    answers.append(session.post(forgetful, data=b"event").status_code)
                except requests.RequestException as error:
                    answers.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer for answer in answers if answer != 201] == []
    assert len(answers) == 300


@pytest.fixture(params=["http", "https"])
def remembered(
    request: pytest.FixtureRequest, server: LoopbackServer, tls_server: LoopbackServer
) -> LoopbackServer:
    """A server, for http and for https."""
    return server if request.param == "http" else tls_server


def test_a_connection_that_a_nat_has_forgotten_is_not_used(
    remembered: LoopbackServer, ca_bundle: str
) -> None:
    scheme = remembered.url.partition(":")[0]
    with Relay(remembered.port, memory=1.5) as relay, requests.Session() as session:
        session.verify = ca_bundle
        url = f"{scheme}://localhost:{relay.port}/"
        session.mount(url, GraceDBAdapter(idle_timeout=1))
        session.post(url, data=b"first")
        time.sleep(2)
        # If it vanished, this would be a ReadTimeout.
        session.post(url, data=b"second", timeout=5)
        assert relay.connections == 2
    assert [received.body for received in remembered.requests] == [b"first", b"second"]
