"""ConnectionAdapter: pools are found by keys made once; what is read and written in one piece."""

from __future__ import annotations

import io
import pickle
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3 import PoolManager

from requests_gracedb import ConnectionAdapter, FormData
from requests_gracedb.content import BLOCK_SIZE
from tests.conftest import mounted
from tests.loopback_server import LoopbackServer

SETTINGS: dict[str, Any] = {
    "scheme": "https",
    "host": "gracedb.ligo.org",
    "port": 443,
    "cert_reqs": "CERT_REQUIRED",
}
NODELAY = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]


def key(adapter: HTTPAdapter, **settings: Any) -> Any:
    """Make the key for some settings."""
    context = {**SETTINGS, **settings}
    return adapter.poolmanager.key_fn_by_scheme[context["scheme"]](context)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"scheme": "http", "port": 80},
        {"host": "GraceDB.LIGO.org"},
        {"port": 8443},
        {"cert_reqs": "CERT_NONE"},
        {"ca_certs": "ca.pem"},
        {"cert_file": "cert.pem", "key_file": "key.pem"},
        {"headers": {"Host": "gracedb.ligo.org"}},
        {"socket_options": NODELAY},
    ],
)
def test_the_key_of_a_pool_is_that_of_urllib3(settings: dict[str, Any]) -> None:
    adapter = ConnectionAdapter()
    context = {**SETTINGS, **settings}
    expected = PoolManager().key_fn_by_scheme[context["scheme"]](dict(context))
    assert key(adapter, **settings) == expected
    assert key(adapter, **settings) == expected


def test_a_key_is_made_once() -> None:
    adapter = ConnectionAdapter()
    assert key(adapter) is key(adapter)


def test_a_pickled_adapter_makes_a_key_once() -> None:
    adapter = pickle.loads(pickle.dumps(ConnectionAdapter()))
    assert key(adapter) is key(adapter)


def test_making_a_key_leaves_the_settings_as_they_are() -> None:
    context = dict(SETTINGS)
    ConnectionAdapter().poolmanager.key_fn_by_scheme["https"](context)
    assert context == SETTINGS


def test_connections_with_other_settings_have_another_pool() -> None:
    with requests.Session() as session:
        session.mount("https://", ConnectionAdapter())
        request = requests.Request("GET", "https://gracedb.ligo.org/").prepare()
        adapter = session.get_adapter("https://gracedb.ligo.org/")
        assert isinstance(adapter, ConnectionAdapter)
        pools = {
            adapter.get_connection_with_tls_context(request, verify, cert=cert)
            for _ in range(2)
            for verify in (True, False, "ca.pem")
            for cert in (None, "cert.pem", ("cert.pem", "key.pem"))
        }
    assert len(pools) == 9


@pytest.mark.parametrize("url", ["https://gracedb.ligo.org/api/?a=b#c", "http://localhost/a"])
@pytest.mark.parametrize(
    "proxies",
    [None, {}, {"http": "http://proxy:3128"}, {"all": "socks5://proxy"}, {"https": "proxy:3128"}],
)
def test_the_url_of_the_request_line_is_that_of_requests(
    url: str, proxies: dict[str, str] | None
) -> None:
    request = requests.Request("GET", url).prepare()
    expected = HTTPAdapter().request_url(request, proxies)
    assert ConnectionAdapter().request_url(request, proxies) == expected


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """A session with nothing but a ConnectionAdapter."""
    with mounted(ConnectionAdapter()) as session:
        yield session


class Blocks(io.BytesIO):
    """A file that remembers how much is read at a time."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.sizes: set[int | None] = set()

    def read(self, size: int | None = -1) -> bytes:
        self.sizes.add(size)
        return super().read(size)


def test_a_file_as_the_body_is_read_in_large_blocks(
    session: requests.Session, server: LoopbackServer
) -> None:
    blocks = Blocks(b"content")
    session.post(server.url, data=blocks)
    assert blocks.sizes == {BLOCK_SIZE}


def test_a_file_as_the_body_is_read_in_large_blocks_through_a_proxy(
    session: requests.Session, server: LoopbackServer
) -> None:
    blocks = Blocks(b"content")
    session.post("http://gracedb.invalid/", data=blocks, proxies={"http": server.url})
    assert blocks.sizes == {BLOCK_SIZE}


First = tuple[str, "SimpleQueue[bytes]"]


@pytest.fixture
def first(tls: ssl.SSLContext) -> Iterator[First]:
    """The URL of a server, and the first record of TLS that it gets: what was written at once."""
    record: SimpleQueue[bytes] = SimpleQueue()
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as threads:
        listener.settimeout(60)

        def serve() -> None:
            connection, _ = listener.accept()
            with tls.wrap_socket(connection, server_side=True) as secure:
                record.put(secure.recv(65536))
                secure.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
                while secure.recv(65536):
                    pass

        threads.submit(serve)
        yield f"https://localhost:{listener.getsockname()[1]}/", record


@pytest.mark.parametrize(
    "body",
    [b"content", "content", {"a": "content"}, FormData({"a": "content"})],
    ids=lambda body: type(body).__name__,
)
def test_a_small_body_is_written_together_with_the_headers(
    body: Any, first: First, ca_bundle: str, session: requests.Session
) -> None:
    url, record = first
    session.post(url, data=body, verify=ca_bundle)
    head, _, content = record.get(timeout=60).partition(b"\r\n\r\n")
    assert head.startswith(b"POST / HTTP/1.1\r\n")
    assert b"content" in content


def test_nothing_is_written_if_a_small_body_cannot_be_made(
    server: LoopbackServer, session: requests.Session
) -> None:
    def broken(size: int) -> None:
        raise ValueError("no screen")

    with pytest.raises(ValueError, match="no screen"):
        session.post(server.url, data=FormData({"a": "content"}, progress=broken))
    session.get(server.url)
    assert [received.method for received in server.requests] == ["GET"]


def test_a_body_of_more_than_a_block_is_not_copied(
    first: First, ca_bundle: str, session: requests.Session
) -> None:
    url, record = first
    session.post(url, data=bytes(BLOCK_SIZE + 1), verify=ca_bundle)
    assert record.get(timeout=60).endswith(b"\r\n\r\n")


class Sized:
    """A body that knows how long it is."""

    def __init__(self, content: Iterator[bytes]) -> None:
        self._content = content

    def __len__(self) -> int:
        return len(b"content")

    def __iter__(self) -> Iterator[bytes]:
        return self._content


@pytest.mark.parametrize("body_class", [iter, Sized])
def test_the_headers_do_not_wait_for_a_body_to_begin(
    body_class: Any, server: LoopbackServer, session: requests.Session
) -> None:
    has_begun = threading.Event()

    def wait_for_headers(connection: socket.socket) -> None:
        connection.recv(1, socket.MSG_PEEK)
        has_begun.set()

    def generated() -> Iterator[bytes]:
        assert has_begun.wait(10)
        yield b"content"

    server.greetings.append(wait_for_headers)
    session.post(server.url, data=body_class(generated()))
    assert server.requests[0].body == b"content"
