"""An HTTP/1.1 server on loopback that records what arrives and answers by script.

For GraceDB itself there is `requests_gracedb.testing`; this one is for what GraceDB never does: odd
statuses, redirects between origins, answers that break off.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from email.message import Message
from http.client import parse_headers
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import StreamRequestHandler, ThreadingTCPServer
from types import TracebackType
from typing import Union
from urllib.parse import urlsplit, urlunsplit

# How often a server looks whether it is to stop, in seconds: every test waits for that.
POLL = 0.001


@dataclass(frozen=True)
class Received:
    """A request as it arrived."""

    method: str
    target: str
    headers: Message
    body: bytes
    connection: int

    @property
    def authorization(self) -> str | None:
        return self.headers["Authorization"]


@dataclass(frozen=True)
class Answer:
    """What to answer. Content-Length is that of the body unless the headers say otherwise."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def redirect(url: str, status: int = 302) -> Answer:
    """Redirect to a URL."""
    return Answer(status, {"Location": url})


Script = Union[Answer, Callable[["Handler"], None]]


# Items of a script: what goes wrong after a request has arrived.


def drop(handler: Handler) -> None:
    """Close the connection without an answer."""
    handler.drop()


def reset(handler: Handler) -> None:
    """Close the connection with a RST, without an answer."""
    handler.reset()


def half_an_answer(handler: Handler) -> None:
    """Close the connection in the middle of the first line."""
    handler.wfile.write(b"HTTP/1.1 2")
    handler.drop()


def half_a_body(handler: Handler) -> None:
    """Close the connection before the end that Content-Length tells."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ")
    handler.drop()


def silence(handler: Handler) -> None:
    """Say nothing until the client goes away."""
    handler.rfile.read(1)
    handler.drop()


def slowly(answer: bytes, pause: float) -> Script:
    """Send an answer byte by byte."""

    def send(handler: Handler) -> None:
        for byte in answer:
            handler.wfile.write(bytes([byte]))
            time.sleep(pause)

    return send


# Greetings: what goes wrong before TLS.


def reset_at_once(connection: socket.socket) -> None:
    """Close a connection with a RST when the client has said hello."""
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def silence_at_once(connection: socket.socket) -> None:
    """Let the client talk to nobody until it goes away."""
    while connection.recv(4096):
        pass
    connection.close()


class LoopbackServer:
    """A server, as a context manager, on a port that the system chooses.

    ``script`` holds the next answers; when it is used up, ``answer`` is asked, which says 200 to
    everything. An item of the script may also be a function of the request handler, which then does
    what it wants with the connection. ``greetings`` holds what to do with the next connections
    themselves, before TLS starts on them.
    """

    def __init__(
        self, context: ssl.SSLContext | None = None, *, port: int = 0, backlog: int = 128
    ) -> None:
        self.requests: list[Received] = []
        self.connections = 0
        self.greetings: list[Callable[[socket.socket], None]] = []
        self.script: list[Script] = []
        self.answer: Callable[[Received], Script] = lambda received: Answer()
        self._context = context
        self._lock = threading.Condition()
        self._numbers = threading.local()
        self._server = _Server(self, port, backlog)
        scheme = "https" if context else "http"
        self.port = self._server.server_address[1]
        self.url = f"{scheme}://localhost:{self.port}"

    def __enter__(self) -> LoopbackServer:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(POLL,))
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def authorizations(self) -> list[str | None]:
        """The Authorization headers that arrived, in order."""
        return [received.authorization for received in self.requests]

    def wrap(self, connection: socket.socket) -> socket.socket:
        """Count a connection, and start TLS on it."""
        with self._lock:
            self.connections += 1
            self._numbers.own = self.connections
            greeting = self.greetings.pop(0) if self.greetings else None
        if greeting is not None:
            greeting(connection)
        if self._context is None:
            return connection
        return self._context.wrap_socket(connection, server_side=True)

    @property
    def number(self) -> int:
        """The number of the connection that the running thread serves."""
        number: int = self._numbers.own
        return number

    def wait_for_requests(self, count: int) -> None:
        """Wait for requests that the client does not wait to see answered."""
        with self._lock:
            self._lock.wait_for(lambda: len(self.requests) >= count, timeout=60)

    def next(self, received: Received) -> Script:
        """Record a request and find the answer."""
        with self._lock:
            self.requests.append(received)
            self._lock.notify_all()
            if self.script:
                return self.script.pop(0)
        return self.answer(received)


class Handler(BaseHTTPRequestHandler):
    """A connection."""

    protocol_version = "HTTP/1.1"
    # A client that never comes must not keep the test waiting.
    timeout = 60

    def setup(self) -> None:
        self.owner: LoopbackServer = self.server.owner  # type: ignore[attr-defined]
        self.request = self.owner.wrap(self.request)
        self.number = self.owner.number
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.request.close()

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError):
            pass  # The client has gone, or the script has closed the connection.

    def respond(self) -> None:
        body = b"".join(self.body())
        received = Received(self.command, self.path, self.headers, body, self.number)
        script = self.owner.next(received)
        if isinstance(script, Answer):
            self.write(script)
        else:
            script(self)

    do_DELETE = do_GET = do_HEAD = do_OPTIONS = do_PATCH = do_POST = do_PUT = do_TRACE = respond

    def body(self) -> Iterable[bytes]:
        """Read the body, chunked or not."""
        if self.headers["Transfer-Encoding"] == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            yield self.rfile.read(int(self.headers["Content-Length"] or 0))

    def write(self, answer: Answer) -> None:
        """Answer, in one piece."""
        self.send_response(answer.status)
        bodiless = answer.status in (204, 304)
        headers = {} if bodiless else {"Content-Length": str(len(answer.body))}
        if self.close_connection:
            headers["Connection"] = "close"
        for name, value in {**headers, **answer.headers}.items():
            self.send_header(name, value)
        if self.command != "HEAD":
            self._headers_buffer += [b"\r\n", answer.body]  # type: ignore[attr-defined]
            self.flush_headers()
        else:
            self.end_headers()

    def drop(self) -> None:
        """Close the connection."""
        self.close_connection = True
        self.request.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Close the connection with a RST."""
        self.close_connection = True
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.request.close()

    def log_message(self, format: str, *args: object) -> None:
        pass


class ProxyServer:
    """A proxy for http, and for https by CONNECT, as a context manager.

    ``requests`` holds the first line and the headers of what it was asked for.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, Message]] = []
        self._server = _Proxy(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> ProxyServer:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(POLL,))
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _ProxyHandler(StreamRequestHandler):
    rbufsize = 0  # What follows the headers is for whoever is behind the proxy.

    def handle(self) -> None:
        line = self.rfile.readline().decode("latin-1")
        headers = parse_headers(self.rfile)
        self.server.owner.requests.append((line.strip(), headers))  # type: ignore[attr-defined]
        method, target, version = line.split()
        url = urlsplit(target if "://" in target else f"//{target}")
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with socket.create_connection(("127.0.0.1", url.port or 80)) as upstream:
            if method == "CONNECT":
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                del headers["Connection"]
                headers["Connection"] = "close"
                line = f"{method} {urlunsplit(('', '', *url[2:]))} {version}\r\n"
                head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                upstream.sendall(f"{line}{head}\r\n".encode("latin-1"))
            there = threading.Thread(target=_relay, args=(self.connection, upstream))
            there.start()
            _relay(upstream, self.connection)
            there.join()


def _relay(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
    except OSError:
        pass
    # What comes the other way still gets through.
    for connection, direction in ((source, socket.SHUT_RD), (target, socket.SHUT_WR)):
        try:
            connection.shutdown(direction)
        except OSError:
            pass  # It is closed already.


class _Proxy(ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, owner: ProxyServer) -> None:
        self.owner = owner
        super().__init__(("127.0.0.1", 0), _ProxyHandler)
        # For the accepted ones, too. Otherwise Linux lets it grow to 32 MiB, which then count as
        # sent, although the server behind reads none of them.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    # Joined at the end of the test: a thread that outlives it would be a leak.
    daemon_threads = True
    block_on_close = False

    def __init__(self, owner: LoopbackServer, port: int, backlog: int) -> None:
        self.owner = owner
        self.request_queue_size = backlog
        super().__init__(("127.0.0.1", port), Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # A client that does not trust the certificate, say: the test sees it at the client.
