"""The server that all clients talk to: it takes what it is sent, and forgets it.

It runs in a process of its own, on loopback ports that the system chooses, over http and over TLS,
for as long as its standard input stays open.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from email.message import Message
from email.parser import HeaderParser
from itertools import count
from pathlib import Path
from types import TracebackType

import trustme

ROOT = Path(__file__).parent.parent

_BUFFER_SIZE = 1024 * 1024
_connections = count(1)


class Server:
    """A running server, as a context manager.

    - A GET of ``/missing`` is answered with status 404, any other with 200, and one of ``/slow``
      after a moment.
    - A POST to ``/digest`` is answered with the SHA-256 of the file that arrived, in a form or by
      itself; the body of any other is thrown away.
    - The header Connection-Number tells which connection, of all so far, a request came over.

    Parameters
    ----------
    directory : pathlib.Path
        Where to put the CA certificate.

    Attributes
    ----------
    http, https : str
        URLs, without a slash at the end.
    ca_bundle : str
        The path of the CA certificate.
    """

    http: str
    https: str

    def __init__(self, directory: Path) -> None:
        self.ca_bundle = str(directory / "ca.pem")

    def __enter__(self) -> Server:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.servers", self.ca_bundle],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the server did not start")
        http, https = json.loads(line)
        self.http = f"http://localhost:{http}"
        self.https = f"https://localhost:{https}"
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate()


class Connection:
    """A connection to one client.

    Parameters
    ----------
    connection : socket.socket
        With TLS set up if there is to be any.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._number = next(_connections)
        self._buffer = memoryview(bytearray(_BUFFER_SIZE))
        self._pending = b""

    def serve(self) -> None:
        """Answer requests until the client closes the connection."""
        while head := self._head():
            method, path, _ = head[0].split()
            headers = HeaderParser().parsestr("\r\n".join(head[1:]))
            if headers["Expect"]:
                self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = self._body(int(headers["Content-Length"] or 0))
            if path == "/digest":
                self._answer("200 OK", digest(headers, b"".join(map(bytes, body))))
            else:
                for _ in body:
                    pass
                if path == "/slow":
                    time.sleep(0.1)
                self._answer("404 Not Found" if path == "/missing" else "200 OK", "{}")

    def _head(self) -> list[str]:
        while b"\r\n\r\n" not in self._pending:
            piece = self._connection.recv(65536)
            if not piece:
                return []
            self._pending += piece
        head, _, self._pending = self._pending.partition(b"\r\n\r\n")
        return head.decode("latin-1").split("\r\n")

    def _body(self, size: int) -> Iterator[bytes | memoryview]:
        piece, self._pending = self._pending[:size], self._pending[size:]
        yield piece
        left = size - len(piece)
        while left:
            received = self._connection.recv_into(self._buffer, min(left, _BUFFER_SIZE))
            if not received:
                raise ConnectionError("the client has gone")
            left -= received
            yield self._buffer[:received]

    def _answer(self, status: str, body: str) -> None:
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection-Number: {self._number}\r\n\r\n"
        )
        self._connection.sendall((head + body).encode())


def digest(headers: Message, body: bytes) -> str:
    """Get the SHA-256 of a file that was sent.

    Parameters
    ----------
    headers : email.message.Message
        Of the request.
    body : bytes
        The file, or a form with one file in it.

    Returns
    -------
    str
        In hexadecimal; empty if there is no file in the form.
    """
    boundary = headers.get_param("boundary")
    if boundary is None:
        return hashlib.sha256(body).hexdigest()
    for part in (b"\r\n" + body).split(b"\r\n--" + str(boundary).encode()):
        head, _, content = part.partition(b"\r\n\r\n")
        if re.search(rb"\bfilename=", head):
            return hashlib.sha256(content).hexdigest()
    return ""


def main() -> None:
    """Serve until standard input ends, and print the ports."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(sys.argv[1])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    print(json.dumps([_listen(None), _listen(context)]), flush=True)
    sys.stdin.read()


def _listen(context: ssl.SSLContext | None) -> int:
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    threading.Thread(target=_accept, args=(listener, context), daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


def _accept(listener: socket.socket, context: ssl.SSLContext | None) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_serve, args=(connection, context), daemon=True).start()


def _serve(connection: socket.socket, context: ssl.SSLContext | None) -> None:
    # An answer is one small write, which must not wait for the client to acknowledge the last one.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        if context:
            connection = context.wrap_socket(connection, server_side=True)
        with connection:
            Connection(connection).serve()
    except OSError:
        pass  # The client has gone: some do without a goodbye.


if __name__ == "__main__":
    main()
