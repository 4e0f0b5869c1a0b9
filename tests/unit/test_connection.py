"""ConnectionAdapter: pools are found by keys made once; what is read and written in one piece."""

from __future__ import annotations

import io
import itertools
import os
import pickle
import re
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from unittest import mock

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from requests.auth import _basic_auth_str
from urllib3 import HTTPConnectionPool, PoolManager, Timeout

from requests_gracedb import ConnectionAdapter, FormData
from requests_gracedb.content import BLOCK_SIZE
from tests.conftest import mounted
from tests.loopback_server import LoopbackServer, silence

URL = "https://gracedb.ligo.org/api/"
NODELAY = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]


def prepared(url: str) -> requests.PreparedRequest:
    """A request as it gets to an adapter, with a URL that nobody has looked at."""
    request = requests.Request("GET", URL).prepare()
    request.url = url
    return request


def pool(adapter: HTTPAdapter, url: str = URL, verify: Any = True, **kwargs: Any) -> Any:
    """Get the pool that a request would use."""
    return adapter.get_connection_with_tls_context(prepared(url), verify, **kwargs)


def key(adapter: HTTPAdapter, *args: Any, **kwargs: Any) -> Any:
    """Get the key of the pool that a request would use."""
    adapter.poolmanager.connection_pool_kw["blocksize"] = BLOCK_SIZE
    chosen = pool(adapter, *args, **kwargs)
    manager: Any = adapter.poolmanager
    return next(key for key in manager.pools.keys() if manager.pools[key] is chosen)


CHOICES = given(
    url=st.one_of(
        st.sampled_from(
            [
                "https://gracedb.ligo.org?a=b",
                "https://gracedb.ligo.org#c",
                "http://user:password@gracedb.ligo.org:8080/api/",
                "HTTPS://GraceDB.LIGO.org",
                "http://[::1]:80/",
            ]
        ),
        st.from_regex(r"https?:[/\\]{0,3}[a-z.:@?#/\\\n\t]{0,12}", fullmatch=True),
    ),
    verify=st.sampled_from([True, False, 1, 0, None, __file__, os.path.dirname(__file__), "none"]),
    cert=st.sampled_from([None, "cert.pem", ("cert.pem", "key.pem")]),
)


@CHOICES
def test_the_pool_is_that_which_requests_would_choose(url: str, verify: Any, cert: Any) -> None:
    adapter, plain = ConnectionAdapter(), HTTPAdapter()
    try:
        expected = key(plain, url, verify, cert=cert)
    except ValueError as error:
        for _ in range(2):
            with pytest.raises(type(error), match=re.escape(str(error))):
                key(adapter, url, verify, cert=cert)
    else:
        assert [key(adapter, url, verify, cert=cert) for _ in range(2)] == [expected] * 2


def test_no_verification_is_not_mistaken_for_what_is_merely_false() -> None:
    adapter, plain = ConnectionAdapter(), HTTPAdapter()
    for verify in (0, False, 0):
        assert key(adapter, verify=verify) == key(plain, verify=verify)


def no_pool(*args: Any, **kwargs: Any) -> None:
    """Refuse to look for a pool."""
    raise AssertionError("the key was not remembered")


@pytest.mark.parametrize("url", [URL, f"{URL}events/", "https://gracedb.ligo.org/?a=b"])
@pytest.mark.parametrize("verify", [True, False, __file__])
def test_the_key_of_a_pool_is_made_once_for_a_server(
    url: str, verify: bool | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = ConnectionAdapter()
    expected = pool(adapter, verify=verify)
    monkeypatch.setattr(PoolManager, "connection_from_host", no_pool)
    assert pool(adapter, url, verify) is expected


def test_a_pickled_adapter_remembers_keys_too(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = pickle.loads(pickle.dumps(ConnectionAdapter()))
    expected = pool(adapter)
    monkeypatch.setattr(PoolManager, "connection_from_host", no_pool)
    assert pool(adapter) is expected


def test_what_an_adapter_remembers_goes_with_it() -> None:
    adapter = ConnectionAdapter()
    context = ssl.create_default_context()
    adapter.poolmanager.connection_pool_kw["ssl_context"] = context
    pool(adapter)
    remembered = weakref.ref(context)
    del adapter, context
    assert remembered() is None


def test_requests_with_other_settings_have_another_pool() -> None:
    adapter = ConnectionAdapter(pool_connections=12)
    pools = {
        pool(adapter, verify=verify, cert=cert)
        for _ in range(2)
        for verify in (True, False, __file__, "ca.pem")
        for cert in (None, "cert.pem", ("cert.pem", "key.pem"))
    }
    assert len(pools) == 12


def test_another_setting_of_the_pool_manager_makes_another_pool() -> None:
    adapter = ConnectionAdapter()
    before = pool(adapter)
    adapter.poolmanager.connection_pool_kw["assert_fingerprint"] = "00" * 32
    assert pool(adapter) is not before
    assert pool(adapter).assert_fingerprint == "00" * 32


def test_socket_options_which_cannot_be_remembered_are_used() -> None:
    adapter = ConnectionAdapter()
    adapter.poolmanager.connection_pool_kw["socket_options"] = NODELAY
    assert pool(adapter).conn_kw["socket_options"] == NODELAY


def test_a_pool_manager_with_keys_of_its_own_makes_them() -> None:
    adapter = ConnectionAdapter()
    manager: Any = adapter.poolmanager
    manager.key_fn_by_scheme["https"] = lambda context: next(counter)
    counter = itertools.count()
    assert pool(adapter) is not pool(adapter)


class ByRequest(HTTPAdapter):
    """An adapter that has each request verified in its own way."""

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> Any:
        """Trust the CA that a request names."""
        host, tls = super().build_connection_pool_key_attributes(*args, **kwargs)
        return host, {**tls, "ca_certs": args[0].headers["Trust"]}


class ByHost(HTTPAdapter):
    """An adapter that sends every request to another server."""

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Get the pool of another server."""
        return self.poolmanager.connection_from_url("https://gracedb-test.ligo.org/")


@pytest.mark.parametrize("bases", [(ConnectionAdapter, ByRequest), (ByRequest, ConnectionAdapter)])
def test_an_adapter_mixed_in_may_build_the_key_of_each_request(bases: Any) -> None:
    adapter = type("Mixed", bases, {})()
    chosen = []
    for name in ("a.pem", "b.pem"):
        request = prepared(URL)
        request.headers["Trust"] = name
        chosen.append(adapter.get_connection_with_tls_context(request, True).ca_certs)
    assert chosen == ["a.pem", "b.pem"]


@pytest.mark.parametrize("bases", [(ConnectionAdapter, ByHost), (ByHost, ConnectionAdapter)])
def test_an_adapter_mixed_in_may_choose_the_pool(bases: Any) -> None:
    adapter = type("Mixed", bases, {})()
    assert [pool(adapter).host for _ in range(2)] == ["gracedb-test.ligo.org"] * 2


def test_an_adapter_mixed_in_may_have_another_pool_manager() -> None:
    class Manager(PoolManager):
        def connection_from_host(self, *args: Any, **kwargs: Any) -> Any:
            return "pool"

    class Managing(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            self.poolmanager = Manager()

    assert pool(type("Mixed", (ConnectionAdapter, Managing), {})()) == "pool"


class Independent(ConnectionAdapter):
    """An adapter with a pool manager of its own, of urllib3's class."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make a pool manager, and nothing else."""
        self.poolmanager = PoolManager()


def test_a_subclass_may_make_the_pool_manager() -> None:
    adapter = Independent()
    assert pool(adapter) is pool(adapter)


def trusting(*args: Any, **kwargs: Any) -> Any:
    """Build the attributes of a key for a CA bundle of one's own."""
    return {"scheme": "https", "host": "gracedb.ligo.org", "port": 443}, {"ca_certs": "mine.pem"}


@pytest.mark.parametrize("owner", ["adapter", "HTTPAdapter"])
def test_a_method_that_is_replaced_meanwhile_is_called(
    owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = ConnectionAdapter()
    owners: dict[str, Any] = {"adapter": adapter, "HTTPAdapter": HTTPAdapter}
    before = pool(adapter)
    with monkeypatch.context() as patch:
        patch.setattr(owners[owner], "build_connection_pool_key_attributes", trusting)
        assert pool(adapter).ca_certs == "mine.pem"
    assert pool(adapter) is before


def test_an_adapter_can_be_made_while_its_base_is_mocked() -> None:
    with mock.patch.object(HTTPAdapter, "get_connection_with_tls_context", return_value="pool"):
        assert pool(ConnectionAdapter()) == "pool"


def test_the_pool_used_last_is_kept() -> None:
    adapter = ConnectionAdapter(pool_connections=2)
    first, second = pool(adapter, "https://a/"), pool(adapter, "https://b/")
    for host in "ac":
        pool(adapter, f"https://{host}/")
    assert pool(adapter, "https://a/") is first
    assert pool(adapter, "https://b/") is not second


def test_a_ca_bundle_that_was_missing_may_turn_up_as_a_directory(tmp_path: Path) -> None:
    adapter, certificates = ConnectionAdapter(), tmp_path / "certificates"
    pool(adapter, verify=str(certificates))
    certificates.mkdir()
    assert pool(adapter, verify=str(certificates)).ca_cert_dir == str(certificates)


def test_a_url_without_a_host_is_told_with_its_request() -> None:
    request = prepared("https:///api/")
    with pytest.raises(requests.exceptions.InvalidURL) as caught:
        ConnectionAdapter().send(request)
    assert caught.value.request is request


@pytest.mark.parametrize(
    "url", ["https://gracedb.ligo.org/api/?a=b#c", "http://localhost/a", "http://localhost//a/b"]
)
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


class Prefixed(HTTPAdapter):
    """An adapter for a server whose paths all begin in the same way."""

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        """Get the URL for the request line."""
        return "/tenant" + super().request_url(request, proxies)


@pytest.mark.parametrize("bases", [(ConnectionAdapter, Prefixed), (Prefixed, ConnectionAdapter)])
def test_an_adapter_mixed_in_may_change_the_url_of_the_request_line(bases: Any) -> None:
    adapter = type("Mixed", bases, {})()
    assert adapter.request_url(prepared(URL), None) == "/tenant/api/"


def test_a_patch_may_change_the_url_of_the_request_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HTTPAdapter, "request_url", lambda *args: "/patched/")
    assert ConnectionAdapter().request_url(prepared(URL), None) == "/patched/"


class Deadline(Timeout):
    """A timeout with a rule of its own."""

    def __init__(self, seconds: float) -> None:
        super().__init__(connect=5, read=5)
        self._deadline = time.monotonic() + seconds

    @property
    def read_timeout(self) -> float:
        return max(0.001, self._deadline - time.monotonic())

    def clone(self) -> Timeout:
        return Deadline(self._deadline - time.monotonic())


def test_a_timeout_with_a_rule_of_its_own_keeps_it(server: LoopbackServer) -> None:
    server.script = [silence]
    with mounted(ConnectionAdapter()) as session:
        with pytest.raises(requests.ReadTimeout, match=r"read timeout=0\."):
            session.get(server.url, timeout=Deadline(0.1))


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """A session with nothing but a ConnectionAdapter."""
    with mounted(ConnectionAdapter()) as session:
        yield session


def test_a_patch_may_replace_a_header(
    session: requests.Session, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = HTTPConnectionPool.urlopen

    def urlopen(pool: HTTPConnectionPool, *args: Any, **kwargs: Any) -> Any:
        kwargs["headers"]["traceparent"] = "patched"
        return send(pool, *args, **kwargs)

    monkeypatch.setattr(HTTPConnectionPool, "urlopen", urlopen)
    session.get(server.url, headers={"Traceparent": "00-1-2-01"})
    assert server.requests[0].headers.get_all("traceparent") == ["patched"]


def test_a_proxy_gets_its_credential_once(
    session: requests.Session, server: LoopbackServer
) -> None:
    proxy = server.url.replace("://", "://user:password@")
    headers = {"proxy-authorization": "Basic eA=="}
    session.get("http://gracedb.invalid/", headers=headers, proxies={"http": proxy})
    received = server.requests[0].headers
    assert received.get_all("Proxy-Authorization") == [_basic_auth_str("user", "password")]


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


@pytest.mark.parametrize("size", [1, BLOCK_SIZE // 2])
def test_nothing_is_written_if_a_small_form_cannot_be_made(
    size: int, server: LoopbackServer, session: requests.Session
) -> None:
    def broken(size: int) -> None:
        raise ValueError("no screen")

    with pytest.raises(ValueError, match="no screen"):
        session.post(server.url, data=FormData({"a": bytes(size)}, progress=broken))
    session.get(server.url)
    assert [received.method for received in server.requests] == ["GET"]


def test_the_headers_do_not_wait_for_a_large_body(
    first: First, ca_bundle: str, session: requests.Session
) -> None:
    url, record = first
    session.post(url, data=bytes(16 * 1024), verify=ca_bundle)
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
