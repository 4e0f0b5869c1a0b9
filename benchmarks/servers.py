"""What the clients talk to, each in a process of its own that ends with its standard input.

The server takes what it is sent, over http and over TLS, and forgets it. The relay puts a distance
between it and a client.
"""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from http.client import parse_headers
from itertools import count
from pathlib import Path
from queue import SimpleQueue

import certifi
import trustme

ROOT = Path(__file__).parent.parent
DELAY = 0.02  # seconds, each way
# After that many seconds without anything from the client, a forgetful relay drops what comes.
FORGET = 1.5

_BUFFER_SIZE = 1024 * 1024
_connections = count(1)


def start(stack: ExitStack, directory: Path) -> dict[str, str]:
    """Start the server and a relay, and write the CA certificate; see `main` for the URLs."""
    ca_bundle = str(directory / "ca.pem")
    http, https = _start(stack, "server", ca_bundle)
    far, forgetful = _start(stack, "relay", str(https))
    ports = {"https": https, "far": far, "forgetful": forgetful}
    urls = {name: f"https://localhost:{port}" for name, port in ports.items()}
    return {**urls, "http": f"http://localhost:{http}", "ca_bundle": ca_bundle}


def main(kind: str, argument: str) -> None:
    """Be a server or a relay until standard input ends, and print the ports.

    Those of a server are for http and https, those of a relay for one that is `DELAY` away, and
    for another that forgets connections, too.
    """
    if kind == "server":
        authority = trustme.CA()
        # A bundle of the usual size: a client that reads it again and again is to be seen.
        Path(argument).write_bytes(Path(certifi.where()).read_bytes() + authority.cert_pem.bytes())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        ports = [_listen(serve), _listen(lambda c: serve(context.wrap_socket(c, server_side=True)))]
    else:
        port = int(argument)
        ports = [_listen(lambda c: relay(c, port)), _listen(lambda c: relay(c, port, FORGET))]
    print(json.dumps(ports), flush=True)
    sys.stdin.read()


def serve(connection: socket.socket) -> None:
    """Answer the requests of a client until it closes the connection.

    - A GET of ``/missing`` is answered with status 404, any other with 200.
    - A POST to ``/digest`` is answered with the SHA-256 of the last part of the form.
    - After ``/close`` the connection is closed, and after ``/idle/N`` if no other request comes for
      N seconds. Where that is a second or more, the server says so.
    - The header Connection-Number tells which connection, of all so far, a request came over.
    """
    number = next(_connections)
    buffer = memoryview(bytearray(_BUFFER_SIZE))
    with connection, connection.makefile("rb") as reader:
        while request := reader.readline():
            path = request.decode().split()[1]
            headers = parse_headers(reader)
            left = int(headers["Content-Length"] or 0)
            if headers["Expect"]:
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            said = "{}"
            if path == "/digest":
                _, _, content = reader.read(left).partition(b"\r\n\r\n")
                said = hashlib.sha256(content.rpartition(b"\r\n--")[0]).hexdigest()
                left = 0
            while left:
                received = reader.readinto1(buffer[:left])
                if not received:
                    return  # The client gave up.
                left -= received
            idle = float(path.removeprefix("/idle/")) if path.startswith("/idle/") else None
            answer = [f"HTTP/1.1 {'404 Not Found' if path == '/missing' else '200 OK'}",
                      "Content-Type: application/json", f"Content-Length: {len(said)}",
                      f"Connection-Number: {number}"]
            if idle and idle >= 1:
                answer.append(f"Keep-Alive: timeout={idle:.0f}")
            if path == "/close":
                answer.append("Connection: close")
            connection.sendall("\r\n".join([*answer, "", said]).encode())
            if path == "/close":
                break
            connection.settimeout(idle)


def relay(client: socket.socket, port: int, forget: float = float("inf")) -> None:
    """Connect a client to a port, with a delay for all that goes either way.

    The kernel has answered the client before we see it. So what comes first is delayed for a round
    trip more, which is what it takes to open a connection.
    """
    server = _quick(socket.create_connection(("127.0.0.1", port)))
    heard = [time.monotonic()]

    def pump(source: socket.socket, sink: socket.socket, first: float = 0) -> None:
        queue: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
        threading.Thread(target=_deliver, args=(queue, sink), daemon=True).start()
        due = time.monotonic() + first
        data = b"-"
        while data:
            data = b""  # What is left if the connection was reset.
            with suppress(OSError):
                data = source.recv(_BUFFER_SIZE)
            now = time.monotonic()
            if now - heard[0] > forget:
                heard[0] = 0  # It stays forgotten.
                continue
            if source is client:
                heard[0] = now
            due = max(due, now + DELAY)
            queue.put((due, data))

    threading.Thread(target=pump, args=(server, client), daemon=True).start()
    pump(client, server, 3 * DELAY)


def _deliver(queue: SimpleQueue[tuple[float, bytes]], sink: socket.socket) -> None:
    data = b"-"
    while data:
        due, data = queue.get()
        time.sleep(max(0, due - time.monotonic()))
        with suppress(OSError):  # Who has gone misses it.
            sink.sendall(data) if data else sink.shutdown(socket.SHUT_WR)


def _start(stack: ExitStack, *arguments: str) -> list[int]:
    process = stack.enter_context(subprocess.Popen(
        [sys.executable, "-m", __name__, *arguments], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ))
    assert process.stdout
    ports: list[int] = json.loads(process.stdout.readline())
    return ports


def _listen(handle: Callable[[socket.socket], None]) -> int:
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def accept() -> None:
        while True:
            connection = _quick(listener.accept()[0])
            threading.Thread(target=handle_quietly, args=(connection,), daemon=True).start()

    def handle_quietly(connection: socket.socket) -> None:
        with suppress(OSError):  # The client has gone: some do without a goodbye.
            handle(connection)

    threading.Thread(target=accept, daemon=True).start()
    return int(listener.getsockname()[1])


def _quick(connection: socket.socket) -> socket.socket:
    # A small write must not wait for the other side to acknowledge the last one.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


if __name__ == "__main__":
    main(*sys.argv[1:])
