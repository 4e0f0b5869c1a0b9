"""The HTTPie plug-in, under the real HTTPie, which finds it by the entry point of the package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import requests

from requests_gracedb.httpie import GraceDBPlugin
from requests_gracedb.testing import GraceDBServer
from tests.conftest import CONTENT, TOP, basic, write_netrc, write_token
from tests.loopback_server import LoopbackServer, redirect


Http = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def http(home: Path, gracedb: GraceDBServer) -> Http:
    """Run HTTPie, as a user who trusts the server does, and who wants no news of HTTPie itself."""
    settings = home / "httpie"
    settings.mkdir()
    (settings / "config.json").write_text(json.dumps({"disable_update_warnings": True}))

    def http(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
        options = "--ignore-stdin", f"--verify={gracedb.ca_bundle}"
        return subprocess.run(
            [sys.executable, "-m", "httpie", *options, *arguments],
            cwd=TOP,
            env={**os.environ, "HTTPIE_CONFIG_DIR": str(settings)},
            capture_output=True,
        )

    return http


@pytest.fixture
def token(gracedb: GraceDBServer) -> str:
    """A token that the server accepts."""
    return gracedb.token()


@pytest.fixture
def token_file(tmp_path: Path, token: str) -> Path:
    """It, in a file."""
    return write_token(tmp_path / "token", token)


@pytest.fixture
def discovered(monkeypatch: pytest.MonkeyPatch, token_file: Path) -> None:
    """The file is where it is looked for."""
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(token_file))


def test_httpie_finds_the_plugin() -> None:
    (found,) = entry_points(group="httpie.plugins.auth.v1", name=GraceDBPlugin.auth_type)
    assert found.load() is GraceDBPlugin


def test_the_package_does_not_import_httpie() -> None:
    script = "import sys, requests_gracedb; sys.exit('httpie' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=TOP).returncode == 0


@pytest.mark.usefixtures("discovered")
def test_a_token_is_found_by_discovery(http: Http, gracedb: GraceDBServer) -> None:
    result = http("--check-status", "-A", "gracedb", f"{gracedb.url}superevents/")
    assert (result.returncode, result.stderr) == (0, b"")
    assert "numRows" in json.loads(result.stdout)


def test_the_plugin_finds_netrc(home: Path) -> None:
    write_netrc(home, "machine gracedb.ligo.org login user password password")
    request = requests.Request("GET", "https://gracedb.ligo.org/", auth=GraceDBPlugin().get_auth())
    assert request.prepare().headers["Authorization"] == basic("user", "password")


def test_a_token_file_can_be_named(
    http: Http, gracedb: GraceDBServer, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEARER_TOKEN", "another")
    result = http("--check-status", "-A", "gracedb", "-a", token_file, f"{gracedb.url}events/")
    assert (result.returncode, result.stderr) == (0, b"")


@pytest.mark.usefixtures("discovered")
def test_an_event_file_is_uploaded(http: Http, gracedb: GraceDBServer, event_file: Path) -> None:
    fields = "group=Test", "pipeline=gstlal", f"eventFile@{event_file}"
    result = http("-f", "-A", "gracedb", "POST", f"{gracedb.url}events/", *fields)
    files = json.loads(result.stdout)["links"]["files"]
    assert http("-A", "gracedb", f"{files}coinc.xml").stdout == CONTENT


@pytest.mark.usefixtures("discovered")
def test_the_token_is_not_shown(http: Http, gracedb: GraceDBServer, token: str) -> None:
    result = http("--print=hbm", "-A", "gracedb", f"{gracedb.url}superevents/")
    assert result.stdout.startswith(b"HTTP/1.1 200 ")
    assert token.encode() not in result.stdout + result.stderr


def test_a_token_that_the_server_ignores_is_told_by_status_and_answer(
    http: Http, gracedb: GraceDBServer, tmp_path: Path
) -> None:
    expired = gracedb.token(lifetime=-60)
    path = write_token(tmp_path / "expired", expired)
    result = http("--check-status", "-A", "gracedb", "-a", path, f"{gracedb.url}events/")
    assert result.returncode == 4
    assert json.loads(result.stdout) == {
        "detail": "Authentication credentials were not provided."
    }
    assert expired.encode() not in result.stdout + result.stderr


def test_a_token_file_that_is_not_there_is_told_in_one_line(
    http: Http, gracedb: GraceDBServer
) -> None:
    result = http("-A", "gracedb", "-a", "/nowhere/token", gracedb.url)
    assert (result.returncode, result.stdout) == (1, b"")
    (line,) = result.stderr.strip().splitlines()
    assert b" error: FileNotFoundError: " in line
    assert line.endswith(b"token file /nowhere/token cannot be read (No such file or directory): "
                         b"get a token, or name another file")


def test_what_is_in_a_file_that_holds_no_token_is_not_shown(
    http: Http, gracedb: GraceDBServer, tmp_path: Path
) -> None:
    path = write_token(tmp_path / "token", "secret one\nsecret two\n")
    result = http("--debug", "-A", "gracedb", "-a", path, gracedb.url)
    assert result.returncode == 1
    assert b"is not one bearer token" in result.stderr
    assert b"secret" not in result.stderr


def test_nothing_goes_out_in_clear_text(http: Http, token: str, token_file: Path) -> None:
    result = http("-A", "gracedb", "-a", token_file, "http://gracedb.invalid/api/")
    assert result.returncode == 1
    assert b"refused to send a credential to http://gracedb.invalid:80" in result.stderr
    assert token.encode() not in result.stderr


def test_a_redirect_keeps_the_token_at_its_origin(
    http: Http, server: LoopbackServer, token: str, token_file: Path
) -> None:
    server.script = [redirect(f"{server.url}/elsewhere")]
    http("--follow", "-A", "gracedb", "-a", token_file, server.url)
    assert server.authorizations == [f"Bearer {token}"] * 2


def test_a_redirect_takes_the_token_to_no_other_origin(
    http: Http, server: LoopbackServer, other_server: LoopbackServer, token_file: Path
) -> None:
    server.script = [redirect(other_server.url)]
    http("--follow", "-A", "gracedb", "-a", token_file, server.url)
    assert other_server.authorizations == [None]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("TOKEN", b"this looks like a token, not the name of a file"),
        ("me:TOKEN", b"-a takes the name of a token file here, not a user name and a password"),
        ("me:s3cr3t", b"-a takes the name of a token file here, not a user name and a password"),
    ],
)
def test_a_secret_in_place_of_a_file_name_is_told_and_not_shown(
    argument: str, message: bytes, http: Http, gracedb: GraceDBServer, token: str
) -> None:
    result = http("-A", "gracedb", "-a", argument.replace("TOKEN", token), gracedb.url)
    assert result.returncode == 1
    assert message in result.stderr
    assert token.encode() not in result.stderr and b"s3cr3t" not in result.stderr


def test_a_session_of_httpie_remembers_the_file_and_not_the_token(
    http: Http, server: LoopbackServer, token_file: Path, token: str, home: Path
) -> None:
    path = home / "session.json"
    http(f"--session={path}", "-A", "gracedb", "-a", token_file, server.url)
    http(f"--session={path}", server.url)
    assert server.authorizations == [f"Bearer {token}"] * 2
    assert token not in path.read_text()
