"""Events, as GraceDB answers about them."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from uuid import UUID

import pytest
import requests

from requests_gracedb.testing import GraceDBServer

from .gracedb import make_event, plain_session, post_event

pytest_plugins = ["pytest_requests_gracedb"]

CONTENT = b"<LIGO_LW><!-- an event --></LIGO_LW>"
CONTENT_ID = str(UUID(bytes=sha256(CONTENT).digest()[:16]))
COINC = b"""<LIGO_LW>
  <Table Name="coinc_inspiral:table">
    <Column Name="coinc_inspiral:end_time" Type="int_4s"/>
    <Column Name="coinc_inspiral:end_time_ns" Type="int_4s"/>
    <Column Name="coinc_inspiral:combined_far" Type="real_8"/>
    <Column Name="coinc_inspiral:ifos" Type="lstring"/>
    <Stream Name="coinc_inspiral:table" Delimiter="," Type="Local">
      1187008882,443115234,2.7e-14,"H1,L1,V1"
    </Stream>
  </Table>
</LIGO_LW>"""


@pytest.fixture
def api(gracedb_server: GraceDBServer) -> str:
    return gracedb_server.url


@pytest.fixture
def session(gracedb_server: GraceDBServer) -> Iterator[requests.Session]:
    with plain_session(gracedb_server) as session:
        yield session


def test_an_upload_is_answered_with_the_event_and_where_it_is(
    session: requests.Session, api: str
) -> None:
    response = post_event(session, api, search="AllSky", labels=["INJ", "DQV"], offline="True")
    event = response.json()
    assert response.status_code == 201
    assert response.headers["Location"] == event["links"]["self"] == f"{api}events/T0001"
    assert event["labels"] == ["INJ", "DQV"]
    assert (event["group"], event["search"], event["offline"]) == ("Test", "AllSky", True)


@pytest.mark.parametrize(
    "fields, prefix",
    [
        ({"group": "Test"}, "T"),
        ({"group": "CBC"}, "G"),
        ({"group": "CBC", "search": "MDC"}, "M"),
        ({"group": "CBC", "pipeline": "HardwareInjection"}, "H"),
        ({"group": "External", "pipeline": "Fermi"}, "E"),
    ],
)
def test_the_first_letter_of_a_graceid_tells_what_it_is(
    session: requests.Session, api: str, fields: dict[str, str], prefix: str
) -> None:
    assert make_event(session, api, **fields)["graceid"] == f"{prefix}0001"


def test_the_event_file_is_read(session: requests.Session, api: str) -> None:
    event = make_event(session, api, content=COINC)
    assert (event["gpstime"], event["far"]) == (1187008882.443115, 2.7e-14)
    assert event["instruments"] == "H1,L1,V1"
    assert event["extra_attributes"]["CoincInspiral"]["combined_far"] == 2.7e-14


def test_an_event_file_that_cannot_be_read_is_a_warning(
    session: requests.Session, api: str
) -> None:
    event = make_event(session, api, content=b"<LIGO_LW>")
    assert event["warnings"][0].startswith("the event file is not well-formed: ")


def test_what_is_wrong_with_a_form_is_listed(session: requests.Session, api: str) -> None:
    response = session.post(f"{api}events/", data={"group": "Tset", "pipeline": "gstlal"})
    assert response.status_code == 400
    group, file = response.json()["errors"]
    assert group.startswith("group: Select a valid choice. Tset is not")
    assert file == "eventFile: This field is required."


def test_an_empty_file_is_refused(session: requests.Session, api: str) -> None:
    response = post_event(session, api, content=b"")
    assert response.json() == {"errors": ["eventFile: The submitted file is empty."]}


def test_an_upload_without_a_pipeline_is_an_error_of_the_server(
    session: requests.Session, api: str
) -> None:
    assert session.post(f"{api}events/", data={"group": "Test"}).status_code == 500


def test_a_pipeline_can_be_disabled(session: requests.Session, api: str) -> None:
    response = post_event(session, api, pipeline="gstlal-spiir")
    assert (response.status_code, response.text) == (400, "This pipeline is disabled.")
    assert response.headers["Content-Type"].startswith("text/html")


def test_a_client_without_a_name_is_refused(session: requests.Session, api: str) -> None:
    response = session.get(api, headers={"User-Agent": ""})
    assert response.status_code == 400
    assert response.headers["Content-Type"].startswith("text/html")


def test_a_body_in_chunks_is_dropped(session: requests.Session, api: str) -> None:
    response = session.post(
        f"{api}events/", data=iter([b"group=Test&pipeline=gstlal"]),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert response.status_code == 500  # There is no pipeline in it.


def test_an_event_that_is_not_there_is_told_in_plain_text_that_is_called_html(
    session: requests.Session, api: str
) -> None:
    response = session.get(f"{api}events/G1")
    assert (response.status_code, response.text) == (404, "Event not found.")
    assert response.headers["Content-Type"].startswith("text/html")


def test_the_url_of_an_event_has_no_slash_at_its_end(session: requests.Session, api: str) -> None:
    url = make_event(session, api)["links"]["self"]
    assert session.get(f"{url}/").status_code == 404


@pytest.mark.parametrize("path", ["events", "events/T0001/log", "superevents", "superevents/S1"])
def test_a_slash_that_is_missing_is_a_redirect(
    session: requests.Session, api: str, path: str
) -> None:
    response = session.get(f"{api}{path}", allow_redirects=False)
    assert response.status_code == 301
    assert response.headers["Location"] == f"/api/{path}/"


def test_an_upload_without_the_slash_becomes_a_list(session: requests.Session, api: str) -> None:
    response = session.post(f"{api}events", data={"group": "Test", "pipeline": "gstlal"})
    assert (response.status_code, response.json()["events"]) == (200, [])


def test_a_replacement_is_accepted_with_nothing_to_read(
    session: requests.Session, api: str
) -> None:
    url = make_event(session, api)["links"]["self"]
    response = session.put(url, files={"eventFile": ("coinc.xml", COINC)})
    assert (response.status_code, response.content) == (202, b"")
    assert session.get(url).json()["far"] == 2.7e-14


def test_each_replacement_is_a_version(session: requests.Session, api: str) -> None:
    event = make_event(session, api)
    for _ in range(2):
        session.put(event["links"]["self"], files={"eventFile": ("coinc.xml", COINC)})
    assert list(session.get(event["links"]["files"]).json()) == [
        "coinc.xml", "coinc.xml,0", "coinc.xml,1", "coinc.xml,2"
    ]


def test_only_the_submitter_replaces_an_event(
    gracedb_server: GraceDBServer, session: requests.Session, api: str
) -> None:
    url = make_event(session, api)["links"]["self"]
    gracedb_server.add_user("marie.curie")
    with plain_session(gracedb_server, gracedb_server.token(subject="marie.curie")) as other:
        assert other.put(url, files={"eventFile": ("coinc.xml", COINC)}).status_code == 403


def test_an_event_is_found_by_its_content(session: requests.Session, api: str) -> None:
    event = make_event(session, api, content=CONTENT, content_id=CONTENT_ID)
    assert session.get(f"{api}events/{CONTENT_ID}").json() == event


def test_an_older_server_does_not_find_an_event_by_its_content() -> None:
    with GraceDBServer(content_id=False) as server, plain_session(server) as session:
        make_event(session, server.url, content=CONTENT, content_id=CONTENT_ID)
        assert session.get(f"{server.url}events/{CONTENT_ID}").status_code == 404


def test_a_list_is_in_pages(session: requests.Session, api: str) -> None:
    for _ in range(3):
        make_event(session, api)
    page = session.get(f"{api}events/?count=2").json()
    assert [event["graceid"] for event in page["events"]] == ["T0003", "T0002"]
    assert (page["numRows"], page["start"]) == (3, 0)
    page = session.get(page["links"]["next"]).json()
    assert [event["graceid"] for event in page["events"]] == ["T0001"]
    assert page["links"]["next"] is None


def test_the_number_of_results_is_remembered(session: requests.Session, api: str) -> None:
    url = f"{api}events/?query=gstlal"
    session.get(url)
    make_event(session, api)
    page = session.get(url).json()
    assert (page["numRows"], page["events"]) == (0, [])


def test_without_a_cache_the_count_is_that_of_the_moment() -> None:
    with GraceDBServer(count_cache=0) as server, plain_session(server) as session:
        session.get(f"{server.url}events/")
        make_event(session, server.url)
        assert session.get(f"{server.url}events/").json()["numRows"] == 1


def test_a_query_that_makes_no_sense_is_an_error(session: requests.Session, api: str) -> None:
    response = session.get(f"{api}events/", params={"query": "far <"})
    assert response.status_code == 400
    assert "'<'" in response.json()["error"]


def test_the_second_version_searches_by_json(session: requests.Session, api: str) -> None:
    make_event(session, api)
    query = '{"group": "Test", "pipeline": "gstlal"}'
    page = session.get(f"{api}v2/events/", params={"query": query}).json()
    assert page["events"][0]["links"]["log"] == f"{api}v2/events/T0001/logs/"


@pytest.mark.parametrize("path", ["emobservation/", "update-grbevent/", "voevent/"])
def test_what_is_given_up_is_gone(session: requests.Session, api: str, path: str) -> None:
    url = make_event(session, api)["links"]["self"]
    assert session.get(f"{url}/{path}").status_code == 410


@pytest.mark.parametrize("replay_id", ["x" * 31, "has space"])
def test_a_malformed_replay_id_is_dropped_with_a_warning(
    session: requests.Session, api: str, replay_id: str
) -> None:
    event = make_event(session, api, replay_id=replay_id)
    assert event["replay_id"] is None
    assert "malformed replay_id" in event["warnings"][0]
