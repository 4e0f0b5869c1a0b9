"""What is sent again, what is not, and what the caller gets in the end."""

from __future__ import annotations

import io
import itertools
import logging
import os
import pickle
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import IO, Any

import pytest
import requests
import trustme
import urllib3
from freezegun import freeze_time
from requests.adapters import BaseAdapter, HTTPAdapter

from requests_gracedb import FormData, GraceDBAdapter, RetryAdapter, retry
from requests_gracedb.retry import GraceDBRetry
from tests.conftest import make_token
from tests.loopback_server import (
    Answer,
    Handler,
    LoopbackServer,
    ProxyServer,
    Script,
    drop,
    half_a_body,
    half_an_answer,
    redirect,
    reset,
    reset_at_once,
    silence,
    silence_at_once,
)

IDEMPOTENT = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"]
OTHER = ["POST", "PATCH"]

TRANSIENT = [408, 502, 503, 504]
FINAL = [400, 401, 403, 404, 405, 409, 410, 422, 500, 501, 505, 507]

RETRIES = 5  # by default

NOON = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)

any_method = pytest.mark.parametrize("method", IDEMPOTENT + OTHER)
any_idempotent_method = pytest.mark.parametrize("method", IDEMPOTENT)
any_other_method = pytest.mark.parametrize("method", OTHER)
any_break = pytest.mark.parametrize("fault", [drop, reset, half_an_answer])


class Clock:
    """What the retries have in place of the time module: nobody waits, and every wait is noted."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.events: list[Callable[[], object]] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        if self.events:
            self.events.pop(0)()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The waits, and what is to happen during each of them."""
    clock = Clock()
    monkeypatch.setattr(retry, "time", clock)
    return clock


@pytest.fixture
def session(ca_bundle: str) -> Iterator[requests.Session]:
    """A session with retries and nothing else."""
    with mounted(RetryAdapter(), ca_bundle) as session:
        yield session


@pytest.fixture
def whole_session(ca_bundle: str) -> Iterator[requests.Session]:
    """A session with everything."""
    with mounted(GraceDBAdapter(), ca_bundle) as session:
        yield session


def mounted(adapter: HTTPAdapter, ca_bundle: str) -> requests.Session:
    session = requests.Session()
    session.verify = ca_bundle
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def bodies(server: LoopbackServer) -> list[bytes]:
    return [received.body for received in server.requests]


# No connection: again, whatever the method


@any_method
def test_a_refused_connection_is_tried_again(
    method: str, session: requests.Session, clock: Clock
) -> None:
    port = unused_port()
    with ExitStack() as stack:
        server: list[LoopbackServer] = []

        def start() -> None:
            server.append(stack.enter_context(LoopbackServer(port=port)))

        clock.events = [lambda: None, start]
        response = session.request(method, f"http://127.0.0.1:{port}/", data=b"body")
        assert response.status_code == 200
        assert bodies(server[0]) == [b"body"]
    assert len(clock.waits) == 2


@any_method
def test_a_connection_that_times_out_is_tried_again(
    method: str, session: requests.Session, clock: Clock
) -> None:
    server = LoopbackServer(backlog=0)
    with socket.create_connection(("127.0.0.1", server.port)):  # Nobody else can get in.
        with ExitStack() as stack:

            def start() -> None:
                stack.enter_context(server)
                while not server.connections:
                    time.sleep(0.001)

            clock.events = [lambda: None, start]
            url = f"http://127.0.0.1:{server.port}/"
            session.request(method, url, data=b"body", timeout=(0.1, 60))
    assert bodies(server) == [b"body"]
    assert len(clock.waits) >= 2


@any_method
def test_a_name_that_cannot_be_resolved_is_tried_again(
    method: str,
    session: requests.Session,
    server: LoopbackServer,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve_after(2, monkeypatch)
    session.request(method, f"http://gracedb.invalid:{server.port}/", data=b"body")
    assert bodies(server) == [b"body"]
    assert len(clock.waits) == 2


def resolve_after(failures: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the names under .invalid be those of loopback, after so many failures."""
    getaddrinfo = socket.getaddrinfo
    attempts = itertools.count(1)

    def resolve(host: str, *args: Any, **kwargs: Any) -> list[Any]:
        if not host.endswith(".invalid"):
            return getaddrinfo(host, *args, **kwargs)
        if next(attempts) <= failures:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return getaddrinfo("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@any_method
def test_a_reset_in_the_tls_handshake_is_tried_again(
    method: str, session: requests.Session, tls_server: LoopbackServer, clock: Clock
) -> None:
    tls_server.greetings = [reset_at_once, reset_at_once]
    session.request(method, tls_server.url, data=b"body")
    assert bodies(tls_server) == [b"body"]
    assert len(clock.waits) == 2


@any_method
def test_silence_in_the_tls_handshake_is_tried_again(
    method: str, session: requests.Session, tls_server: LoopbackServer, clock: Clock
) -> None:
    tls_server.greetings = [silence_at_once]
    clock.events = [lambda: None]
    session.request(method, tls_server.url, data=b"body", timeout=(0.3, 60))
    assert bodies(tls_server) == [b"body"]
    assert len(clock.waits) >= 1


# A status that passes: again, if the method is idempotent


@any_idempotent_method
@pytest.mark.parametrize("status", TRANSIENT)
def test_a_transient_status_has_an_idempotent_request_sent_again(
    method: str, status: int, session: requests.Session, server: LoopbackServer, clock: Clock
) -> None:
    server.script = [Answer(status), Answer(status)]
    assert session.request(method, server.url, data=b"body").status_code == 200
    assert bodies(server) == [b"body"] * 3
    assert len(clock.waits) == 2


@any_other_method
@pytest.mark.parametrize("status", TRANSIENT)
def test_a_transient_status_is_the_answer_to_any_other_request(
    method: str, status: int, session: requests.Session, server: LoopbackServer, clock: Clock
) -> None:
    server.script = [Answer(status)]
    assert session.request(method, server.url, data=b"body").status_code == status
    assert bodies(server) == [b"body"]
    assert not clock.waits


@any_other_method
@pytest.mark.parametrize("status", TRANSIENT)
def test_which_raises_with_the_explanation(
    method: str, status: int, whole_session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(status, {"Content-Type": "text/plain"}, b"Maintenance")]
    with pytest.raises(requests.HTTPError, match=f"{status} .*: Maintenance") as caught:
        whole_session.request(method, server.url, data=b"body")
    assert caught.value.response.status_code == status
    assert len(server.requests) == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
@pytest.mark.parametrize("status", FINAL)
def test_any_other_error_is_the_answer(
    method: str, status: int, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(status)]
    assert session.request(method, server.url).status_code == status
    assert len(server.requests) == 1


def test_requests_are_sent_again_on_the_connection_that_is_open(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(503, body=b"Maintenance")] * 2
    session.get(server.url)
    assert server.connections == 1


def test_every_hop_of_a_redirect_is_sent_again(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(503), redirect("/there"), Answer(503)]
    assert session.get(server.url).url == f"{server.url}/there"
    assert [received.target for received in server.requests] == ["/", "/", "/there", "/there"]


# A connection that breaks when the request is out: again, if the method is idempotent


@any_break
@any_idempotent_method
@pytest.mark.parametrize("kind", ["server", "tls_server"])
def test_an_idempotent_request_whose_connection_breaks_is_sent_again(
    method: str,
    fault: Script,
    kind: str,
    session: requests.Session,
    request: pytest.FixtureRequest,
    clock: Clock,
) -> None:
    server: LoopbackServer = request.getfixturevalue(kind)
    server.script = [fault, fault]
    assert session.request(method, server.url, data=b"body").status_code == 200
    assert bodies(server) == [b"body"] * 3
    assert len(clock.waits) == 2


@any_break
@any_other_method
@pytest.mark.parametrize("kind", ["server", "tls_server"])
def test_any_other_request_whose_connection_breaks_is_a_connection_error(
    method: str,
    fault: Script,
    kind: str,
    session: requests.Session,
    request: pytest.FixtureRequest,
    clock: Clock,
) -> None:
    server: LoopbackServer = request.getfixturevalue(kind)
    server.script = [fault]
    with pytest.raises(requests.ConnectionError):
        session.request(method, server.url, data=b"body")
    assert bodies(server) == [b"body"]
    assert not clock.waits


@pytest.mark.parametrize("method", [method for method in IDEMPOTENT if method != "HEAD"])
def test_an_idempotent_request_whose_answer_breaks_off_is_sent_again(
    method: str, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [half_a_body, half_a_body, Answer(200, {}, b"whole")]
    response = session.request(method, server.url, data=io.BytesIO(b"body"))
    assert response.content == b"whole"
    assert bodies(server) == [b"body"] * 3


def test_an_answer_that_always_breaks_off_is_what_requests_makes_of_it(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [half_a_body] * 10
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.get(server.url)
    assert len(server.requests) == RETRIES + 1


def test_an_answer_that_the_caller_reads_is_not_read_before(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [half_a_body]
    response = session.get(server.url, stream=True)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        _ = response.content
    assert len(server.requests) == 1


def test_the_answer_that_is_whole_goes_through_the_hooks_of_the_user(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [half_a_body, Answer(200, {}, b"whole")]
    seen: list[bytes] = []
    hooks = {"response": lambda response, **kwargs: seen.append(response.content)}
    assert session.get(server.url, hooks=hooks).elapsed > timedelta(0)
    assert seen == [b"whole"]


def test_an_error_after_an_answer_that_broke_off_raises(
    whole_session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [half_a_body, Answer(404)]
    with pytest.raises(requests.HTTPError, match="404"):
        whole_session.get(server.url)


def test_a_user_may_do_without_retry_after(ca_bundle: str, server: LoopbackServer) -> None:
    server.script = [later(503, "0")]
    rule = GraceDBRetry(respect_retry_after_header=False)
    with mounted(RetryAdapter(max_retries=rule), ca_bundle) as session:
        assert session.post(server.url).status_code == 503


@any_other_method
def test_any_other_request_whose_answer_breaks_off_is_not_sent_again(
    method: str, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [half_a_body]
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.request(method, server.url, data=b"body")
    assert bodies(server) == [b"body"]


@any_other_method
def test_any_other_request_that_finds_its_idle_connection_closed_is_sent_once(
    method: str, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(), drop]
    session.get(server.url)
    with pytest.raises(requests.ConnectionError):
        session.request(method, server.url, data=b"body")
    assert [received.method for received in server.requests] == ["GET", method]


def test_the_user_may_say_that_another_method_is_idempotent(
    ca_bundle: str, server: LoopbackServer
) -> None:
    server.script = [drop, Answer(503)]
    methods = [*IDEMPOTENT, "PATCH"]
    adapter = RetryAdapter(max_retries=GraceDBRetry(allowed_methods=methods))
    with mounted(adapter, ca_bundle) as session:
        assert session.patch(server.url, data=b"body").status_code == 200
    assert bodies(server) == [b"body"] * 3


# Retry-After: again after that time, whatever the method


@any_method
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_waited_for(
    method: str, status: int, session: requests.Session, server: LoopbackServer, clock: Clock
) -> None:
    server.script = [later(status, "7")]
    assert session.request(method, server.url, data=b"body").status_code == 200
    assert bodies(server) == [b"body"] * 2
    assert clock.waits == [7]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_may_be_a_date(
    method: str, status: int, session: requests.Session, server: LoopbackServer, clock: Clock
) -> None:
    server.script = [later(status, "Mon, 04 May 2026 12:00:07 GMT")]
    with freeze_time(NOON):
        assert session.request(method, server.url, data=b"body").status_code == 200
    assert bodies(server) == [b"body"] * 2
    assert clock.waits == [7]


@any_method
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("value", ["0", "Mon, 04 May 2026 11:59:00 GMT"])
def test_a_time_that_is_over_is_not_waited_for(
    method: str,
    status: int,
    value: str,
    session: requests.Session,
    server: LoopbackServer,
    clock: Clock,
) -> None:
    server.script = [later(status, value)]
    with freeze_time(NOON):
        assert session.request(method, server.url, data=b"body").status_code == 200
    assert bodies(server) == [b"body"] * 2
    assert clock.waits == [0]


@any_method
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "value", ["31", "9" * 400, "Mon, 04 May 2026 12:00:31 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"]
)
def test_a_longer_time_than_30_seconds_is_not_waited_for_and_the_answer_is_final(
    method: str,
    status: int,
    value: str,
    session: requests.Session,
    server: LoopbackServer,
    clock: Clock,
) -> None:
    server.script = [later(status, value)]
    with freeze_time(NOON):
        response = session.request(method, server.url, data=b"body")
    assert response.status_code == status
    assert bodies(server) == [b"body"]
    assert not clock.waits


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_it_raises_with_the_response(
    method: str, whole_session: requests.Session, server: LoopbackServer, clock: Clock
) -> None:
    server.script = [later(429, "31")]
    with pytest.raises(requests.HTTPError, match="429") as caught:
        whole_session.request(method, server.url)
    assert caught.value.response.headers["Retry-After"] == "31"
    assert len(server.requests) == 1
    assert not clock.waits


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("value", ["30", "Mon, 04 May 2026 12:00:30 GMT"])
def test_30_seconds_are_waited_for(
    status: int, value: str, session: requests.Session, server: LoopbackServer, clock: Clock
) -> None:
    server.script = [later(status, value)]
    with freeze_time(NOON):
        assert session.post(server.url).status_code == 200
    assert clock.waits == [30]


@pytest.mark.parametrize("limit, waits", [(1, []), (120, [31, 31])])
def test_the_limit_is_a_parameter(
    limit: float, waits: list[float], ca_bundle: str, server: LoopbackServer, clock: Clock
) -> None:
    server.script = [later(429, "31")] * 2
    adapter = RetryAdapter(max_retries=GraceDBRetry(retry_after_limit=limit))
    with mounted(adapter, ca_bundle) as session:
        session.post(server.url)
    assert clock.waits == waits


def test_the_limit_holds_for_every_attempt(
    session: requests.Session, server: LoopbackServer, clock: Clock
) -> None:
    server.script = [later(429, "1"), later(503, "30"), later(429, "31")]
    assert session.post(server.url).status_code == 429
    assert clock.waits == [1, 30]


GARBAGE = ["soon", "-1", "1.5", "", "Mon, 04 May 99999 12:00:00 GMT"]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("value", GARBAGE)
def test_429_with_a_retry_after_that_makes_no_sense_is_429_without(
    method: str, value: str, session: requests.Session, server: LoopbackServer, clock: Clock
) -> None:
    server.script = [later(429, value)]
    with freeze_time(NOON):
        assert session.request(method, server.url, data=b"body").status_code == 200
    assert bodies(server) == [b"body"] * 2
    assert clock.waits == [0]


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("value", GARBAGE)
def test_503_with_a_retry_after_that_makes_no_sense_has_an_idempotent_request_sent_again(
    method: str, value: str, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [later(503, value)]
    with freeze_time(NOON):
        assert session.request(method, server.url, data=b"body").status_code == 200
    assert bodies(server) == [b"body"] * 2


@any_other_method
@pytest.mark.parametrize("value", GARBAGE)
def test_503_with_a_retry_after_that_makes_no_sense_is_the_answer_to_any_other_request(
    method: str, value: str, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [later(503, value)]
    with freeze_time(NOON):
        assert session.request(method, server.url, data=b"body").status_code == 503
    assert bodies(server) == [b"body"]


@any_method
def test_429_without_retry_after_has_any_request_sent_again(
    method: str, session: requests.Session, server: LoopbackServer, clock: Clock
) -> None:
    server.script = [Answer(429), Answer(429)]
    assert session.request(method, server.url, data=b"body").status_code == 200
    assert bodies(server) == [b"body"] * 3
    assert len(clock.waits) == 2


@any_other_method
@pytest.mark.parametrize("status", [408, 500, 502, 504])
def test_retry_after_has_no_other_request_sent_again(
    method: str, status: int, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [later(status, "1")]
    assert session.request(method, server.url).status_code == status
    assert len(server.requests) == 1


def later(status: int, retry_after: str) -> Answer:
    return Answer(status, {"Retry-After": retry_after}, b"Later")


# What waiting cannot help: final, whatever the method


@any_method
@pytest.mark.parametrize("name", ["wrong name", "expired", "unknown authority"])
def test_a_certificate_that_is_not_good_is_final(
    method: str, name: str, session: requests.Session, authority: trustme.CA, clock: Clock
) -> None:
    with LoopbackServer(bad_certificate(name, authority)) as server:
        with pytest.raises(requests.exceptions.SSLError):
            session.request(method, server.url)
    assert server.connections == 1
    assert not clock.waits


@any_method
def test_a_server_that_speaks_no_tls_is_final(
    method: str, session: requests.Session, server: LoopbackServer, clock: Clock
) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        session.request(method, server.url.replace("http:", "https:"), timeout=60)
    assert server.connections == 1
    assert not clock.waits


@any_method
@pytest.mark.parametrize("kind", ["server", "tls_server"])
def test_a_read_timeout_is_final(
    method: str,
    kind: str,
    session: requests.Session,
    request: pytest.FixtureRequest,
    clock: Clock,
) -> None:
    server: LoopbackServer = request.getfixturevalue(kind)
    server.script = [silence]
    with pytest.raises(requests.ReadTimeout):
        session.request(method, server.url, data=b"body", timeout=(60, 0.1))
    server.wait_for_requests(1)
    assert bodies(server) == [b"body"]
    assert not clock.waits


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
    method: str, status: int, session: requests.Session, server: LoopbackServer, clock: Clock
) -> None:
    numbers = itertools.count(1)
    server.answer = lambda received: Answer(status, body=f"Number {next(numbers)}".encode())
    response = session.request(method, server.url)
    assert (response.status_code, response.text) == (status, "Number 6")
    assert len(server.requests) == 1 + RETRIES
    assert len(clock.waits) == RETRIES


@pytest.mark.parametrize("method, status", [("GET", 503), ("PUT", 502), ("POST", 429)])
def test_the_last_response_raises_with_its_explanation(
    method: str, status: int, whole_session: requests.Session, server: LoopbackServer
) -> None:
    numbers = itertools.count(1)
    headers = {"Content-Type": "text/plain"}
    server.answer = lambda received: Answer(status, headers, f"Number {next(numbers)}".encode())
    with pytest.raises(requests.HTTPError, match=f"{status} .*: Number 6$") as caught:
        whole_session.request(method, server.url)
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
        self.timeout = (0.1, 60)
        server = LoopbackServer(backlog=0)
        self._stack.enter_context(server_that_does_not_serve(server))
        return f"http://127.0.0.1:{server.port}/"

    def handshake_reset(self) -> str:
        return self._greeting(reset_at_once, self._tls)

    def handshake_silence(self) -> str:
        self.timeout = (0.1, 60)
        return self._greeting(silence_at_once, self._tls)

    def dropped(self) -> str:
        return self._answering(drop)

    def was_reset(self) -> str:
        return self._answering(reset)

    def broken_off(self) -> str:
        return self._answering(half_an_answer)

    def read_timeout(self) -> str:
        self.timeout = (60, 0.1)
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
        self.timeout = (0.1, 60)
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
def test_the_exception_is_that_of_requests(
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
def test_the_retries_are_used_up_first(
    name: Callable[[Fault], str], fault: Fault, session: requests.Session, clock: Clock
) -> None:
    url = name(fault)
    with pytest.raises(requests.RequestException):
        session.get(url, timeout=fault.timeout, proxies=fault.proxies)
    retries = 0 if name in ONCE else RETRIES
    assert len(clock.waits) == retries
    if fault.attempts is not None:
        assert fault.attempts() == 1 + retries


# How long to wait


def test_the_back_off_doubles_from_time_to_time(
    ca_bundle: str, server: LoopbackServer, clock: Clock
) -> None:
    server.answer = lambda received: Answer(503)
    adapter = RetryAdapter(max_retries=GraceDBRetry(9, backoff_jitter=0))
    with mounted(adapter, ca_bundle) as session:
        session.get(server.url)
    assert clock.waits == [0, 1, 2, 4, 8, 16, 30, 30, 30]


def test_half_a_second_more_at_most_comes_by_chance(
    session: requests.Session, server: LoopbackServer, clock: Clock
) -> None:
    server.answer = lambda received: Answer(503)
    for _ in range(5):
        session.get(server.url)
    first, *later = (clock.waits[number::RETRIES] for number in range(RETRIES))
    assert first == [0] * 5
    for least, waits in zip([1, 2, 4, 8], later, strict=True):
        assert len(set(waits)) > 1
        assert least <= min(waits) <= max(waits) <= least + 0.5


def test_every_request_starts_anew(
    session: requests.Session, server: LoopbackServer, clock: Clock
) -> None:
    server.script = [Answer(503), Answer(503), Answer(), Answer(503)]
    session.get(server.url)
    session.get(server.url)
    assert len(server.requests) == 5
    assert clock.waits[0] == clock.waits[2] == 0


# What is logged


@pytest.mark.parametrize(
    "script, reason, wait",
    [
        (Answer(503), "status 503", 0),
        (later(429, "7"), "status 429", 7),
        (drop, "RemoteDisconnected", 0),
        (reset, "ConnectionResetError", 0),
    ],
)
def test_each_retry_is_one_record(
    script: Script,
    reason: str,
    wait: int,
    session: requests.Session,
    server: LoopbackServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "requests_gracedb")
    server.script = [script]
    session.get(f"{server.url}/api/events/", params={"query": "far"})
    (record,) = own_records(caplog)
    assert (record.name, record.levelname) == ("requests_gracedb.retry", "INFO")
    assert record.getMessage() == f"GET /api/events/: {reason}; again in {wait:.1f} s"


def test_a_connection_that_fails_is_in_the_record(
    session: requests.Session, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "requests_gracedb")
    with pytest.raises(requests.ConnectionError):
        session.post(f"http://127.0.0.1:{unused_port()}/api/", params={"query": "far"})
    records = own_records(caplog)
    assert len(records) == RETRIES
    for record in records:
        assert record.getMessage().startswith("POST /api/: NewConnectionError; again in ")


@pytest.mark.parametrize("script", [Answer(200), Answer(404), later(429, "31"), half_a_body])
def test_without_a_retry_there_is_no_record(
    script: Script,
    session: requests.Session,
    server: LoopbackServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "requests_gracedb")
    server.script = [script]
    try:
        session.post(server.url)
    except requests.RequestException:
        pass
    assert not own_records(caplog)


@pytest.mark.parametrize("script", [Answer(503, body=b"s3cret"), drop, reset, later(429, "1")])
@pytest.mark.parametrize("proxied", [False, True])
def test_a_record_holds_no_secret(
    script: Script,
    proxied: bool,
    whole_session: requests.Session,
    server: LoopbackServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = make_token(b"s3cret")
    server.script = [script, script]
    url = server.url
    if proxied:
        whole_session.proxies = {"http": url.replace("http://", "http://user:s3cret@")}
        url = "http://gracedb.invalid"
    headers = {"Authorization": f"Bearer {secret}", "Cookie": "s3cret"}
    whole_session.get(f"{url}/api/", params={"token": "s3cret"}, headers=headers)
    assert len(own_records(caplog)) == 2
    for record in own_records(caplog):
        text = f"{record.getMessage()} {vars(record)}"
        assert "s3cret" not in text
        assert secret not in text


def own_records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name.startswith("requests_gracedb")]


# Bodies

IN_A_FORM = rb"--.*\r\n\r\n%b\r\n--.*--\r\n"
LARGE = bytes(range(256)) * 16384

Opened = Callable[[int], IO[bytes]]

BODIES: dict[str, tuple[Callable[[Path, Opened], dict[str, Any]], bytes]] = {
    "bytes": (lambda path, opened: {"data": path.read_bytes()}, b"0123456789"),
    "str": (lambda path, opened: {"data": path.read_text()}, b"0123456789"),
    "bytearray": (lambda path, opened: {"data": bytearray(path.read_bytes())}, b"0123456789"),
    "fields": (lambda path, opened: {"data": {"group": "Test"}}, b"group=Test"),
    "file": (lambda path, opened: {"data": opened(0)}, b"0123456789"),
    "rest of a file": (lambda path, opened: {"data": opened(4)}, b"456789"),
    "end of a file": (lambda path, opened: {"data": opened(10)}, b""),
    "file in memory": (lambda path, opened: {"data": io.BytesIO(b"0123456789")}, b"0123456789"),
    "files": (lambda path, opened: {"files": {"eventFile": opened(0)}}, IN_A_FORM % b"0123456789"),
    "form": (
        lambda path, opened: {"data": FormData(files={"eventFile": path})},
        IN_A_FORM % b"0123456789",
    ),
    "form with an open file": (
        lambda path, opened: {"data": FormData(files={"eventFile": opened(4)})},
        IN_A_FORM % b"456789",
    ),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file to send."""
    path = tmp_path / "body"
    path.write_bytes(b"0123456789")
    return path


@pytest.fixture
def opened(path: Path) -> Iterator[Opened]:
    """A function that opens it and goes to a position."""
    with ExitStack() as stack:

        def opened(position: int) -> IO[bytes]:
            file = stack.enter_context(path.open("rb"))
            file.seek(position)
            return file

        yield opened


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize(
    "method, script",
    [("POST", later(429, "1")), ("PUT", Answer(503)), ("PUT", drop), ("PUT", reset)],
)
def test_a_body_is_sent_again_whole(
    method: str,
    script: Script,
    name: str,
    path: Path,
    opened: Opened,
    whole_session: requests.Session,
    server: LoopbackServer,
) -> None:
    make, expected = BODIES[name]
    server.script = [script, script]
    assert whole_session.request(method, server.url, **make(path, opened)).status_code == 200
    first, *others = bodies(server)
    assert re.fullmatch(expected, first, re.DOTALL)
    assert others == [first, first]


@pytest.mark.parametrize("name", ["bytes", "file", "form"])
def test_a_body_that_was_sent_in_part_is_sent_again_whole(
    name: str, path: Path, whole_session: requests.Session, server: LoopbackServer
) -> None:
    server.greetings = [reset_at_once] * 2
    path.write_bytes(LARGE)
    with path.open("rb") as file:
        data = {"bytes": LARGE, "file": file, "form": FormData(files={"eventFile": path})}[name]
        assert whole_session.put(server.url, data=data).status_code == 200
    (body,) = bodies(server)
    assert LARGE in body if name == "form" else LARGE == body
    assert server.connections == 3


@any_other_method
@pytest.mark.parametrize("kind", ["server", "tls_server"])
def test_a_body_that_was_sent_in_part_is_sent_once_if_the_method_is_not_idempotent(
    method: str,
    kind: str,
    whole_session: requests.Session,
    request: pytest.FixtureRequest,
    tls: ssl.SSLContext,
) -> None:
    server: LoopbackServer = request.getfixturevalue(kind)
    server.greetings = [reset_at_once if kind == "server" else reset_within(tls)]
    with pytest.raises(requests.ConnectionError):
        whole_session.request(method, server.url, data=LARGE)
    assert server.connections == 1


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_an_idempotent_upload_over_tls_that_is_cut_is_sent_again(
    method: str, session: requests.Session, tls_server: LoopbackServer, tls: ssl.SSLContext
) -> None:
    tls_server.greetings = [reset_within(tls)] * 2
    assert session.request(method, tls_server.url, data=LARGE).status_code == 200
    assert bodies(tls_server) == [LARGE]


@any_method
def test_a_connection_that_is_closed_in_the_tls_handshake_is_tried_again(
    method: str, session: requests.Session, tls_server: LoopbackServer
) -> None:
    tls_server.greetings = [close_at_once] * 2
    assert session.request(method, tls_server.url, data=b"body").status_code == 200
    assert bodies(tls_server) == [b"body"]


def close_at_once(connection: socket.socket) -> None:
    """Close a connection when the client has said hello."""
    connection.recv(4096)
    connection.close()


def reset_within(context: ssl.SSLContext) -> Callable[[socket.socket], None]:
    """Close a connection with a RST as soon as TLS stands and the request begins."""
    return lambda connection: reset_at_once(context.wrap_socket(connection, server_side=True))


def generated() -> Iterator[bytes]:
    yield b"01234"
    yield b"56789"


@pytest.fixture(params=["generator", "iterator", "pipe"])
def unrepeatable(request: pytest.FixtureRequest) -> Iterator[object]:
    """A body that can be sent once."""
    if request.param == "generator":
        yield generated()
    elif request.param == "iterator":
        yield iter([b"01234", b"56789"])
    else:
        reading, writing = os.pipe()
        os.write(writing, b"0123456789")
        os.close(writing)
        with open(reading, "rb") as pipe:
            yield pipe


@pytest.mark.parametrize("method, status", [("PUT", 503), ("PUT", 429), ("POST", 429)])
def test_a_body_that_can_be_sent_once_is_sent_once_and_the_status_is_the_answer(
    method: str,
    status: int,
    unrepeatable: Any,
    session: requests.Session,
    server: LoopbackServer,
    clock: Clock,
) -> None:
    server.script = [later(status, "1")]
    assert session.request(method, server.url, data=unrepeatable).status_code == status
    assert bodies(server) == [b"0123456789"]
    assert not clock.waits


@any_break
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_body_that_can_be_sent_once_is_sent_once_and_the_fault_is_a_connection_error(
    method: str,
    fault: Script,
    unrepeatable: Any,
    session: requests.Session,
    server: LoopbackServer,
    clock: Clock,
) -> None:
    server.script = [fault]
    with pytest.raises(requests.ConnectionError):
        session.request(method, server.url, data=unrepeatable)
    assert bodies(server) == [b"0123456789"]
    assert not clock.waits


def test_the_next_request_is_sent_again_as_ever(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(503), Answer(503)]
    assert session.put(server.url, data=generated()).status_code == 503
    assert session.put(server.url, data=b"body").status_code == 200
    assert bodies(server) == [b"0123456789", b"body", b"body"]
    assert server.connections == 1


# Other rules


@pytest.mark.parametrize("adapter_class", [RetryAdapter, GraceDBAdapter])
@pytest.mark.parametrize("script", [drop, Answer(503), later(429, "1")])
def test_with_zero_retries_nothing_is_sent_again(
    script: Script, adapter_class: type[HTTPAdapter], ca_bundle: str, server: LoopbackServer
) -> None:
    server.script = [script]
    with mounted(adapter_class(max_retries=0), ca_bundle) as session:
        try:
            session.get(server.url)
        except requests.RequestException:
            pass
    assert len(server.requests) == 1


def test_with_zero_retries_a_connection_is_tried_once(ca_bundle: str) -> None:
    with mounted(RetryAdapter(max_retries=0), ca_bundle) as session:
        with pytest.raises(requests.ConnectionError):
            session.get(f"http://127.0.0.1:{unused_port()}")


@pytest.mark.parametrize("count, status", [(1, 503), (2, 200)])
def test_the_number_of_retries_is_a_parameter(
    count: int, status: int, ca_bundle: str, server: LoopbackServer
) -> None:
    server.script = [Answer(503), Answer(503)]
    with mounted(RetryAdapter(max_retries=GraceDBRetry(count)), ca_bundle) as session:
        assert session.get(server.url).status_code == status
    assert len(server.requests) == 1 + count


def test_an_int_is_a_number_of_retries_by_the_rules_of_requests(
    ca_bundle: str, server: LoopbackServer
) -> None:
    server.script = [drop, drop, Answer(503)]
    with mounted(RetryAdapter(max_retries=2), ca_bundle) as session:
        assert session.get(server.url).status_code == 503
    assert len(server.requests) == 3


def test_a_rule_of_the_user_takes_the_place_of_ours(
    ca_bundle: str, server: LoopbackServer, clock: Clock
) -> None:
    server.script = [Answer(418), Answer(418)]
    rule = urllib3.Retry(2, status_forcelist={418}, allowed_methods=["POST"])
    with mounted(RetryAdapter(max_retries=rule), ca_bundle) as session:
        assert session.post(server.url, data=b"body").status_code == 200
    assert bodies(server) == [b"body"] * 3
    assert not clock.waits


@pytest.mark.parametrize("adapter_class", [RetryAdapter, GraceDBAdapter])
def test_a_pickled_adapter_keeps_its_rule(
    adapter_class: type[HTTPAdapter], ca_bundle: str, server: LoopbackServer, clock: Clock
) -> None:
    rule = GraceDBRetry(1, retry_after_limit=100)
    adapter = pickle.loads(pickle.dumps(adapter_class(max_retries=rule)))
    server.script = [later(429, "99")]
    with mounted(adapter, ca_bundle) as session:
        assert session.post(server.url).status_code == 200
    assert clock.waits == [99]


def test_a_pickled_rule_is_the_same_rule() -> None:
    rule = GraceDBRetry(7, retry_after_limit=100, backoff_factor=2).increment("GET", "/")
    copy = pickle.loads(pickle.dumps(rule))
    assert type(copy) is GraceDBRetry
    assert vars(copy) == vars(rule)


def test_the_default_rule_is_not_used_up(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.answer = lambda received: Answer(503)
    session.get(server.url)
    session.get(server.url)
    assert len(server.requests) == 2 * (1 + RETRIES)


@any_other_method
@any_break
@pytest.mark.parametrize("kind", ["server", "tls_server"])
def test_any_other_request_that_is_dropped_behind_a_proxy_is_sent_once(
    method: str,
    fault: Script,
    kind: str,
    whole_session: requests.Session,
    request: pytest.FixtureRequest,
) -> None:
    server: LoopbackServer = request.getfixturevalue(kind)
    server.script = [fault]
    with ProxyServer() as proxy:
        proxies = {"http": proxy.url, "https": proxy.url}
        with pytest.raises(requests.RequestException):
            whole_session.request(method, server.url, data=b"body", proxies=proxies)
    assert bodies(server) == [b"body"]


@any_idempotent_method
def test_an_idempotent_request_that_is_dropped_by_a_proxy_is_sent_again(
    method: str, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [drop]
    session.request(method, "http://gracedb.invalid/", proxies={"http": server.url})
    assert len(server.requests) == 2


class Once:
    """An iterable that yields nothing the second time, and does not tell."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks

    def __iter__(self) -> Iterator[bytes]:
        yield from self._blocks


def test_a_body_of_which_nothing_is_known_is_sent_once(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [later(429, "0")]
    assert session.post(server.url, data=Once(generated())).status_code == 429
    assert bodies(server) == [b"0123456789"]


def test_all_attempts_count_whatever_went_wrong(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(503), Answer(503), half_a_body, Answer(503), half_a_body, half_a_body]
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.get(server.url)
    assert len(server.requests) == RETRIES + 1


def test_an_answer_that_breaks_off_after_authentication_is_sent_again(
    whole_session: requests.Session, server: LoopbackServer
) -> None:
    challenge = {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'}
    server.script = [Answer(401, challenge), half_a_body, Answer(200, {}, b"whole")]
    auth = requests.auth.HTTPDigestAuth("user", "password")
    assert whole_session.get(server.url, auth=auth).content == b"whole"


def test_a_hook_of_the_user_that_sends_again_runs_once(
    whole_session: requests.Session, server: LoopbackServer
) -> None:
    seen = []

    def send_again(response: requests.Response, **kwargs: Any) -> requests.Response | None:
        seen.append(response.status_code)
        if response.status_code != 401:
            return None
        return response.connection.send(response.request.copy(), **kwargs)

    server.script = [Answer(401)]
    whole_session.get(server.url, hooks={"response": send_again})
    assert seen == [401]


def test_an_answer_that_breaks_off_before_an_error_that_does_is_the_error(
    whole_session: requests.Session, server: LoopbackServer
) -> None:
    def half_an_error(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\nhalf ")
        drop(handler)

    server.script = [half_a_body, half_an_error]
    with pytest.raises(requests.HTTPError, match="404"):
        whole_session.get(server.url)
    assert len(server.requests) == 2


def test_a_prepared_request_may_go_to_an_adapter_of_somebody_else_later(
    session: requests.Session, server: LoopbackServer
) -> None:
    class Canned(BaseAdapter):
        def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
            response = requests.Response()
            response.status_code, response.request = 200, request
            response.url, response.raw = server.url, io.BytesIO(b"canned")
            return response

        def close(self) -> None:
            pass

    prepared = session.prepare_request(requests.Request("GET", server.url))
    session.send(prepared)
    session.mount("http://", Canned())
    assert session.send(prepared).content == b"canned"


def test_a_copy_of_a_request_that_became_a_post_is_sent_once(
    session: requests.Session, server: LoopbackServer
) -> None:
    prepared = session.prepare_request(requests.Request("GET", server.url))
    session.send(prepared)
    post = prepared.copy()
    post.method = "POST"
    server.script = [half_a_body]
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.send(post)
    assert [received.method for received in server.requests] == ["GET", "POST"]


def test_a_copy_of_a_request_that_has_a_body_of_a_generator_is_sent_once(
    session: requests.Session, server: LoopbackServer
) -> None:
    prepared = session.prepare_request(requests.Request("PUT", server.url, data=b"body"))
    session.send(prepared)
    copy = prepared.copy()
    copy.prepare_body(generated(), None)
    del copy.headers["Content-Length"]
    server.script = [half_a_body]
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.send(copy)
    assert bodies(server) == [b"body", b"0123456789"]
