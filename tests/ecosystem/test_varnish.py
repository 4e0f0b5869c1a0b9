"""An upload is sent once through Varnish, which answers 503 with Retry-After to what arrived."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from requests_gracedb import GraceDBAdapter
from tests.conftest import Waits, mounted
from tests.loopback_server import Answer, Handler, LoopbackServer
from tests.unit.retries import unused_port

VARNISHD = shutil.which("varnishd", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")

# What Varnish 7.1 answers with its built-in configuration when the server behind it is too slow.
RECORDED = b"""\
HTTP/1.1 503 Backend fetch failed
Date: Wed, 25 Nov 2026 13:53:47 GMT
Server: Varnish
Content-Type: text/html; charset=utf-8
Retry-After: 5
X-Varnish: 32770
Age: 0
Via: 1.1 varnish (Varnish/7.1)
Content-Length: 33
Connection: keep-alive

<!DOCTYPE html>
<p>XID: 32771</p>""".replace(b"\n", b"\r\n")


@contextmanager
def varnish(backend: LoopbackServer) -> Iterator[str]:
    """Start the real one, as it comes, before a server; it has half a second for each answer."""
    port = unused_port()
    command = [
        str(VARNISHD), "-F", "-j", "none", "-a", f"127.0.0.1:{port}", "-s", "default,8m",
        "-b", f"127.0.0.1:{backend.port}", "-p", "first_byte_timeout=0.5",
    ]
    # Not in pytest's: Varnish has a limit of its own to the length of a name.
    with tempfile.TemporaryDirectory() as directory:
        process = subprocess.Popen(
            [*command, "-n", directory], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wait_for(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert process.poll() is None, "varnishd did not start"
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("varnishd does not answer")


@pytest.fixture(params=["real", "recorded"])
def cache(request: pytest.FixtureRequest, server: LoopbackServer) -> Iterator[str]:
    """The URL of a Varnish before a server that takes a request, and too long to answer it."""
    if request.param == "recorded":

        def send(handler: Handler) -> None:
            handler.wfile.write(RECORDED)

        server.answer = lambda received: send
        yield server.url
    elif VARNISHD is None:
        pytest.skip("varnishd is not installed: its recorded answer serves alone")
    else:
        done = threading.Event()

        def work(handler: Handler) -> None:
            done.wait(60)
            handler.write(Answer(201))

        server.answer = lambda received: work
        with varnish(server) as url:
            yield url
            done.set()


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_one_upload_is_one_event(
    method: str, cache: str, server: LoopbackServer, waits: Waits
) -> None:
    with mounted(GraceDBAdapter()) as session:
        with pytest.raises(requests.HTTPError, match="503") as caught:
            session.request(method, f"{cache}/api/events/", data=b"an event")
    assert caught.value.response.headers["Retry-After"] == "5"
    assert [received.body for received in server.requests] == [b"an event"]
    assert waits == []
