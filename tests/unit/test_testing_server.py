"""A server starts, does what it is told, and ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import requests

from requests_gracedb.testing import GraceDBServer, server

from .gracedb import make_event, plain_session

pytest_plugins = ["pytest_requests_gracedb"]


def test_a_server_has_a_certificate_of_its_own() -> None:
    with GraceDBServer() as gracedb, plain_session(gracedb) as session:
        assert re.fullmatch(r"https://localhost:\d+/api/", gracedb.url)
        assert session.get(gracedb.url).json()["links"]["self"] == gracedb.url


def test_a_server_ends_and_leaves_nothing_behind() -> None:
    with GraceDBServer() as gracedb:
        process = psutil.Process(gracedb._process.pid)
        children = process.children(recursive=True)
        assert children and gracedb.directory.exists()
    assert not any(each.is_running() for each in [process, *children])
    assert not gracedb.directory.exists()


def test_a_server_answers_to_other_names() -> None:
    with GraceDBServer(names=("gracedb.example",)) as gracedb:
        assert "https://gracedb.example" in gracedb.audiences
        with plain_session(gracedb) as session:
            headers = {"Host": "gracedb.example"}
            links = session.get(gracedb.url, headers=headers).json()["links"]
    assert links["self"] == "https://gracedb.example/api/"


def test_a_reset_forgets_everything(gracedb_server: GraceDBServer) -> None:
    with plain_session(gracedb_server) as session:
        url = make_event(session, gracedb_server.url)["links"]["self"]
        gracedb_server.reset()
        assert session.get(url).status_code == 404


def test_a_server_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.Config, "dump", lambda self: "nonsense")
    with pytest.raises(RuntimeError, match="(?s)the server did not start: .*JSONDecodeError"):
        GraceDBServer().__enter__()


def test_a_server_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_PROBE", "/nowhere")
    with pytest.raises(RuntimeError, match="the server answered with status 404"):
        GraceDBServer().__enter__()


def test_a_server_that_has_ended_says_so() -> None:
    with GraceDBServer() as gracedb:
        gracedb._process.send_signal(signal.SIGINT)
        gracedb._process.wait(10)
        with pytest.raises(RuntimeError, match="the server has ended"):
            gracedb.reset()


def test_a_permission_that_there_is_not_is_an_error(gracedb_server: GraceDBServer) -> None:
    with pytest.raises(ValueError, match="unknown permissions: {'nonsense'}; choose from"):
        gracedb_server.add_user("marie.curie", permissions=("nonsense",))


@pytest.fixture
def by_hand(home: Path) -> list[str]:
    """What the command prints, and where it has gone when it is interrupted."""
    process = subprocess.Popen(
        [sys.executable, "-m", "requests_gracedb.testing"], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout
        lines = [process.stdout.readline().rstrip() for _ in range(4)]
        settings = dict(line.removeprefix("export ").split("=", 1) for line in lines[1:])
        token = Path(settings["BEARER_TOKEN_FILE"]).read_text()
        headers = {"Authorization": f"Bearer {token}"}
        with requests.Session() as session:
            session.trust_env = False  # as in a shell where the variable is set
            session.verify = settings["REQUESTS_CA_BUNDLE"]
            url = f"{lines[0].removeprefix('# ')}events/"
            status = session.get(url, headers=headers).status_code
        authorities = Path(settings["SSL_CERT_FILE"]).read_text().count("BEGIN CERTIFICATE")
        process.send_signal(signal.SIGINT)
        process.wait(20)
    return [*lines, f"{status}", f"{authorities}", f"{os.path.exists(settings['SSL_CERT_FILE'])}"]


def test_a_server_that_is_started_by_hand_prints_what_to_set(by_hand: list[str]) -> None:
    assert by_hand[0].startswith("# https://localhost:")
    assert [line.partition("=")[0] for line in by_hand[1:4]] == [
        "export REQUESTS_CA_BUNDLE", "export SSL_CERT_FILE", "export BEARER_TOKEN_FILE"
    ]
    assert by_hand[4] == "200"


def test_the_authority_of_a_server_is_one_of_many(by_hand: list[str]) -> None:
    assert int(by_hand[5]) > 50


@pytest.fixture
def bundle_of_the_shell(ca_bundle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that trusts one CA, and no other."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ca_bundle)


def test_what_a_shell_trusts_it_goes_on_trusting(
    bundle_of_the_shell: None, by_hand: list[str]
) -> None:
    assert int(by_hand[5]) == 2


def test_a_server_is_gone_after_an_interrupt(by_hand: list[str]) -> None:
    assert by_hand[6] == "False"
