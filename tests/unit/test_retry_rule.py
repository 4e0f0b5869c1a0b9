"""Which answers mean that nothing was done, and what the settings of the rule do."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.exceptions import MaxRetryError, ReadTimeoutError, SSLError

from requests_gracedb import FormData, GraceDBRetry, RetryAdapter
from tests.conftest import Waits, mounted
from tests.loopback_server import Answer, LoopbackServer, drop, silence
from tests.unit.retries import RETRIES, bodies, later, unused_port

pytestmark = pytest.mark.usefixtures("waits")

POOL = urllib3.HTTPConnectionPool("localhost")
TIMEOUT = ReadTimeoutError(POOL, "/", "read timed out")

INTERMEDIARIES = [
    {"Via": "1.1 varnish (Varnish/7.1)"},
    {"Age": "0"},
    {"Cache-Status": "Edge; fwd=miss"},
    {"X-Cache": "MISS"},
    {"X-Served-By": "cache-fra-1"},
    {"X-Varnish": "32770"},
    {"CF-RAY": "7d0-FRA"},
    {"X-Amz-Cf-Id": "abc"},
    {"Server": "Varnish"},
    {"Server": "cloudflare"},
    {"Server": "squid/5.7"},
    {"Server": "ATS/9.2.3"},
    {"Server": "AkamaiGHost"},
    {"Server": "nginx/1.22.1", "Content-Type": "text/html"},
    {"Content-Type": "Text/HTML; charset=utf-8"},
]

through_any = pytest.mark.parametrize("headers", INTERMEDIARIES, ids=str)


def busy(headers: dict[str, str], status: int = 503) -> Answer:
    return Answer(status, {"Retry-After": "5", **headers}, b"Backend fetch failed")


# 503 with Retry-After


@through_any
@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
def test_503_with_retry_after_from_a_cache_is_the_answer_to_an_upload(
    headers: dict[str, str], method: str, retrying: requests.Session, server: LoopbackServer
) -> None:
    server.script = [busy(headers)]
    assert retrying.request(method, server.url, data=b"an event").status_code == 503
    assert bodies(server) == [b"an event"]


@through_any
def test_503_with_retry_after_from_a_cache_has_a_question_asked_again(
    headers: dict[str, str], retrying: requests.Session, server: LoopbackServer, waits: Waits
) -> None:
    server.script = [busy(headers)]
    assert retrying.get(server.url).status_code == 200
    assert waits == [5]


@pytest.mark.parametrize("name", ["Apache/2.4", "gunicorn", "nginx", "statistics"])
def test_503_with_retry_after_from_a_server_has_an_upload_sent_again(
    name: str, retrying: requests.Session, server: LoopbackServer
) -> None:
    server.script = [busy({"Server": name})]
    assert retrying.post(server.url, data=b"an event").status_code == 200
    assert bodies(server) == [b"an event"] * 2


@through_any
def test_429_has_an_upload_sent_again_whoever_says_so(
    headers: dict[str, str], retrying: requests.Session, server: LoopbackServer
) -> None:
    server.script = [busy(headers, 429)]
    assert retrying.post(server.url, data=b"an event").status_code == 200


def test_413_with_retry_after_has_a_question_asked_again(
    retrying: requests.Session, server: LoopbackServer, waits: Waits
) -> None:
    server.script = [later(413, "5")]
    assert retrying.get(server.url).status_code == 200
    assert waits == [5]


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
def test_413_with_retry_after_is_the_answer_to_an_upload(
    method: str, retrying: requests.Session, server: LoopbackServer
) -> None:
    server.script = [later(413, "5")]
    assert retrying.request(method, server.url, data=b"an event").status_code == 413


# PUT


@pytest.mark.parametrize("script", [Answer(502), Answer(503), drop], ids=["502", "503", "drop"])
@pytest.mark.parametrize("data", [b"an event", FormData({"group": "Test"})], ids=["bytes", "form"])
def test_a_put_with_a_body_is_sent_once(
    data: Any, script: Any, retrying: requests.Session, server: LoopbackServer
) -> None:
    server.script = [script]
    try:
        assert retrying.put(server.url, data=data).status_code > 500
    except requests.ConnectionError:
        pass
    assert len(server.requests) == 1


@pytest.mark.parametrize("script", [Answer(502), Answer(503), drop], ids=["502", "503", "drop"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_label_is_put_and_deleted_again(
    method: str, script: Any, retrying: requests.Session, server: LoopbackServer
) -> None:
    server.script = [script]
    assert retrying.request(method, f"{server.url}/labels/DQV").status_code == 200
    assert len(server.requests) == 2


def test_a_put_with_a_body_is_sent_once_by_any_adapter_with_the_rule(
    server: LoopbackServer,
) -> None:
    server.script = [Answer(503)]
    with mounted(HTTPAdapter(max_retries=GraceDBRetry())) as session:
        assert session.put(server.url, data=b"an event").status_code == 503


def test_the_user_may_say_that_a_put_is_safe(server: LoopbackServer) -> None:
    server.script = [Answer(503)]
    with mounted(RetryAdapter(max_retries=GraceDBRetry(allowed_methods=["PUT"]))) as session:
        assert session.put(server.url, data=b"an event").status_code == 200


# Settings


@pytest.mark.parametrize("count", [0, 2])
def test_read_is_how_often_a_read_timeout_is_waited_for(count: int, server: LoopbackServer) -> None:
    server.answer = lambda received: silence
    with mounted(RetryAdapter(max_retries=GraceDBRetry(read=count))) as session:
        with pytest.raises(requests.ReadTimeout):
            session.get(server.url, timeout=(60, 0.1))
    server.wait_for_requests(1 + count)
    assert len(server.requests) == 1 + count


def test_read_is_how_often_a_dropped_connection_is_made_again(server: LoopbackServer) -> None:
    server.answer = lambda received: drop
    with mounted(RetryAdapter(max_retries=GraceDBRetry(read=2))) as session:
        with pytest.raises(requests.ConnectionError):
            session.get(server.url)
    assert len(server.requests) == 3


def test_read_has_no_post_sent_again(server: LoopbackServer) -> None:
    server.answer = lambda received: silence
    with mounted(RetryAdapter(max_retries=GraceDBRetry(read=2))) as session:
        with pytest.raises(requests.ReadTimeout):
            session.post(server.url, timeout=(60, 0.1))
    server.wait_for_requests(1)
    assert len(server.requests) == 1


@pytest.mark.parametrize("other, connections", [(None, 1), (2, 3)])
def test_other_is_how_often_a_certificate_that_is_not_good_is_looked_at(
    other: int | None, connections: int, tls_server: LoopbackServer
) -> None:
    with mounted(RetryAdapter(max_retries=GraceDBRetry(other=other))) as session:
        with pytest.raises(requests.exceptions.SSLError):
            session.get(tls_server.url)
    assert tls_server.connections == connections


@pytest.mark.parametrize("error", [TIMEOUT, SSLError()])
def test_a_total_of_zero_is_that_of_urllib3(error: Exception) -> None:
    for rule in (urllib3.Retry(0), GraceDBRetry(0)):
        with pytest.raises(MaxRetryError) as caught:
            rule.increment("GET", "/", error=error)
        assert caught.value.reason is error


@pytest.mark.parametrize("status", [429, 503])
def test_a_total_of_zero_has_no_answer_asked_for_again(status: int) -> None:
    assert not GraceDBRetry(0, status_forcelist=[]).is_retry("GET", status, True)
    assert not urllib3.Retry(0).is_retry("GET", status, True)


def test_a_rule_sleeps_before_any_attempt_as_long_as_the_server_asks(waits: Waits) -> None:
    GraceDBRetry().sleep()
    GraceDBRetry().sleep(urllib3.HTTPResponse(status=503, headers={"Retry-After": "7"}))
    assert waits == [0, 7]


# What is logged


def test_the_log_tells_how_often_a_request_will_still_be_sent(
    retrying: requests.Session, server: LoopbackServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.answer = lambda received: Answer(503)
    retrying.get(server.url)
    messages = [record.getMessage() for record in caplog.records if "requests" in record.name]
    assert len(messages) == RETRIES
    for left, message in zip([4, 3, 2, 1], messages):
        assert message.endswith(f" s, up to {left} more if needed")
    assert messages[-1].endswith(" s, for the last time")


def test_without_a_total_the_log_does_not_tell(
    server: LoopbackServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "requests_gracedb")
    server.script = [Answer(503)]
    with mounted(RetryAdapter(max_retries=GraceDBRetry(None, status=3))) as session:
        assert session.get(server.url).status_code == 200
    assert caplog.messages[-1].endswith("retrying in 0.0 s")


def test_python_prints_each_retry_where_nothing_is_configured() -> None:
    program = (
        "import requests, requests_gracedb as gracedb\n"
        "session = requests.Session()\n"
        "retry = gracedb.GraceDBRetry(2, backoff_factor=0, backoff_jitter=0)\n"
        "session.mount('http://', gracedb.GraceDBAdapter(max_retries=retry))\n"
        "try:\n"
        f"    session.get('http://127.0.0.1:{unused_port()}/api/?query=far')\n"
        "except requests.ConnectionError:\n"
        "    pass\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stderr == (
        "GET /api/: NewConnectionError; retrying in 0.0 s, up to 1 more if needed\n"
        "GET /api/: NewConnectionError; retrying in 0.0 s, for the last time\n"
    )


def test_a_proxy_that_names_itself_nowhere_may_be_where_503_comes_from(
    server: LoopbackServer, retrying: requests.Session
) -> None:
    server.script = [Answer(503, {"Retry-After": "0"})]
    proxies = {"http": server.url}
    assert retrying.post("http://gracedb.invalid/", proxies=proxies).status_code == 503
    assert len(server.requests) == 1


class Reconnecting:
    """A body that breaks when it is all sent, in a function with the name of another."""

    is_repeatable = True

    def __len__(self) -> int:
        return 5

    def __iter__(self) -> Iterator[bytes]:
        yield b"whole"
        self.connect()

    def connect(self) -> None:
        raise ConnectionRefusedError


def test_a_body_that_breaks_while_it_connects_to_something_is_not_sent_again(
    server: LoopbackServer, retrying: requests.Session
) -> None:
    with pytest.raises(requests.ConnectionError):
        retrying.post(server.url, data=Reconnecting())
    assert len(server.requests) <= 1


def test_the_longest_wait_is_shown() -> None:
    assert repr(GraceDBRetry(3, retry_after_limit=120)) == (
        "GraceDBRetry(total=3, connect=None, read=None, redirect=None, status=None, "
        "retry_after_limit=120)"
    )
