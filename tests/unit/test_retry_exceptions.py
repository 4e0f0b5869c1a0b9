"""What is final at once, and what the caller gets when the retries are used up."""

from __future__ import annotations

import itertools
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone

import pytest
import requests
import trustme
from requests.adapters import HTTPAdapter

from requests_gracedb import GraceDBAdapter, RetryAdapter
from tests.conftest import Waits, mounted
from tests.loopback_server import (
    Answer,
    LoopbackServer,
    ProxyServer,
    Script,
    drop,
    half_a_body,
    half_an_answer,
    reset,
    reset_at_once,
    silence,
    silence_at_once,
)
from tests.unit.retries import RETRIES, any_method, bodies, resolve_after, unused_port

pytestmark = pytest.mark.usefixtures("waits")


# What waiting cannot help: final, whatever the method


@any_method
@pytest.mark.parametrize("name", ["wrong name", "expired", "unknown authority"])
def test_a_certificate_that_is_not_good_is_final(
    method: str, name: str, retrying: requests.Session, authority: trustme.CA, waits: Waits
) -> None:
    with LoopbackServer(bad_certificate(name, authority)) as server:
        with pytest.raises(requests.exceptions.SSLError):
            retrying.request(method, server.url)
    assert server.connections == 1
    assert not waits


@any_method
def test_a_server_that_speaks_no_tls_is_final(
    method: str, retrying: requests.Session, server: LoopbackServer, waits: Waits
) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        retrying.request(method, server.url.replace("http:", "https:"), timeout=60)
    assert server.connections == 1
    assert not waits


@any_method
@pytest.mark.parametrize("kind", ["server", "tls_server"])
def test_a_read_timeout_is_final(
    method: str,
    kind: str,
    retrying: requests.Session,
    request: pytest.FixtureRequest,
    waits: Waits,
) -> None:
    server: LoopbackServer = request.getfixturevalue(kind)
    server.script = [silence]
    with pytest.raises(requests.ReadTimeout):
        retrying.request(method, server.url, data=b"body", timeout=(60, 0.05))
    server.wait_for_requests(1)
    assert bodies(server) == [b"body"]
    assert not waits


def bad_certificate(name: str, authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    yesterday = datetime.now(timezone.utc) - timedelta(days=1)
    if name == "wrong name":
        certificate = authority.issue_cert("gracedb.invalid")
    elif name == "expired":
        certificate = authority.issue_cert("localhost", not_after=yesterday)
    else:
        certificate = trustme.CA().issue_cert("localhost")
    certificate.configure_cert(context)
    return context


# When the retries are used up


@pytest.mark.parametrize("method, status", [("GET", 503), ("PUT", 502), ("GET", 429)])
def test_the_last_response_is_the_answer(
    method: str, status: int, retrying: requests.Session, server: LoopbackServer, waits: Waits
) -> None:
    numbers = itertools.count(1)
    server.answer = lambda received: Answer(status, body=f"Number {next(numbers)}".encode())
    response = retrying.request(method, server.url)
    assert (response.status_code, response.text) == (status, "Number 6")
    assert len(server.requests) == 1 + RETRIES
    assert len(waits) == RETRIES


@pytest.mark.parametrize("method, status", [("GET", 503), ("PUT", 502), ("POST", 429)])
def test_the_last_response_raises_with_its_explanation(
    method: str, status: int, session: requests.Session, server: LoopbackServer
) -> None:
    numbers = itertools.count(1)
    headers = {"Content-Type": "text/plain"}
    server.answer = lambda received: Answer(status, headers, f"Number {next(numbers)}".encode())
    with pytest.raises(requests.HTTPError, match=f"{status} .*: Number 6$") as caught:
        session.request(method, server.url)
    assert caught.value.response.text == "Number 6"
    assert len(server.requests) == 1 + RETRIES


class Fault:
    """Something that goes wrong every time, and where to meet it."""

    def __init__(self, stack: ExitStack, authority: trustme.CA, tls: ssl.SSLContext) -> None:
        self._stack = stack
        self._authority = authority
        self._tls = tls
        self.proxies: dict[str, str] = {}
        self.timeout: tuple[float, float] = (60, 60)
        self.attempts: Callable[[], int] | None = None

    def refused(self) -> str:
        return f"http://127.0.0.1:{unused_port()}/"

    def unresolved(self) -> str:
        return "http://gracedb.invalid/"

    def connect_timeout(self) -> str:
        self.timeout = (0.05, 60)
        server = LoopbackServer(backlog=0)
        self._stack.enter_context(server_that_does_not_serve(server))
        return f"http://127.0.0.1:{server.port}/"

    def handshake_reset(self) -> str:
        return self._greeting(reset_at_once, self._tls)

    def handshake_silence(self) -> str:
        self.timeout = (0.05, 60)
        return self._greeting(silence_at_once, self._tls)

    def dropped(self) -> str:
        return self._answering(drop)

    def was_reset(self) -> str:
        return self._answering(reset)

    def broken_off(self) -> str:
        return self._answering(half_an_answer)

    def read_timeout(self) -> str:
        self.timeout = (60, 0.05)
        return self._answering(silence)

    def wrong_name(self) -> str:
        return self._start(bad_certificate("wrong name", self._authority)).url

    def expired(self) -> str:
        return self._start(bad_certificate("expired", self._authority)).url

    def no_tls(self) -> str:
        return self._start().url.replace("http:", "https:")

    def proxy_refused(self) -> str:
        self.proxies = {"http": self.refused()}
        return "http://gracedb.invalid/"

    def tunnel_refused(self) -> str:
        self.proxies = {"https": self.refused()}
        return "https://gracedb.invalid/"

    def tunnel_reset(self) -> str:
        self.proxies = {"https": self._greeting(reset_at_once)}
        return "https://gracedb.invalid/"

    def tunnel_silent(self) -> str:
        self.timeout = (0.05, 60)
        self.proxies = {"https": self._greeting(silence_at_once)}
        return "https://gracedb.invalid/"

    def tunnel_denied(self) -> str:
        self.proxies = {"https": self._start().url}
        return "https://gracedb.invalid/"

    def _start(self, context: ssl.SSLContext | None = None) -> LoopbackServer:
        server: LoopbackServer = self._stack.enter_context(LoopbackServer(context))
        self.attempts = lambda: server.connections
        return server

    def _answering(self, script: Script) -> str:
        server = self._start()
        server.answer = lambda received: script
        return server.url

    def _greeting(
        self, greeting: Callable[[socket.socket], None], context: ssl.SSLContext | None = None
    ) -> str:
        server = self._start(context)
        server.greetings = [greeting] * (1 + RETRIES)
        return server.url


class server_that_does_not_serve:
    """A server whose only place is taken."""

    def __init__(self, server: LoopbackServer) -> None:
        self._server = server

    def __enter__(self) -> None:
        self._client = socket.create_connection(("127.0.0.1", self._server.port))

    def __exit__(self, *args: object) -> None:
        self._client.close()
        self._server._server.server_close()


EXCEPTIONS = {
    Fault.refused: requests.ConnectionError,
    Fault.unresolved: requests.ConnectionError,
    Fault.connect_timeout: requests.ConnectTimeout,
    Fault.handshake_reset: requests.ConnectionError,
    Fault.handshake_silence: requests.ReadTimeout,
    Fault.dropped: requests.ConnectionError,
    Fault.was_reset: requests.ConnectionError,
    Fault.broken_off: requests.ConnectionError,
    Fault.read_timeout: requests.ReadTimeout,
    Fault.wrong_name: requests.exceptions.SSLError,
    Fault.expired: requests.exceptions.SSLError,
    Fault.no_tls: requests.exceptions.SSLError,
    Fault.proxy_refused: requests.exceptions.ProxyError,
    Fault.tunnel_refused: requests.exceptions.ProxyError,
    Fault.tunnel_reset: requests.ConnectionError,
    Fault.tunnel_silent: requests.ReadTimeout,
    Fault.tunnel_denied: requests.exceptions.ProxyError,
}
ONCE = {Fault.read_timeout, Fault.wrong_name, Fault.expired, Fault.no_tls}


@pytest.fixture
def fault(
    authority: trustme.CA, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Fault]:
    resolve_after(1000, monkeypatch)
    with ExitStack() as stack:
        yield Fault(stack, authority, tls)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("adapter_class", [HTTPAdapter, RetryAdapter, GraceDBAdapter])
@pytest.mark.parametrize("name", EXCEPTIONS, ids=lambda name: name.__name__)
def test_a_fault_raises_what_requests_raises_without_retries(
    name: Callable[[Fault], str],
    adapter_class: type[HTTPAdapter],
    method: str,
    fault: Fault,
    ca_bundle: str,
) -> None:
    url = name(fault)
    with mounted(adapter_class(), ca_bundle) as session:
        with pytest.raises(requests.RequestException) as caught:
            session.request(method, url, timeout=fault.timeout, proxies=fault.proxies)
    assert caught.type is EXCEPTIONS[name]
    assert caught.value.request.method == method


@pytest.mark.parametrize("name", EXCEPTIONS, ids=lambda name: name.__name__)
def test_a_fault_uses_up_the_retries_before_it_raises(
    name: Callable[[Fault], str], fault: Fault, retrying: requests.Session, waits: Waits
) -> None:
    url = name(fault)
    with pytest.raises(requests.RequestException):
        retrying.get(url, timeout=fault.timeout, proxies=fault.proxies)
    retries = 0 if name in ONCE else RETRIES
    assert len(waits) == retries
    if fault.attempts is not None:
        assert fault.attempts() == 1 + retries


@pytest.mark.parametrize("status, attempts", [(403, 1), (407, 1), (429, 6), (503, 6)])
def test_a_proxy_that_refuses_for_good_is_not_asked_again(
    status: int, attempts: int, retrying: requests.Session, waits: Waits
) -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
        connection.close()

    with LoopbackServer() as proxy:
        proxy.greetings = [refuse] * attempts
        with pytest.raises(requests.exceptions.ProxyError, match=f"connection failed: {status}"):
            retrying.get("https://gracedb.invalid/", proxies={"https": proxy.url})
        assert proxy.connections == attempts


def test_what_breaks_behind_a_proxy_is_not_the_proxys_fault(
    retrying: requests.Session, tls_server: LoopbackServer
) -> None:
    tls_server.script = [drop]
    with ProxyServer() as proxy, pytest.raises(requests.ConnectionError) as caught:
        retrying.post(tls_server.url, proxies={"https": proxy.url})
    assert caught.type is requests.ConnectionError
    assert "Connection broken" in str(caught.value)
    assert "proxy" not in str(caught.value)


def test_all_attempts_count_whatever_went_wrong(
    retrying: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(503), Answer(503), half_a_body, Answer(503), half_a_body, half_a_body]
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        retrying.get(server.url)
    assert len(server.requests) == RETRIES + 1
