"""Everything together, against a GraceDB."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from requests_gracedb import FormData, GraceDBAdapter, GraceDBAuth, Session
from requests_gracedb.testing import GraceDBServer
from tests.conftest import write_netrc, write_token
from tests.loopback_server import LoopbackServer


@pytest.fixture
def api(gracedb: GraceDBServer) -> str:
    return gracedb.url


@pytest.fixture
def token_file(gracedb: GraceDBServer, tmp_path: Path) -> Path:
    """A file with a token in it that the server accepts."""
    return write_token(tmp_path / "token", gracedb.token())


@pytest.fixture
def session(gracedb: GraceDBServer, token_file: Path) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.verify = gracedb.ca_bundle
        session.mount(gracedb.url, GraceDBAdapter())
        session.auth = GraceDBAuth(gracedb.url, token=token_file)
        yield session


@pytest.fixture
def coinc(tmp_path: Path) -> Path:
    """An event file, of a size that takes more than one write."""
    path = tmp_path / "coinc.xml"
    path.write_bytes(b"<LIGO_LW>" + random.Random(1).randbytes(1_000_000) + b"</LIGO_LW>")
    return path


@pytest.fixture
def event(session: requests.Session, api: str, coinc: Path) -> Any:
    form = FormData({"group": "Test", "pipeline": "gstlal"}, {"eventFile": coinc})
    return session.post(f"{api}events/", data=form).json()


def test_an_uploaded_event_can_be_read_back(
    session: requests.Session, event: Any, coinc: Path
) -> None:
    assert session.get(event["links"]["self"]).json() == event
    files = session.get(event["links"]["files"]).json()
    assert session.get(files["coinc.xml"]).content == coinc.read_bytes()


def test_fields_of_an_event_arrive(session: requests.Session, api: str, coinc: Path) -> None:
    fields = {
        "group": "CBC",
        "pipeline": "pycbc",
        "search": "AllSky",
        "labels": ["INJ", "DQV"],
    }
    form = FormData(fields, {"eventFile": (str(coinc), None)})
    event = session.post(f"{api}events/", data=form).json()
    assert {name: event[name] for name in fields} == fields


def test_the_files_of_requests_are_uploaded(
    session: requests.Session, api: str, coinc: Path
) -> None:
    fields = {"group": "Test", "pipeline": "gstlal"}
    with coinc.open("rb") as file:
        event = session.post(f"{api}events/", data=fields, files={"eventFile": file}).json()
    assert session.get(f"{event['links']['files']}coinc.xml").content == coinc.read_bytes()


def test_an_event_can_be_replaced(session: requests.Session, event: Any) -> None:
    form = FormData(files={"eventFile": ("coinc.xml", "new")})
    assert session.put(event["links"]["self"], data=form).status_code == 202
    assert session.get(f"{event['links']['files']}coinc.xml").text == "new"
    assert session.get(f"{event['links']['files']}coinc.xml,0").text != "new"


def test_a_log_entry_takes_a_file(session: requests.Session, event: Any) -> None:
    form = FormData(
        {"comment": "sky map", "tagname": ["sky_loc", "public"]},
        {"upload": ("bayestar.fits.gz", io.BytesIO(b"SIMPLE"))},
    )
    entry = session.post(event["links"]["log"], data=form).json()
    assert entry["tag_names"] == ["sky_loc", "public"]
    response = session.get(entry["file"])
    assert (response.content, response.headers["Content-Type"]) == (b"SIMPLE", "application/gzip")


def test_a_log_entry_without_a_file_is_json(session: requests.Session, event: Any) -> None:
    entry = session.post(event["links"]["log"], json={"comment": "looks good"}).json()
    assert session.get(event["links"]["log"]).json()["log"][-1] == entry


def test_labels_come_and_go(session: requests.Session, event: Any) -> None:
    url = f"{event['links']['labels']}EM_READY"
    assert session.put(url).status_code == 201
    assert session.get(event["links"]["self"]).json()["labels"] == ["EM_READY"]
    assert session.delete(url).status_code == 204
    assert session.get(event["links"]["self"]).json()["labels"] == []


def test_a_superevent_is_made_of_an_event(session: requests.Session, api: str, event: Any) -> None:
    times = {"t_start": 1.0, "t_0": 2.0, "t_end": 3.0}
    data = {"preferred_event": event["graceid"], "category": "T", **times}
    superevent = session.post(f"{api}superevents/", json=data).json()
    assert session.get(superevent["links"]["self"]).json() == superevent


def test_a_list_is_read_page_by_page(session: requests.Session, api: str) -> None:
    made = {upload(session, api) for _ in range(5)}
    seen = []
    url = f"{api}events/?count=2"
    while url:
        page = session.get(url).json()
        seen += [event["graceid"] for event in page["events"]]
        url = page["links"]["next"]
    assert made <= set(seen)
    assert len(seen) == page["numRows"] == len(set(seen))


def upload(session: requests.Session, api: str) -> str:
    fields = {"group": "Test", "pipeline": "gstlal"}
    form = FormData(fields, {"eventFile": ("coinc.xml", "<LIGO_LW/>")})
    return str(session.post(f"{api}events/", data=form).json()["graceid"])


def test_what_the_server_refuses_raises_with_its_explanation(
    session: requests.Session, api: str
) -> None:
    with pytest.raises(requests.HTTPError, match="group: Select a valid choice") as caught:
        session.post(f"{api}events/", data=FormData({"group": "Tset", "pipeline": "gstlal"}))
    assert len(caught.value.response.json()["errors"]) == 2


@pytest.mark.parametrize("parameters", [{"scope": "other"}, {"lifetime": -10}], ids=str)
def test_a_token_that_is_no_good_is_as_good_as_none(
    gracedb: GraceDBServer, session: requests.Session, token_file: Path, parameters: Any
) -> None:
    write_token(token_file, gracedb.token(**parameters))
    session.auth = GraceDBAuth(gracedb.url, token=token_file)
    assert session.get(gracedb.url).status_code == 200
    with pytest.raises(requests.HTTPError, match="403 .*credentials were not provided"):
        session.get(f"{gracedb.url}events/")


def test_a_token_that_is_about_to_expire_is_read_again(
    gracedb: GraceDBServer, session: requests.Session, token_file: Path
) -> None:
    write_token(token_file, gracedb.token(lifetime=100))
    session.auth = GraceDBAuth(gracedb.url, token=token_file, auth_reload=True)
    renewed = write_token(token_file, gracedb.token(audience="ANY")).read_text()
    response = session.get(f"{gracedb.url}events/")
    assert response.request.headers["Authorization"] == f"Bearer {renewed}"


def test_a_scitoken_with_its_key_is_a_credential(
    gracedb: GraceDBServer, session: requests.Session
) -> None:
    session.auth = GraceDBAuth(gracedb.url, token=gracedb.scitoken(), auth_reload=True)
    assert session.get(f"{gracedb.url}events/").status_code == 200


def test_user_name_and_password_are_a_credential(
    gracedb: GraceDBServer, session: requests.Session
) -> None:
    session.auth = GraceDBAuth(
        gracedb.url, username=gracedb.username, password=gracedb.password
    )
    assert session.get(f"{gracedb.url}events/").status_code == 200


def test_the_entry_in_netrc_is_a_credential(
    gracedb: GraceDBServer, session: requests.Session, home: Path
) -> None:
    write_netrc(home, f"machine localhost login {gracedb.username} password {gracedb.password}")
    session.auth = GraceDBAuth(gracedb.url)
    assert session.get(f"{gracedb.url}events/").status_code == 200


def test_a_token_is_discovered(
    gracedb: GraceDBServer,
    session: requests.Session,
    token_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(token_file))
    session.auth = GraceDBAuth(gracedb.url, fail_if_noauth=True)
    assert session.get(f"{gracedb.url}events/").status_code == 200


def test_without_a_credential_only_the_root_is_open(
    gracedb: GraceDBServer, session: requests.Session
) -> None:
    session.auth = GraceDBAuth(gracedb.url, force_noauth=True)
    assert session.get(gracedb.url).status_code == 200
    with pytest.raises(requests.HTTPError, match="credentials were not provided"):
        session.get(f"{gracedb.url}events/")


def test_a_credential_for_one_request_is_enough(
    gracedb: GraceDBServer, session: requests.Session, token_file: Path
) -> None:
    session.auth = None
    auth = GraceDBAuth(gracedb.url, token=token_file)
    assert session.get(f"{gracedb.url}events/", auth=auth).status_code == 200


@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_to_the_server_itself_keeps_the_token(
    session: requests.Session, api: str, home: Path, status: int
) -> None:
    write_netrc(home, "machine localhost login user password wrong")
    response = session.get(f"{api}redirect/{status}/", params={"url": f"{api}events/"})
    assert response.url == f"{api}events/"


def test_an_upload_follows_a_redirect_with_its_file(
    session: requests.Session, api: str, coinc: Path
) -> None:
    form = FormData({"group": "Test", "pipeline": "gstlal"}, {"eventFile": coinc})
    url = f"{api}redirect/307/?url={api}events/"
    files = session.post(url, data=form).json()["links"]["files"]
    assert session.get(f"{files}coinc.xml").content == coinc.read_bytes()


def test_a_redirect_to_another_server_loses_the_token(
    session: requests.Session, api: str, server: LoopbackServer
) -> None:
    session.get(f"{api}redirect/302/", params={"url": server.url})
    assert server.authorizations == [None]


def test_a_throttled_request_is_told_when_to_come_back(token_file: Path) -> None:
    with GraceDBServer(throttle="1/hour") as gracedb:
        write_token(token_file, gracedb.token())
        with Session(gracedb.url, token_file) as session:
            session.verify = gracedb.ca_bundle
            upload(session, gracedb.url)
            with pytest.raises(requests.HTTPError, match="429 .*throttled") as caught:
                upload(session, gracedb.url)
    assert int(caught.value.response.headers["Retry-After"]) > 0


def test_everything_goes_over_one_connection(
    session: requests.Session, api: str, event: Any
) -> None:
    with pytest.raises(requests.HTTPError):
        session.get(f"{api}events/nonsense", stream=True)
    session.get(event["links"]["self"])
    pools = session.get_adapter(api).poolmanager.pools
    assert sum(pools[key].num_connections for key in pools.keys()) == 1
