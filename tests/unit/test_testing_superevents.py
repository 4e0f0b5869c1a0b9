"""Superevents, as GraceDB answers about them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from requests_gracedb.testing import GraceDBServer

from .gracedb import TIMES, make_event, make_superevent, plain_session

pytest_plugins = ["pytest_requests_gracedb"]


@pytest.fixture
def api(gracedb_server: GraceDBServer) -> str:
    return gracedb_server.url


@pytest.fixture
def session(gracedb_server: GraceDBServer) -> Iterator[requests.Session]:
    with plain_session(gracedb_server) as session:
        yield session


@pytest.fixture
def superevent(session: requests.Session, api: str) -> dict[str, Any]:
    return make_superevent(session, api)


def test_the_name_of_a_superevent_tells_its_category(session: requests.Session, api: str) -> None:
    mdc = make_event(session, api, group="CBC", search="MDC")["graceid"]
    production = make_event(session, api, group="CBC")["graceid"]
    names = [
        session.post(
            f"{api}superevents/",
            json={"preferred_event": event, "category": category, **TIMES},
        ).json()["superevent_id"]
        for event, category in [(mdc, "M"), (production, "Production")]
    ]
    assert names[0].startswith("MS") and names[1].startswith("S")
    assert make_superevent(session, api)["superevent_id"].startswith("TS")


def test_the_category_is_that_of_its_events(session: requests.Session, api: str) -> None:
    event = make_event(session, api)["graceid"]
    response = session.post(f"{api}superevents/", json={"preferred_event": event, **TIMES})
    assert response.status_code == 400
    assert response.json() == f"Event {event} is not of category Production."


def test_a_superevent_needs_a_permission_but_for_tests(
    gracedb_server: GraceDBServer, session: requests.Session, api: str
) -> None:
    event = make_event(session, api, group="CBC")["graceid"]
    gracedb_server.add_user("marie.curie", permissions=("upload",))
    with plain_session(gracedb_server, gracedb_server.token(subject="marie.curie")) as other:
        make_superevent(other, api)
        response = other.post(f"{api}superevents/", json={"preferred_event": event, **TIMES})
    assert response.status_code == 403


def test_times_are_kept_to_the_microsecond(session: requests.Session, api: str) -> None:
    superevent = make_superevent(session, api, t_0=1187008882.12345678)
    assert superevent["t_0"] == 1187008882.123457


def test_an_event_is_part_of_one_superevent_only(
    session: requests.Session, api: str, superevent: dict[str, Any]
) -> None:
    data = {"preferred_event": superevent["preferred_event"], "category": "T", **TIMES}
    assert session.post(f"{api}superevents/", json=data).status_code == 400


def test_a_superevent_is_changed_by_patch(
    session: requests.Session, superevent: dict[str, Any]
) -> None:
    response = session.patch(superevent["links"]["self"], json={"t_0": 2.5})
    assert (response.status_code, response.json()["t_0"]) == (200, 2.5)


def test_a_superevent_is_not_changed_by_put(
    session: requests.Session, superevent: dict[str, Any]
) -> None:
    assert session.put(superevent["links"]["self"], json={"t_0": 2.5}).status_code == 405


def test_events_come_and_go(
    session: requests.Session, api: str, superevent: dict[str, Any]
) -> None:
    event, url = make_event(session, api)["graceid"], superevent["links"]["events"]
    assert session.post(url, data={"event": event}).status_code == 201
    assert len(session.get(url).json()["events"]) == 2
    assert session.delete(f"{url}{event}/").status_code == 204
    assert session.delete(f"{url}{event}/").status_code == 404


def test_the_preferred_event_stays(session: requests.Session, superevent: dict[str, Any]) -> None:
    url = f"{superevent['links']['events']}{superevent['preferred_event']}/"
    assert session.delete(url).status_code == 400


def test_confirmed_it_has_another_name_as_well(
    session: requests.Session, api: str, superevent: dict[str, Any]
) -> None:
    url = f"{superevent['links']['self']}confirm-as-gw/"
    confirmed = session.post(url).json()
    assert confirmed["gw_id"].startswith("TGW")
    assert session.get(f"{api}superevents/{confirmed['gw_id']}/").json() == confirmed
    assert session.post(url).status_code == 400


def test_a_search_finds_it_by_a_label(session: requests.Session, api: str) -> None:
    labelled = make_superevent(session, api, labels=["DQV"])
    make_superevent(session, api)
    page = session.get(f"{api}superevents/", params={"query": "DQV category: Test"}).json()
    assert page["superevents"] == [labelled]


def test_a_signoff_answers_the_label_that_has_asked_for_it(
    session: requests.Session, api: str
) -> None:
    links = make_superevent(session, api, labels=["ADVREQ"])["links"]
    response = session.post(links["signoffs"], data={"signoff_type": "ADV", "status": "OK"})
    assert response.status_code == 201
    assert session.get(links["self"]).json()["labels"] == ["ADVOK"]
    session.patch(f"{links['signoffs']}ADV/", data={"status": "NO"})
    assert session.get(links["self"]).json()["labels"] == ["ADVNO"]
    assert session.delete(f"{links['signoffs']}ADV/").status_code == 204
    assert session.get(links["self"]).json()["labels"] == ["ADVREQ"]


def test_a_signoff_that_nobody_has_asked_for_is_refused(
    session: requests.Session, superevent: dict[str, Any]
) -> None:
    data = {"signoff_type": "ADV", "status": "OK"}
    assert session.post(superevent["links"]["signoffs"], data=data).status_code == 400


def test_an_advocate_is_no_operator(session: requests.Session, api: str) -> None:
    url = make_superevent(session, api, labels=["H1OPS"])["links"]["signoffs"]
    data = {"signoff_type": "OP", "instrument": "H1", "status": "OK"}
    assert session.post(url, data=data).status_code == 403


def test_a_superevent_can_have_no_new_voevents(
    session: requests.Session, superevent: dict[str, Any]
) -> None:
    url = superevent["links"]["voevents"]
    assert session.post(url, data={"voevent_type": "PR"}).status_code == 410
    assert session.get(url).json()["voevents"] == []


def test_an_older_server_makes_voevents() -> None:
    with GraceDBServer(voevents=True) as server, plain_session(server) as session:
        url = make_superevent(session, server.url)["links"]["voevents"]
        voevent = session.post(url, data={"voevent_type": "PR"}).json()
        assert voevent["filename"].endswith("-1-Preliminary.xml")
        assert session.get(voevent["links"]["self"]).json() == voevent
