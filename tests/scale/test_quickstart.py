"""The example does what it says, and cleans up."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from requests_gracedb import FormData, GraceDBAdapter, SciTokenAuth
from requests_gracedb.testing import GraceDBServer
from tests.conftest import TOP, write_token


@dataclass
class Tour:
    """What a run of the example printed, and where it could leave something."""

    lines: list[str]
    errors: str
    status: int
    temporary: Path

    def told(self, subject: str) -> str:
        """What it told about one thing."""
        texts = [line[12:] for line in self.lines if line[:12].rstrip() == subject]
        assert texts, f"nothing about {subject}"
        return texts[0]


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "examples", *arguments],
        cwd=TOP,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Tour:
    """The whole tour, by a user who has settings of their own that would be in its way."""
    temporary = tmp_path_factory.mktemp("quickstart")
    nowhere = str(temporary.parent / "nowhere")
    result = run(
        TMPDIR=str(temporary),
        BEARER_TOKEN="somebody-elses",
        BEARER_TOKEN_FILE=nowhere,
        CURL_CA_BUNDLE=nowhere,
        HTTPS_PROXY="http://localhost:9",
        REQUESTS_CA_BUNDLE=nowhere,
    )
    return Tour(result.stdout.splitlines(), result.stderr, result.returncode, temporary)


@pytest.fixture
def look_around(gracedb: GraceDBServer, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """The part that reads, from a server with two pages of superevents."""
    token_file = write_token(tmp_path / "bearer", gracedb.token())
    with requests.Session() as session:
        session.verify = gracedb.ca_bundle
        session.mount(gracedb.url, GraceDBAdapter())
        session.auth = SciTokenAuth(token_file)
        for _ in range(6):
            fields = {"group": "Test", "pipeline": "gstlal"}
            form = FormData(fields, {"eventFile": ("coinc.xml", b"-")})
            event = session.post(f"{gracedb.url}events/", data=form).json()
            superevent = {"preferred_event": event["graceid"], "category": "T",
                          "t_start": 1, "t_0": 2, "t_end": 3}
            session.post(f"{gracedb.url}superevents/", json=superevent)
    return run(
        "--url",
        gracedb.url,
        BEARER_TOKEN_FILE=str(token_file),
        REQUESTS_CA_BUNDLE=gracedb.ca_bundle,
    )


@pytest.fixture
def deaf_url() -> Iterator[str]:
    """A URL at a port that is taken, but on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"https://127.0.0.1:{taken.getsockname()[1]}/api/"


def test_the_tour_succeeds(tour: Tour) -> None:
    assert (tour.status, tour.errors) == (0, "")


def test_the_token_is_found_by_discovery(tour: Tour) -> None:
    assert f"/bt_u{os.geteuid()}, expires " in tour.told("credential")


def test_the_event_file_is_as_large_as_real_ones(tour: Tour) -> None:
    graceid, _, name, size, _ = tour.told("upload").split()
    assert (graceid, name) == ("T0001", "coinc.xml,")
    assert 150_000 <= int(size.replace(",", "")) <= 400_000


def test_the_log_entry_has_the_plot(tour: Tour) -> None:
    assert tour.told("log entry").startswith("number 2 with snr.png, ")


def test_the_event_is_read_back(tour: Tour) -> None:
    assert tour.told("event") == "T0001 of gstlal, by albert.einstein@ligo.org"


def test_the_file_is_read_back_and_identical(tour: Tour) -> None:
    assert ", identical to what was uploaded" in tour.told("file")


def test_the_events_are_listed_page_by_page(tour: Tour) -> None:
    first = tour.lines.index("events      page 1: T0004 T0003")
    assert tour.lines[first + 1] == "            page 2: T0002 T0001"


def test_the_token_is_reloaded_before_it_expires(tour: Tour) -> None:
    expiring, reloaded = tour.told("expiring"), tour.told("reloaded")
    before, after = (text.partition(", expires ")[2] for text in (expiring, reloaded))
    assert "" < before < after


def test_the_refusal_names_the_field_that_is_wrong(tour: Tour) -> None:
    refusal = tour.told("refusal")
    assert refusal.startswith("HTTPError: 400 ")
    assert refusal.endswith("Tset is not one of the available choices.")


def test_no_token_is_shown(tour: Tour) -> None:
    assert "eyJ" not in "".join(tour.lines)


def test_the_tour_leaves_nothing_behind(tour: Tour) -> None:
    assert list(tour.temporary.iterdir()) == []


def test_the_event_file_is_the_same_each_time() -> None:
    from examples.quickstart import coinc_xml

    assert coinc_xml(seed=1) == coinc_xml(seed=1) != coinc_xml(seed=2)


def test_a_server_of_choice_is_read_from(
    look_around: subprocess.CompletedProcess[str], gracedb: GraceDBServer
) -> None:
    assert (look_around.returncode, look_around.stderr) == (0, "")
    assert look_around.stdout.startswith(f"server      GraceDB 2.36.0, {gracedb.url}\n")


def test_superevents_are_read_beyond_the_first_page(
    look_around: subprocess.CompletedProcess[str]
) -> None:
    assert "superevents page 1: TS" in look_around.stdout
    assert "            page 2: TS" in look_around.stdout


def test_a_url_may_lack_the_slash_at_its_end(gracedb: GraceDBServer, tmp_path: Path) -> None:
    token_file = write_token(tmp_path / "bearer", gracedb.token())
    settings = {"BEARER_TOKEN_FILE": str(token_file), "REQUESTS_CA_BUNDLE": gracedb.ca_bundle}
    assert run("--url", gracedb.url.rstrip("/"), **settings).returncode == 0


def test_without_a_credential_it_shows_what_is_public(gracedb: GraceDBServer) -> None:
    result = run("--url", gracedb.url, REQUESTS_CA_BUNDLE=gracedb.ca_bundle)
    assert (result.returncode, result.stderr) == (0, "")
    assert "superevents page 1: nothing" in result.stdout


def test_a_server_that_does_not_answer_is_one_readable_line(deaf_url: str) -> None:
    result = run("--url", deaf_url)
    assert result.returncode == 1
    assert result.stderr.startswith("ConnectionError: ")
    assert result.stderr.count("\n") == 1


def test_a_url_that_is_none_is_one_readable_line() -> None:
    result = run("--url", "gracedb.ligo.org")
    assert result.returncode == 1
    assert result.stderr.startswith("ValueError: the URL must be absolute")
