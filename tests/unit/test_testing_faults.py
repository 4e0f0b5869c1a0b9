"""What goes wrong on demand."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic

import pytest
import requests

from requests_gracedb.testing import GraceDBServer
from requests_gracedb.testing.faults import KINDS

from .gracedb import make_event, plain_session, post_event

pytest_plugins = ["pytest_requests_gracedb"]

BEFORE = ["503-database", "maintenance", "throttled", "login", "dropped"]
AFTER = ["502-gateway", "503-gateway", "504-gateway", "503-cache", "lost-answer", "slow"]


@pytest.fixture
def session(gracedb_server: GraceDBServer) -> Iterator[requests.Session]:
    with plain_session(gracedb_server) as session:
        yield session


def is_there(session: requests.Session, server: GraceDBServer) -> bool:
    return session.get(f"{server.url}events/T0001").status_code == 200


def upload(session: requests.Session, server: GraceDBServer) -> None:
    try:
        post_event(session, server.url)
    except requests.ConnectionError:
        pass  # That is the fault.


@pytest.mark.parametrize("name", BEFORE)
def test_nothing_was_done(
    gracedb_server: GraceDBServer, session: requests.Session, name: str
) -> None:
    gracedb_server.fault(name, method="POST")
    upload(session, gracedb_server)
    assert not is_there(session, gracedb_server)


@pytest.mark.parametrize("name", AFTER)
def test_everything_was_done(
    gracedb_server: GraceDBServer, session: requests.Session, name: str
) -> None:
    gracedb_server.fault(name, method="POST", seconds=0.1)
    upload(session, gracedb_server)
    assert is_there(session, gracedb_server)


@pytest.mark.parametrize(
    "name, status, retry_after, content_type",
    [
        ("503-database", 503, "7", "application/json"),
        ("maintenance", 503, None, "text/html"),
        ("throttled", 429, "7", "application/json"),
        ("502-gateway", 502, None, "text/html"),
        ("503-gateway", 503, None, "text/html"),
        ("504-gateway", 504, None, "text/html"),
        ("503-cache", 503, "7", "text/html"),
    ],
)
def test_a_fault_is_answered_as_by_the_real_server(
    gracedb_server: GraceDBServer,
    session: requests.Session,
    name: str,
    status: int,
    retry_after: str | None,
    content_type: str,
) -> None:
    gracedb_server.fault(name, seconds=7)
    response = session.get(gracedb_server.url)
    assert response.status_code == status
    assert response.headers.get("Retry-After") == retry_after
    assert response.headers["Content-Type"].startswith(content_type)


def test_a_cache_names_itself(gracedb_server: GraceDBServer, session: requests.Session) -> None:
    gracedb_server.fault("503-cache")
    assert {"Via", "X-Varnish", "Age"} <= set(session.get(gracedb_server.url).headers)


@pytest.mark.parametrize("name", ["dropped", "lost-answer"])
def test_a_connection_is_closed(
    gracedb_server: GraceDBServer, session: requests.Session, name: str
) -> None:
    gracedb_server.fault(name)
    with pytest.raises(requests.ConnectionError):
        session.get(gracedb_server.url)


def test_a_page_wants_a_password(gracedb_server: GraceDBServer, session: requests.Session) -> None:
    gracedb_server.fault("login")
    response = session.get(gracedb_server.url)
    assert response.url.endswith("/login/?next=%2Fapi%2F")
    assert (response.status_code, "Log in" in response.text) == (200, True)


def test_an_answer_comes_late(gracedb_server: GraceDBServer, session: requests.Session) -> None:
    gracedb_server.fault("slow", seconds=0.5)
    start = monotonic()
    assert session.get(gracedb_server.url).status_code == 200
    assert monotonic() - start >= 0.5


def test_a_file_comes_empty_and_nothing_else_does(
    gracedb_server: GraceDBServer, session: requests.Session
) -> None:
    links = make_event(session, gracedb_server.url)["links"]
    gracedb_server.fault("empty-file")
    assert session.get(links["files"]).json()
    assert session.get(f"{links['files']}coinc.xml").content == b""
    assert session.get(f"{links['files']}coinc.xml").content != b""


def test_the_file_of_a_log_entry_is_stored_without_the_entry(
    gracedb_server: GraceDBServer, session: requests.Session
) -> None:
    links = make_event(session, gracedb_server.url)["links"]
    gracedb_server.fault("503-log-entry")
    upload = {"upload": ("a.txt", b"content")}
    response = session.post(links["log"], data={"comment": ""}, files=upload)
    assert (response.status_code, "Retry-After" in response.headers) == (503, False)
    assert session.get(links["log"]).json()["numRows"] == 1
    assert session.get(f"{links['files']}a.txt").content == b"content"


def statuses(session: requests.Session, server: GraceDBServer, times: int) -> list[int]:
    return [session.get(server.url).status_code for _ in range(times)]


def test_a_fault_happens_once(gracedb_server: GraceDBServer, session: requests.Session) -> None:
    gracedb_server.fault("502-gateway")
    assert statuses(session, gracedb_server, 2) == [502, 200]


def test_a_fault_happens_as_often_as_asked_for(
    gracedb_server: GraceDBServer, session: requests.Session
) -> None:
    gracedb_server.fault("502-gateway", times=2)
    assert statuses(session, gracedb_server, 3) == [502, 502, 200]


def test_a_fault_happens_until_it_is_taken_back(
    gracedb_server: GraceDBServer, session: requests.Session
) -> None:
    fault = gracedb_server.fault("502-gateway", times=None)
    assert statuses(session, gracedb_server, 3) == [502, 502, 502]
    fault.end()
    assert statuses(session, gracedb_server, 1) == [200]


def test_a_fault_is_taken_back_at_the_end_of_a_block(
    gracedb_server: GraceDBServer, session: requests.Session
) -> None:
    with gracedb_server.fault("502-gateway", times=None):
        assert statuses(session, gracedb_server, 1) == [502]
    assert statuses(session, gracedb_server, 1) == [200]


def test_a_reset_forgets_faults(
    gracedb_server: GraceDBServer, session: requests.Session
) -> None:
    gracedb_server.fault("502-gateway")
    gracedb_server.reset()
    assert statuses(session, gracedb_server, 1) == [200]


def test_several_happen_one_after_the_other(
    gracedb_server: GraceDBServer, session: requests.Session
) -> None:
    gracedb_server.fault("502-gateway")
    gracedb_server.fault("504-gateway")
    assert statuses(session, gracedb_server, 3) == [502, 504, 200]


def test_a_fault_happens_to_requests_of_a_method_and_a_path(
    gracedb_server: GraceDBServer, session: requests.Session
) -> None:
    gracedb_server.fault("502-gateway", method="GET", path="/events/$")
    assert session.get(gracedb_server.url).status_code == 200
    assert session.options(f"{gracedb_server.url}events/").status_code == 200
    assert session.get(f"{gracedb_server.url}events/").status_code == 502


def test_a_fault_happens_by_chance(
    gracedb_server: GraceDBServer, session: requests.Session
) -> None:
    gracedb_server.fault("502-gateway", times=None, chance=0)
    assert statuses(session, gracedb_server, 3) == [200, 200, 200]


def test_a_fault_that_there_is_not_is_an_error(gracedb_server: GraceDBServer) -> None:
    with pytest.raises(ValueError, match="unknown fault: '418-teapot'; choose from 503-database, "):
        gracedb_server.fault("418-teapot")


def test_no_times_at_all_is_an_error(gracedb_server: GraceDBServer) -> None:
    with pytest.raises(ValueError, match="times must be at least 1, not 0"):
        gracedb_server.fault("502-gateway", times=0)


def test_every_fault_is_tested_and_told() -> None:
    assert {*BEFORE, *AFTER, "empty-file", "503-log-entry"} == KINDS.keys()
    documented = GraceDBServer.fault.__doc__ or ""
    assert all(name in documented for name in KINDS)
