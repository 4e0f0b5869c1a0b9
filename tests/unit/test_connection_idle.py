"""A connection that has been idle for too long is not used again."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from requests_gracedb import ConnectionAdapter, FormData, GraceDBAdapter, connection
from tests.conftest import mounted
from tests.loopback_server import Answer, Handler, LoopbackServer, ProxyServer

adapter_classes = pytest.mark.parametrize("adapter_class", [ConnectionAdapter, GraceDBAdapter])


@dataclass
class Clock:
    """A clock that goes when it is told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that connections go by."""
    clock = Clock()
    monkeypatch.setattr(connection, "monotonic", clock)
    return clock


@dataclass(frozen=True)
class Route:
    """A way to a server."""

    server: LoopbackServer
    url: str
    proxies: dict[str, str]


@pytest.fixture(params=["http", "https", "http by a proxy", "https by a proxy"])
def route(
    request: pytest.FixtureRequest, server: LoopbackServer, tls_server: LoopbackServer
) -> Iterator[Route]:
    """Each way to a server."""
    with ProxyServer() as proxy:
        yield {
            "http": Route(server, server.url, {}),
            "https": Route(tls_server, tls_server.url, {}),
            # It answers by itself, as a proxy that keeps the connection may.
            "http by a proxy": Route(server, "http://gracedb.invalid/", {"http": server.url}),
            "https by a proxy": Route(tls_server, tls_server.url, {"https": proxy.url}),
        }[request.param]


@pytest.fixture
def session(ca_bundle: str) -> Iterator[requests.Session]:
    """A session with nothing but a ConnectionAdapter."""
    with mounted(ConnectionAdapter(), ca_bundle) as session:
        yield session


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("idle, connections", [(59, 1), (60, 2)])
def test_after_a_minute_a_request_has_a_connection_of_its_own(
    idle: float,
    connections: int,
    method: str,
    route: Route,
    session: requests.Session,
    clock: Clock,
) -> None:
    for _ in range(2):
        session.request(method, route.url, proxies=route.proxies)
        clock.now += idle
    assert route.server.connections == connections


def test_a_small_form_is_made_before_the_connection_is_chosen(
    route: Route, session: requests.Session, clock: Clock
) -> None:
    def go_on(size: int) -> None:
        clock.now += 60

    session.get(route.url, proxies=route.proxies)
    session.post(route.url, data=FormData({"a": "b"}, progress=go_on), proxies=route.proxies)
    assert route.server.connections == 2


@pytest.mark.parametrize("size, connections", [(0, 1), (4096, 1), (4097, 2)])
@pytest.mark.parametrize("status", [303, 400, 401, 429, 503])
def test_after_a_refusal_of_what_may_be_unread_a_request_has_a_connection_of_its_own(
    status: int, size: int, connections: int, route: Route, session: requests.Session
) -> None:
    route.server.script = [Answer(status)]
    for _ in range(2):
        session.post(route.url, data=bytes(size), proxies=route.proxies)
    assert route.server.connections == connections


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate abc"])
def test_a_handshake_of_the_connection_goes_on(
    scheme: str, route: Route, session: requests.Session
) -> None:
    route.server.script = [Answer(401, {"WWW-Authenticate": scheme})]
    for _ in range(2):
        session.post(route.url, data=bytes(100_000), proxies=route.proxies)
    assert route.server.connections == 1


def test_after_an_upload_that_was_taken_a_refusal_costs_no_connection(
    route: Route, session: requests.Session
) -> None:
    route.server.script = [Answer(201), Answer(404)]
    session.post(route.url, data=bytes(100_000), proxies=route.proxies)
    for _ in range(2):
        session.get(route.url, proxies=route.proxies)
    assert route.server.connections == 1


def test_after_a_refusal_of_a_generator_a_request_has_a_connection_of_its_own(
    route: Route, session: requests.Session
) -> None:
    route.server.script = [Answer(400)]
    for _ in range(2):
        session.post(route.url, data=iter([b"a"]), proxies=route.proxies)
    assert route.server.connections == 2


def test_after_a_large_body_that_was_accepted_the_connection_is_kept(
    route: Route, session: requests.Session
) -> None:
    for _ in range(2):
        session.post(route.url, data=bytes(100_000), proxies=route.proxies)
    assert route.server.connections == 1


def test_each_answer_begins_the_time_anew(
    route: Route, session: requests.Session, clock: Clock
) -> None:
    for _ in range(10):
        session.get(route.url, proxies=route.proxies)
        clock.now += 59
    assert route.server.connections == 1


def test_the_time_is_that_of_the_connection_that_was_made_last(
    server: LoopbackServer, session: requests.Session, clock: Clock
) -> None:
    for idle in (60, 59, 60, 59):
        session.get(server.url)
        clock.now += idle
    assert [received.connection for received in server.requests] == [1, 2, 2, 3]


@pytest.mark.parametrize(
    "hint, seconds",
    [
        ("timeout=5", 3),
        ("timeout=5, max=100", 3),
        ("max=100, timeout=5", 3),
        ("Timeout = 5", 3),
        ('timeout="5"', 3),
        ("timeout=50", 48),
        ("timeout=4", 2),
        ("timeout=2", 1),
        ("timeout=1", 0.5),
        ("timeout=600", 60),
        ("timeout=99999999999999999999", 60),
        ("max=100", 60),
        ("timeout", 60),
        ("timeout=soon", 60),
        ("notimeout=5", 60),
        ("", 60),
    ],
)
def test_what_the_server_says_counts_if_it_is_shorter(
    hint: str, seconds: float, server: LoopbackServer, session: requests.Session, clock: Clock
) -> None:
    server.script = [Answer(headers={"Keep-Alive": hint})] * 2
    for idle in (seconds - 0.01, seconds, 0):
        session.get(server.url)
        clock.now += idle
    assert [received.connection for received in server.requests] == [1, 1, 2]


def test_a_connection_of_which_the_server_says_0_is_used_once(
    server: LoopbackServer, session: requests.Session, clock: Clock
) -> None:
    server.script = [Answer(headers={"Keep-Alive": "timeout=0"})]
    for _ in range(3):
        session.get(server.url)
    assert [received.connection for received in server.requests] == [1, 2, 2]


def test_what_the_server_says_counts_on_every_way(
    route: Route, session: requests.Session, clock: Clock
) -> None:
    route.server.answer = lambda received: Answer(headers={"Keep-Alive": "timeout=5"})
    for _ in range(2):
        session.post(route.url, proxies=route.proxies)
        clock.now += 3
    assert route.server.connections == 2


@adapter_classes
@pytest.mark.parametrize("idle_timeout, seconds", [(5, 5), (0.5, 0.5), (3600.0, 3600)])
def test_the_time_can_be_set(
    idle_timeout: float,
    seconds: float,
    adapter_class: type[Any],
    server: LoopbackServer,
    clock: Clock,
) -> None:
    with mounted(adapter_class(idle_timeout=idle_timeout)) as session:
        for idle in (seconds - 0.01, seconds, 0):
            session.get(server.url)
            clock.now += idle
    assert [received.connection for received in server.requests] == [1, 1, 2]


@adapter_classes
def test_none_is_for_ever(
    adapter_class: type[Any], server: LoopbackServer, clock: Clock
) -> None:
    with mounted(adapter_class(idle_timeout=None)) as session:
        for _ in range(2):
            session.get(server.url)
            clock.now += 1e9
    assert server.connections == 1


def test_none_leaves_the_word_to_the_server(server: LoopbackServer, clock: Clock) -> None:
    server.script = [Answer(headers={"Keep-Alive": "timeout=5"})]
    with mounted(ConnectionAdapter(idle_timeout=None)) as session:
        for _ in range(2):
            session.get(server.url)
            clock.now += 3
    assert server.connections == 2


@adapter_classes
@pytest.mark.parametrize("idle_timeout", [0, -1, 0.0, float("nan")])
def test_a_time_that_is_not_positive_is_refused(
    idle_timeout: float, adapter_class: type[Any]
) -> None:
    with pytest.raises(ValueError, match="idle_timeout must be a positive number of seconds"):
        adapter_class(idle_timeout=idle_timeout)


@adapter_classes
@pytest.mark.parametrize("idle_timeout, connections", [(5, 2), (None, 1)])
def test_a_pickled_adapter_keeps_its_time(
    idle_timeout: float | None,
    connections: int,
    adapter_class: type[Any],
    server: LoopbackServer,
    clock: Clock,
) -> None:
    adapter = pickle.loads(pickle.dumps(adapter_class(idle_timeout=idle_timeout)))
    with mounted(adapter) as session:
        for _ in range(2):
            session.get(server.url)
            clock.now += 1000
    assert server.connections == connections


def test_two_adapters_have_their_own_times(server: LoopbackServer, clock: Clock) -> None:
    with mounted(ConnectionAdapter(idle_timeout=5)) as short, mounted(
        ConnectionAdapter(idle_timeout=100)
    ) as long:
        for _ in range(2):
            short.get(server.url)
            long.get(server.url)
            clock.now += 50
    assert [received.connection for received in server.requests] == [1, 2, 3, 2]


def test_the_names_in_messages_are_those_of_urllib3(server: LoopbackServer) -> None:
    adapter = ConnectionAdapter()
    for url in ("http://gracedb.invalid/", "https://gracedb.invalid/"):
        with adapter.poolmanager.connection_from_url(url) as pool:
            scheme = url.partition(":")[0].upper()
            assert str(pool).startswith(f"{scheme}ConnectionPool(")
            assert pool.ConnectionCls.__name__ == f"{scheme}Connection"


@pytest.mark.parametrize("digits", [400, 5000])
def test_a_hint_of_many_digits_is_a_long_time(digits: int, server: LoopbackServer) -> None:
    server.answer = lambda received: Answer(200, {"Keep-Alive": f"timeout={'9' * digits}"})
    with requests.Session() as session:
        session.mount("http://", ConnectionAdapter())
        assert session.post(server.url).ok
        assert session.post(server.url).ok
    assert server.connections == 1


def keep_alive(handler: Handler) -> None:
    """Answer, and wait for the next request, whatever the client has said."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    handler.close_connection = False


@pytest.mark.parametrize("name", ["Connection", "connection"])
@pytest.mark.parametrize("option", ["close", "Close", "TE, close", b"close"])
def test_a_connection_is_not_used_again_when_the_request_has_said_so(
    option: Any, name: str, route: Route, session: requests.Session
) -> None:
    route.server.script = [keep_alive] * 3
    for _ in range(3):
        session.get(route.url, headers={name: option}, proxies=route.proxies)
    assert route.server.connections == 3


def test_a_connection_is_used_again_after_another_option(
    route: Route, session: requests.Session
) -> None:
    for _ in range(3):
        session.get(route.url, headers={"Connection": "keep-alive"}, proxies=route.proxies)
    assert route.server.connections == 1


def test_a_process_that_is_forked_opens_connections_of_its_own(
    server: LoopbackServer, tls_server: LoopbackServer, ca_bundle: str
) -> None:
    with mounted(ConnectionAdapter(), ca_bundle) as session:
        for any_server in server, tls_server:
            session.get(any_server.url)
        child = os.fork()
        if not child:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(30)  # if it hangs
            answers = [session.get(any_server.url) for any_server in (server, tls_server)]
            os._exit(0 if all(answers) else 1)
        assert os.waitpid(child, 0)[1] == 0
        for any_server in server, tls_server:
            session.get(any_server.url)
    # The child's are the second; the parent goes on with its own.
    for any_server in server, tls_server:
        assert [received.connection for received in any_server.requests] == [1, 2, 1]
