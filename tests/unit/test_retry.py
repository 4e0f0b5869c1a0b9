"""What is sent again by which rule, after how long, and what is logged."""

from __future__ import annotations

import io
import logging
import pickle
from typing import Any

import pytest
import requests
import urllib3
from requests.adapters import BaseAdapter, HTTPAdapter

from requests_gracedb import GraceDBAdapter, RetryAdapter
from requests_gracedb.retry import GraceDBRetry
from tests.conftest import Waits, make_token, mounted
from tests.loopback_server import Answer, LoopbackServer, Script, drop, half_a_body, redirect, reset
from tests.unit.retries import (
    IDEMPOTENT,
    RETRIES,
    any_idempotent_method,
    any_other_method,
    bodies,
    later,
    unused_port,
)

pytestmark = pytest.mark.usefixtures("waits")

TRANSIENT = [408, 502, 503, 504]
FINAL = [400, 401, 403, 404, 405, 409, 410, 422, 500, 501, 505, 507]


# A status that passes: again, if the method is idempotent


@any_idempotent_method
@pytest.mark.parametrize("status", TRANSIENT)
def test_a_transient_status_has_an_idempotent_request_sent_again(
    method: str, status: int, retrying: requests.Session, server: LoopbackServer, waits: Waits
) -> None:
    server.script = [Answer(status), Answer(status)]
    assert retrying.request(method, server.url, data=b"body").status_code == 200
    assert bodies(server) == [b"body"] * 3
    assert len(waits) == 2


@any_other_method
@pytest.mark.parametrize("status", TRANSIENT)
def test_a_transient_status_is_the_answer_if_the_method_is_not_idempotent(
    method: str, status: int, retrying: requests.Session, server: LoopbackServer, waits: Waits
) -> None:
    server.script = [Answer(status)]
    assert retrying.request(method, server.url, data=b"body").status_code == status
    assert bodies(server) == [b"body"]
    assert not waits


@any_other_method
@pytest.mark.parametrize("status", TRANSIENT)
def test_a_transient_status_raises_with_its_explanation_if_the_method_is_not_idempotent(
    method: str, status: int, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(status, {"Content-Type": "text/plain"}, b"Maintenance")]
    with pytest.raises(requests.HTTPError, match=f"{status} .*: Maintenance") as caught:
        session.request(method, server.url, data=b"body")
    assert caught.value.response.status_code == status
    assert len(server.requests) == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
@pytest.mark.parametrize("status", FINAL)
def test_an_error_that_does_not_pass_is_the_answer(
    method: str, status: int, retrying: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(status)]
    assert retrying.request(method, server.url).status_code == status
    assert len(server.requests) == 1


def test_requests_are_sent_again_on_the_connection_that_is_open(
    retrying: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(503, body=b"Maintenance")] * 2
    retrying.get(server.url)
    assert server.connections == 1


def test_every_hop_of_a_redirect_is_sent_again(
    retrying: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(503), redirect("/there"), Answer(503)]
    assert retrying.get(server.url).url == f"{server.url}/there"
    assert [received.target for received in server.requests] == ["/", "/", "/there", "/there"]


# How long to wait


def test_the_back_off_doubles_from_time_to_time(
    ca_bundle: str, server: LoopbackServer, waits: Waits
) -> None:
    server.answer = lambda received: Answer(503)
    adapter = RetryAdapter(max_retries=GraceDBRetry(9, backoff_jitter=0))
    with mounted(adapter, ca_bundle) as session:
        session.get(server.url)
    assert waits == [0, 1, 2, 4, 8, 16, 30, 30, 30]


def test_the_back_off_is_longer_by_half_a_second_at_most_by_chance(
    retrying: requests.Session, server: LoopbackServer, waits: Waits
) -> None:
    server.answer = lambda received: Answer(503)
    for _ in range(5):
        retrying.get(server.url)
    first, *rest = (waits[number::RETRIES] for number in range(RETRIES))
    assert first == [0] * 5
    for least, times in zip([1, 2, 4, 8], rest, strict=True):
        assert len(set(times)) > 1
        assert least <= min(times) <= max(times) <= least + 0.5


def test_the_back_off_starts_anew_with_every_request(
    retrying: requests.Session, server: LoopbackServer, waits: Waits
) -> None:
    server.script = [Answer(503), Answer(503), Answer(), Answer(503)]
    retrying.get(server.url)
    retrying.get(server.url)
    assert len(server.requests) == 5
    assert waits[0] == waits[2] == 0


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
def test_each_retry_is_one_log_record(
    script: Script,
    reason: str,
    wait: int,
    retrying: requests.Session,
    server: LoopbackServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "requests_gracedb")
    server.script = [script]
    retrying.get(f"{server.url}/api/events/", params={"query": "far"})
    (record,) = own_records(caplog)
    assert (record.name, record.levelname) == ("requests_gracedb.retry", "WARNING")
    text = f"GET /api/events/: {reason}; retrying in {wait:.1f} s, up to 4 more if needed"
    assert record.getMessage() == text


def test_the_record_of_a_retry_names_the_failure_of_the_connection(
    retrying: requests.Session, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "requests_gracedb")
    with pytest.raises(requests.ConnectionError):
        retrying.post(f"http://127.0.0.1:{unused_port()}/api/", params={"query": "far"})
    records = own_records(caplog)
    assert len(records) == RETRIES
    for record in records:
        assert record.getMessage().startswith("POST /api/: NewConnectionError; retrying in ")


@pytest.mark.parametrize("script", [Answer(200), Answer(404), later(429, "31"), half_a_body])
def test_without_a_retry_there_is_no_log_record(
    script: Script,
    retrying: requests.Session,
    server: LoopbackServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "requests_gracedb")
    server.script = [script]
    try:
        retrying.post(server.url)
    except requests.RequestException:
        pass
    assert not own_records(caplog)


@pytest.mark.parametrize("script", [Answer(503, body=b"s3cret"), drop, reset, later(429, "1")])
@pytest.mark.parametrize("proxied", [False, True])
def test_a_log_record_holds_no_secret(
    script: Script,
    proxied: bool,
    session: requests.Session,
    server: LoopbackServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = make_token(b"s3cret")
    server.script = [script, script]
    url = server.url
    if proxied:
        session.proxies = {"http": url.replace("http://", "http://user:s3cret@")}
        url = "http://gracedb.invalid"
    headers = {"Authorization": f"Bearer {secret}", "Cookie": "s3cret"}
    session.get(f"{url}/api/", params={"token": "s3cret"}, headers=headers)
    assert len(own_records(caplog)) == 2
    for record in own_records(caplog):
        text = f"{record.getMessage()} {vars(record)}"
        assert "s3cret" not in text
        assert secret not in text


def own_records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name.startswith("requests_gracedb")]


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


def test_the_user_may_say_that_another_method_is_idempotent(
    ca_bundle: str, server: LoopbackServer
) -> None:
    server.script = [drop, Answer(503)]
    methods = [*IDEMPOTENT, "PATCH"]
    adapter = RetryAdapter(max_retries=GraceDBRetry(allowed_methods=methods))
    with mounted(adapter, ca_bundle) as session:
        assert session.patch(server.url, data=b"body").status_code == 200
    assert bodies(server) == [b"body"] * 3


def test_an_int_is_a_number_of_retries_by_the_rules_of_requests(
    ca_bundle: str, server: LoopbackServer
) -> None:
    server.script = [drop, drop, Answer(503)]
    with mounted(RetryAdapter(max_retries=2), ca_bundle) as session:
        assert session.get(server.url).status_code == 503
    assert len(server.requests) == 3


def test_a_number_of_retries_may_be_set_later(ca_bundle: str, server: LoopbackServer) -> None:
    adapter = RetryAdapter()
    adapter.max_retries = 2  # type: ignore[assignment]
    server.script = [drop, drop]
    with mounted(adapter, ca_bundle) as session:
        assert session.get(server.url).status_code == 200
        assert session.post(server.url, data=b"body").status_code == 200
    assert len(server.requests) == 4


def test_a_rule_of_the_user_takes_the_place_of_ours(
    ca_bundle: str, server: LoopbackServer, waits: Waits
) -> None:
    server.script = [Answer(418), Answer(418)]
    rule = urllib3.Retry(2, status_forcelist={418}, allowed_methods=["POST"])
    with mounted(RetryAdapter(max_retries=rule), ca_bundle) as session:
        assert session.post(server.url, data=b"body").status_code == 200
    assert bodies(server) == [b"body"] * 3
    assert not waits


@pytest.mark.parametrize("adapter_class", [RetryAdapter, GraceDBAdapter])
def test_a_pickled_adapter_keeps_its_rule(
    adapter_class: type[HTTPAdapter], ca_bundle: str, server: LoopbackServer, waits: Waits
) -> None:
    rule = GraceDBRetry(1, retry_after_limit=100)
    adapter = pickle.loads(pickle.dumps(adapter_class(max_retries=rule)))
    server.script = [later(429, "99")]
    with mounted(adapter, ca_bundle) as session:
        assert session.post(server.url).status_code == 200
    assert waits == [99]


def test_a_pickled_rule_is_the_same_rule() -> None:
    rule = GraceDBRetry(7, retry_after_limit=100, backoff_factor=2).increment("GET", "/")
    copy = pickle.loads(pickle.dumps(rule))
    assert type(copy) is GraceDBRetry
    assert vars(copy) == vars(rule)


def test_the_default_rule_is_not_used_up(
    retrying: requests.Session, server: LoopbackServer
) -> None:
    server.answer = lambda received: Answer(503)
    retrying.get(server.url)
    retrying.get(server.url)
    assert len(server.requests) == 2 * (1 + RETRIES)


def test_a_prepared_request_may_go_to_an_adapter_of_somebody_else_later(
    retrying: requests.Session, server: LoopbackServer
) -> None:
    class Canned(BaseAdapter):
        def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
            response = requests.Response()
            response.status_code, response.request = 200, request
            response.url, response.raw = server.url, io.BytesIO(b"canned")
            return response

        def close(self) -> None:
            pass

    prepared = retrying.prepare_request(requests.Request("GET", server.url))
    retrying.send(prepared)
    retrying.mount("http://", Canned())
    assert retrying.send(prepared).content == b"canned"
