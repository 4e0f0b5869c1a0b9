"""Files, log entries, tags and labels, as GraceDB answers about them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from requests_gracedb.testing import GraceDBServer

from .gracedb import make_event, make_superevent, plain_session

pytest_plugins = ["pytest_requests_gracedb"]


@pytest.fixture
def api(gracedb_server: GraceDBServer) -> str:
    return gracedb_server.url


@pytest.fixture
def session(gracedb_server: GraceDBServer) -> Iterator[requests.Session]:
    with plain_session(gracedb_server) as session:
        yield session


@pytest.fixture
def event(session: requests.Session, api: str) -> dict[str, str]:
    links: dict[str, str] = make_event(session, api)["links"]
    return links


@pytest.fixture
def superevent(session: requests.Session, api: str) -> dict[str, str]:
    links: dict[str, str] = make_superevent(session, api)["links"]
    return links


def post_log(session: requests.Session, url: str, name: str = "", **fields: Any) -> Any:
    files = {"upload": (name, b"content")} if name else {}
    return session.post(url, data={"comment": "seen", **fields}, files=files)


def test_the_upload_is_the_first_log_entry(
    session: requests.Session, event: dict[str, str]
) -> None:
    [entry] = session.get(event["log"]).json()["log"]
    assert (entry["N"], entry["filename"], entry["file_version"]) == (1, "coinc.xml", 0)


def test_a_log_entry_takes_a_file_tags_and_a_label(
    session: requests.Session, event: dict[str, str]
) -> None:
    response = post_log(session, event["log"], "a.txt", tagname=["psd", "public"], label="DQV")
    entry = response.json()
    assert response.status_code == 201
    assert response.headers["Location"] == entry["self"] == f"{event['log']}2"
    assert entry["tag_names"] == ["psd", "public"]
    assert session.get(entry["file"]).content == b"content"
    assert session.get(event["self"]).json()["labels"] == ["DQV"]


def test_a_log_entry_of_a_superevent_ends_in_a_slash(
    session: requests.Session, superevent: dict[str, str]
) -> None:
    entry = post_log(session, superevent["logs"]).json()
    assert entry["self"] == f"{superevent['logs']}1/"
    assert session.get(entry["self"]).json() == entry


def test_a_file_with_a_comma_in_its_name_is_lost(
    session: requests.Session, event: dict[str, str]
) -> None:
    response = post_log(session, event["log"], "a,b.txt")
    assert response.status_code == 201
    assert (response.json()["filename"], response.json()["file"]) == ("", None)
    assert "a,b.txt" not in session.get(event["files"]).json()


@pytest.mark.parametrize("fields", [{"label": "NONSENSE"}, {"tagname": "a/b"}])
def test_a_log_entry_with_a_label_or_tag_that_cannot_be_is_refused_and_kept(
    session: requests.Session, event: dict[str, str], fields: dict[str, str]
) -> None:
    assert post_log(session, event["log"], **fields).status_code == 400
    assert session.get(event["log"]).json()["numRows"] == 2


def test_an_empty_file_is_refused(session: requests.Session, event: dict[str, str]) -> None:
    response = session.post(event["log"], data={"comment": ""}, files={"upload": ("a.txt", b"")})
    assert (response.status_code, response.json()) == (400, "The submitted file is empty.")


def test_errors_of_validation_have_no_field_names(
    session: requests.Session, api: str
) -> None:
    response = session.post(f"{api}superevents/", json={})
    assert response.json() == ["This field is required."] * 4


def test_an_older_version_of_a_file_is_there(
    session: requests.Session, event: dict[str, str]
) -> None:
    for content in b"old", b"new":
        session.post(event["log"], data={"comment": ""}, files={"upload": ("a.txt", content)})
    assert session.get(f"{event['files']}a.txt,0").content == b"old"
    assert session.get(f"{event['files']}a.txt").content == b"new"


def test_a_file_that_is_not_there_is_not_found(
    session: requests.Session, event: dict[str, str]
) -> None:
    assert session.get(f"{event['files']}nothing").status_code == 404


def test_the_second_version_lists_files_and_logs_otherwise(
    session: requests.Session, api: str, event: dict[str, str]
) -> None:
    files = session.get(f"{api}v2/events/T0001/files/").json()["files"]
    assert [file["filename"] for file in files] == ["coinc.xml", "coinc.xml,0"]
    assert len(session.get(f"{api}v2/events/T0001/logs/").json()["logs"]) == 1


def test_tags_of_an_event_come_and_go(session: requests.Session, event: dict[str, str]) -> None:
    url = f"{event['log']}1/tag/"
    assert session.put(f"{url}psd").status_code == 201
    assert [tag["name"] for tag in session.get(url).json()["tags"]] == ["psd"]
    assert session.get(f"{url}psd").json()["displayName"] == "Noise Curves"
    assert session.delete(f"{url}psd").status_code == 204
    assert session.delete(f"{url}psd").status_code == 404


def test_tags_of_a_superevent_come_and_go(
    session: requests.Session, superevent: dict[str, str]
) -> None:
    post_log(session, superevent["logs"])
    url = f"{superevent['logs']}1/tags/"
    assert session.post(url, data={"name": "psd"}).status_code == 201
    assert session.delete(f"{url}psd/").status_code == 204


def test_a_label_of_an_event_is_new_only_once(
    session: requests.Session, event: dict[str, str]
) -> None:
    url = f"{event['labels']}EM_READY"
    responses = [session.put(url) for _ in range(2)]
    assert [response.status_code for response in responses] == [201, 200]
    assert responses[0].json() == "{}"
    assert session.get(url).json()["name"] == "EM_READY"


def test_a_label_that_there_is_not_is_refused(
    session: requests.Session, event: dict[str, str]
) -> None:
    response = session.put(f"{event['labels']}NONSENSE")
    assert (response.status_code, response.json()) == (
        400, {"error": "NONSENSE is not a valid label."}
    )


def test_a_label_is_removed_only_once(session: requests.Session, event: dict[str, str]) -> None:
    url = f"{event['labels']}EM_READY"
    session.put(url)
    assert [session.delete(url).status_code for _ in range(2)] == [204, 404]


def test_a_label_of_a_superevent_is_posted_and_refused_the_second_time(
    session: requests.Session, superevent: dict[str, str]
) -> None:
    first, second = (session.post(superevent["labels"], data={"name": "DQV"}) for _ in range(2))
    assert (first.status_code, first.json()["self"]) == (201, f"{superevent['labels']}DQV/")
    assert second.status_code == 400
    assert "already applied" in second.json()
