"""Who a request comes from, in the eyes of GraceDB."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from requests_gracedb.testing import GraceDBServer

from .gracedb import anonymous, make_superevent, plain_session, post_event

pytest_plugins = ["pytest_requests_gracedb"]

# What makes a token no good.
IGNORED: list[dict[str, Any]] = [
    {"lifetime": -60},
    {"audience": "https://elsewhere.example"},
    {"issuer": "https://elsewhere.example"},
    {"scope": "gracedb.write"},
    {"subject": "nobody@ligo.org"},
]


@pytest.fixture
def visitor(gracedb_server: GraceDBServer) -> Iterator[requests.Session]:
    """Somebody without a credential."""
    with anonymous(gracedb_server) as session:
        yield session


def user_info(server: GraceDBServer, token: str) -> Any:
    with plain_session(server, token) as session:
        return session.get(f"{server.url}user-info/").json()["username"]


@pytest.mark.parametrize("parameters", IGNORED, ids=str)
def test_a_token_that_is_not_good_is_ignored(
    gracedb_server: GraceDBServer, parameters: dict[str, Any]
) -> None:
    assert user_info(gracedb_server, gracedb_server.token(**parameters)) is None


def test_a_malformed_token_is_ignored(gracedb_server: GraceDBServer) -> None:
    assert user_info(gracedb_server, "malformed") is None


@pytest.mark.parametrize("subject", ["albert.einstein@ligo.org", "Albert.Einstein@LIGO.ORG"])
def test_the_subject_of_a_token_is_compared_without_its_case(
    gracedb_server: GraceDBServer, subject: str
) -> None:
    token = gracedb_server.token(subject=subject)
    assert user_info(gracedb_server, token) == "albert.einstein@ligo.org"


@pytest.mark.parametrize("audience", ["ANY", "https://localhost", ["a", "https://localhost"]])
def test_a_token_may_be_for_anyone_or_name_the_server_without_its_port(
    gracedb_server: GraceDBServer, audience: str | list[str]
) -> None:
    assert user_info(gracedb_server, gracedb_server.token(audience=audience))


def test_the_scheme_is_compared_with_its_case(
    gracedb_server: GraceDBServer, visitor: requests.Session
) -> None:
    headers = {"Authorization": f"bearer {gracedb_server.token()}"}
    response = visitor.get(f"{gracedb_server.url}user-info/", headers=headers)
    assert response.json()["username"] is None


def test_the_scope_for_reading_is_enough_to_write(gracedb_server: GraceDBServer) -> None:
    with plain_session(gracedb_server, gracedb_server.token(scope="gracedb.read")) as session:
        assert post_event(session, gracedb_server.url).status_code == 201


def test_everyone_may_read_the_root(
    gracedb_server: GraceDBServer, visitor: requests.Session
) -> None:
    assert visitor.get(gracedb_server.url).status_code == 200


@pytest.mark.parametrize("path", ["events/", "events/T0001"])
def test_events_are_forbidden_to_nobody_in_particular_without_a_challenge(
    gracedb_server: GraceDBServer, visitor: requests.Session, path: str
) -> None:
    response = visitor.get(f"{gracedb_server.url}{path}")
    assert response.status_code == 403
    assert response.json() == {"detail": "Authentication credentials were not provided."}
    assert "WWW-Authenticate" not in response.headers


def test_nobody_in_particular_may_not_write(
    gracedb_server: GraceDBServer, visitor: requests.Session
) -> None:
    assert visitor.post(f"{gracedb_server.url}superevents/").status_code == 403


def test_a_superevent_that_is_not_public_does_not_exist_for_everyone(
    gracedb_server: GraceDBServer, visitor: requests.Session
) -> None:
    with plain_session(gracedb_server) as session:
        superevent = make_superevent(session, gracedb_server.url)
    assert visitor.get(superevent["links"]["self"]).status_code == 404
    assert visitor.get(f"{gracedb_server.url}superevents/").json()["superevents"] == []


def test_a_superevent_that_is_exposed_is_public(
    gracedb_server: GraceDBServer, visitor: requests.Session
) -> None:
    with plain_session(gracedb_server) as session:
        url = make_superevent(session, gracedb_server.url)["links"]["self"]
        session.post(f"{url}permissions/modify/", data={"action": "expose"})
    assert visitor.get(url).status_code == 200
    assert visitor.get(f"{gracedb_server.url}superevents/").json()["numRows"] == 1


def test_a_superevent_that_is_hidden_again_is_not_public(
    gracedb_server: GraceDBServer, visitor: requests.Session
) -> None:
    with plain_session(gracedb_server) as session:
        url = make_superevent(session, gracedb_server.url)["links"]["self"]
        for action in "expose", "hide":
            session.post(f"{url}permissions/modify/", data={"action": action})
    assert visitor.get(url).status_code == 404


def test_a_password_is_a_credential(
    gracedb_server: GraceDBServer, visitor: requests.Session
) -> None:
    visitor.auth = gracedb_server.username, gracedb_server.password
    assert visitor.get(f"{gracedb_server.url}events/").status_code == 200


def test_a_wrong_password_is_refused_even_where_none_is_needed(
    gracedb_server: GraceDBServer, visitor: requests.Session
) -> None:
    visitor.auth = gracedb_server.username, "wrong"
    response = visitor.get(gracedb_server.url)
    assert response.status_code == 403
    assert response.json() == {"detail": "Invalid username/password."}
    assert "WWW-Authenticate" not in response.headers


def test_an_expired_password_is_refused(
    gracedb_server: GraceDBServer, visitor: requests.Session
) -> None:
    gracedb_server.add_user("marie.curie", password="radium", password_lifetime=-1)
    visitor.auth = "marie.curie", "radium"
    assert visitor.get(gracedb_server.url).status_code == 403


def test_an_inactive_user_is_refused(gracedb_server: GraceDBServer) -> None:
    gracedb_server.add_user("marie.curie", is_active=False)
    with plain_session(gracedb_server, gracedb_server.token(subject="marie.curie")) as session:
        response = session.get(gracedb_server.url)
    assert response.status_code == 403
    assert response.json() == {"detail": "User inactive or deleted."}


def test_a_user_without_permissions_reads_and_annotates(gracedb_server: GraceDBServer) -> None:
    gracedb_server.add_user("marie.curie", permissions=())
    with plain_session(gracedb_server) as session:
        event = post_event(session, gracedb_server.url).json()
    with plain_session(gracedb_server, gracedb_server.token(subject="marie.curie")) as session:
        assert session.get(event["links"]["self"]).status_code == 200
        response = session.post(event["links"]["log"], data={"comment": "seen"})
    assert response.json()["issuer"] == "marie.curie"


def test_a_user_without_the_permission_uploads_nothing(gracedb_server: GraceDBServer) -> None:
    gracedb_server.add_user("marie.curie", permissions=())
    with plain_session(gracedb_server, gracedb_server.token(subject="marie.curie")) as session:
        response = post_event(session, gracedb_server.url)
    assert response.status_code == 403
    assert response.headers["Content-Type"].startswith("text/html")
    assert response.text == "You do not have permission to submit events to this pipeline."


def test_who_is_not_a_member_sees_no_events(gracedb_server: GraceDBServer) -> None:
    gracedb_server.add_user("fan", is_member=False)
    with plain_session(gracedb_server, gracedb_server.token(subject="fan")) as session:
        assert session.get(f"{gracedb_server.url}events/").status_code == 403


def test_creations_are_throttled() -> None:
    with GraceDBServer(throttle="1/hour") as server, plain_session(server) as session:
        assert post_event(session, server.url).status_code == 201
        response = post_event(session, server.url)
        assert response.status_code == 429
        assert 3590 < int(response.headers["Retry-After"]) <= 3600
        assert response.json()["detail"].startswith("Request was throttled. Expected available in")
        assert session.get(f"{server.url}events/").status_code == 200
