"""Retry-After: again after that time, whatever the method."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
import requests
from freezegun import freeze_time

from requests_gracedb import RetryAdapter
from requests_gracedb.retry import GraceDBRetry
from tests.conftest import Waits, mounted
from tests.loopback_server import Answer, LoopbackServer
from tests.unit.retries import any_method, any_other_method, bodies, later

pytestmark = pytest.mark.usefixtures("waits")

NOON = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)
GARBAGE = ["soon", "-1", "1.5", "", "Mon, 04 May 99999 12:00:00 GMT"]


@any_method
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_waited_for(
    method: str, status: int, retrying: requests.Session, server: LoopbackServer, waits: Waits
) -> None:
    server.script = [later(status, "7")]
    assert retrying.request(method, server.url, data=b"body").status_code == 200
    assert bodies(server) == [b"body"] * 2
    assert waits == [7]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_may_be_a_date(
    method: str, status: int, retrying: requests.Session, server: LoopbackServer, waits: Waits
) -> None:
    server.script = [later(status, "Mon, 04 May 2026 12:00:07 GMT")]
    with freeze_time(NOON):
        assert retrying.request(method, server.url, data=b"body").status_code == 200
    assert bodies(server) == [b"body"] * 2
    assert waits == [7]


@any_method
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("value", ["0", "Mon, 04 May 2026 11:59:00 GMT"])
def test_a_retry_after_that_is_over_is_not_waited_for(
    method: str,
    status: int,
    value: str,
    retrying: requests.Session,
    server: LoopbackServer,
    waits: Waits,
) -> None:
    server.script = [later(status, value)]
    with freeze_time(NOON):
        assert retrying.request(method, server.url, data=b"body").status_code == 200
    assert bodies(server) == [b"body"] * 2
    assert waits == [0]


@any_method
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "value", ["31", "9" * 400, "Mon, 04 May 2026 12:00:31 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"]
)
def test_a_retry_after_of_more_than_30_seconds_makes_the_answer_final(
    method: str,
    status: int,
    value: str,
    retrying: requests.Session,
    server: LoopbackServer,
    waits: Waits,
) -> None:
    server.script = [later(status, value)]
    with freeze_time(NOON):
        response = retrying.request(method, server.url, data=b"body")
    assert response.status_code == status
    assert bodies(server) == [b"body"]
    assert not waits


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_answer_that_retry_after_makes_final_raises(
    method: str, session: requests.Session, server: LoopbackServer, waits: Waits
) -> None:
    server.script = [later(429, "31")]
    with pytest.raises(requests.HTTPError, match="429") as caught:
        session.request(method, server.url)
    assert caught.value.response.headers["Retry-After"] == "31"
    assert len(server.requests) == 1
    assert not waits


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("value", ["30", "Mon, 04 May 2026 12:00:30 GMT"])
def test_a_retry_after_of_30_seconds_is_waited_for(
    status: int, value: str, retrying: requests.Session, server: LoopbackServer, waits: Waits
) -> None:
    server.script = [later(status, value)]
    with freeze_time(NOON):
        assert retrying.post(server.url).status_code == 200
    assert waits == [30]


@pytest.mark.parametrize("limit, expected", [(1, []), (120, [31, 31])])
def test_the_limit_of_retry_after_is_a_parameter(
    limit: float, expected: list[float], ca_bundle: str, server: LoopbackServer, waits: Waits
) -> None:
    server.script = [later(429, "31")] * 2
    adapter = RetryAdapter(max_retries=GraceDBRetry(retry_after_limit=limit))
    with mounted(adapter, ca_bundle) as session:
        session.post(server.url)
    assert waits == expected


def test_the_limit_of_retry_after_holds_for_every_attempt(
    retrying: requests.Session, server: LoopbackServer, waits: Waits
) -> None:
    server.script = [later(429, "1"), later(503, "30"), later(429, "31")]
    assert retrying.post(server.url).status_code == 429
    assert waits == [1, 30]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("value", GARBAGE)
def test_429_with_a_retry_after_that_makes_no_sense_is_429_without(
    method: str, value: str, retrying: requests.Session, server: LoopbackServer, waits: Waits
) -> None:
    server.script = [later(429, value)]
    with freeze_time(NOON):
        assert retrying.request(method, server.url, data=b"body").status_code == 200
    assert bodies(server) == [b"body"] * 2
    assert waits == [0]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("value", GARBAGE)
def test_503_with_a_retry_after_that_makes_no_sense_has_an_idempotent_request_sent_again(
    method: str, value: str, retrying: requests.Session, server: LoopbackServer
) -> None:
    server.script = [later(503, value)]
    with freeze_time(NOON):
        assert retrying.request(method, server.url, data=b"body").status_code == 200
    assert bodies(server) == [b"body"] * 2


@any_other_method
@pytest.mark.parametrize("value", GARBAGE)
def test_503_with_a_retry_after_that_makes_no_sense_is_the_answer_if_the_method_is_not_idempotent(
    method: str, value: str, retrying: requests.Session, server: LoopbackServer
) -> None:
    server.script = [later(503, value)]
    with freeze_time(NOON):
        assert retrying.request(method, server.url, data=b"body").status_code == 503
    assert bodies(server) == [b"body"]


@any_method
def test_429_without_retry_after_has_any_request_sent_again(
    method: str, retrying: requests.Session, server: LoopbackServer, waits: Waits
) -> None:
    server.script = [Answer(429), Answer(429)]
    assert retrying.request(method, server.url, data=b"body").status_code == 200
    assert bodies(server) == [b"body"] * 3
    assert len(waits) == 2


@any_other_method
@pytest.mark.parametrize("status", [408, 500, 502, 504])
def test_retry_after_with_another_status_is_ignored_if_the_method_is_not_idempotent(
    method: str, status: int, retrying: requests.Session, server: LoopbackServer
) -> None:
    server.script = [later(status, "1")]
    assert retrying.request(method, server.url, data=b"body").status_code == status
    assert len(server.requests) == 1


def test_a_user_may_do_without_retry_after(ca_bundle: str, server: LoopbackServer) -> None:
    server.script = [later(503, "0")]
    rule = GraceDBRetry(respect_retry_after_header=False)
    with mounted(RetryAdapter(max_retries=rule), ca_bundle) as session:
        assert session.post(server.url).status_code == 503
