"""ConnectionAdapter: pools are found by keys that are made once, raw files read in large blocks."""

from __future__ import annotations

import io
import pickle
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3 import PoolManager

from requests_gracedb import ConnectionAdapter
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
