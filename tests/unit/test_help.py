"""Which credential a request gets, and why not another."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import scitokens
from freezegun import freeze_time

from requests_gracedb import GraceDBAuth, __version__, scitoken
from requests_gracedb.help import info, main
from tests.conftest import TOP, make_token, write_netrc, write_token

URL = "https://gracedb.ligo.org/api/"


@pytest.fixture
def discovered(home: Path) -> Path:
    """The token file that discovery finds."""
    return write_token(home / f"bt_u{os.geteuid()}", make_token())


def found(facts: dict[str, Any], place: str) -> str:
    """Tell what is in the place of this name."""
    return next(str(each["found"]) for each in facts["places"] if each["place"].endswith(place))


def used(facts: dict[str, Any]) -> list[str]:
    return [each["place"] for each in facts["places"] if each["used"]]


def test_info_tells_the_versions() -> None:
    names = ["requests-gracedb", "requests", "urllib3", "scitokens", "Python", "OpenSSL"]
    versions = info()["versions"]
    assert list(versions) == names
    assert versions["scitokens"] == scitokens.__version__


def test_info_tells_every_place_of_the_search_order(
    discovered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEARER_TOKEN_FILE", "/nowhere/token")
    assert [each["place"] for each in info(URL)["places"]] == [
        "force_noauth",
        "token",
        "username and password",
        "environment variable BEARER_TOKEN",
        "token file /nowhere/token",
        f"token file {discovered}",
        f"token file {scitoken._TMP}/bt_u{os.geteuid()}",
        "netrc",
    ]


def test_info_tells_that_a_token_is_absent() -> None:
    assert found(info(), "BEARER_TOKEN") == "absent"


def test_a_token_in_the_environment_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEARER_TOKEN", "opaque")
    facts = info()
    assert found(facts, "BEARER_TOKEN") == "a token that does not expire"
    assert used(facts) == ["environment variable BEARER_TOKEN"]


NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


@freeze_time(NOON)
@pytest.mark.parametrize(
    "seconds, expected",
    [
        (3.5 * 3600, "a token that expires in 3 h"),
        (300, "a token that expires in 5 min"),
        (30, "a token that expires in 30 s"),
        (0, "a token that expired 0 s ago"),
        (-3 * 3600, "a token that expired 3 h ago"),
        (-12 * 86400, "a token that expired 12 d ago"),
    ],
)
def test_info_tells_how_long_a_token_is_good(
    discovered: Path, seconds: float, expected: str
) -> None:
    write_token(discovered, make_token(exp=NOON.timestamp() + seconds))
    assert found(info(), str(discovered)) == expected


def test_a_token_that_has_expired_is_a_problem(discovered: Path) -> None:
    write_token(discovered, make_token(exp=1))
    facts = info(URL)
    assert used(facts) == []
    assert facts["problem"] == "no credential"


def test_a_named_token_that_has_expired_is_a_problem(token_file: Path) -> None:
    write_token(token_file, make_token(exp=1))
    facts = GraceDBAuth(URL, token=token_file).describe()
    assert used(facts) == ["token"]
    expected = f"the token file {token_file} has a token that expired .* ago$"
    assert re.match(expected, facts["problem"])


def test_a_directory_in_place_of_a_token_is_passed_over(discovered: Path) -> None:
    discovered.unlink()
    discovered.mkdir()
    assert found(info(), str(discovered)) == "passed over: it is not a regular file"


def test_a_token_that_others_can_write_is_a_problem(discovered: Path) -> None:
    discovered.chmod(0o622)
    facts = info(URL)
    assert "chmod 600" in found(facts, str(discovered))
    assert "chmod 600" in facts["problem"]


def test_a_malformed_token_is_a_problem(discovered: Path) -> None:
    discovered.write_text("two words")
    facts = info(URL)
    assert "is not one bearer token" in found(facts, str(discovered))
    assert "is not one bearer token" in facts["problem"]


def test_info_tells_that_netrc_is_absent(home: Path) -> None:
    assert found(info(URL), "netrc") == f"{home}/.netrc is absent"


def test_info_tells_the_hosts_in_netrc(home: Path) -> None:
    write_netrc(home, "machine b login u password p", "machine a login u password p")
    assert found(info(), "netrc") == f"{home}/.netrc has a, b"


def test_netrc_is_used_for_its_hosts(home: Path) -> None:
    write_netrc(home, "machine gracedb.ligo.org login user password s3cr3t")
    facts = info(URL)
    assert used(facts) == ["netrc"]
    assert facts["problem"] is None


def test_netrc_is_not_used_for_a_host_that_it_lacks(home: Path) -> None:
    write_netrc(home, "machine example.org login user password s3cr3t")
    facts = info(URL)
    assert used(facts) == []
    assert found(facts, "netrc") == f"{home}/.netrc has nothing for gracedb.ligo.org"
    assert facts["problem"] == "no credential"


def test_info_tells_that_netrc_has_nothing(home: Path) -> None:
    write_netrc(home)
    assert found(info(), "netrc") == f"{home}/.netrc has nothing"


def test_a_netrc_that_others_can_read_is_a_problem(home: Path) -> None:
    write_netrc(home, "machine gracedb.ligo.org login user password s3cr3t").chmod(0o644)
    facts = info(URL)
    assert "chmod 600" in found(facts, "netrc")
    assert "chmod 600" in facts["problem"]


def test_a_broken_netrc_is_a_problem(home: Path) -> None:
    write_netrc(home, "machine gracedb.ligo.org s3cr3t")
    facts = info(URL)
    assert "is broken near line" in found(facts, "netrc")
    assert "s3cr3t" not in json.dumps(facts)


def test_a_credential_for_plain_http_is_a_problem(discovered: Path) -> None:
    assert "plain http" in info("http://gracedb.ligo.org/")["problem"]


def test_info_tells_the_claims_of_the_token(discovered: Path) -> None:
    times = {"iat": 1767225600, "nbf": 1767225600, "exp": 4102444800}
    claims = {"iss": "https://cilogon.org/igwn", "sub": "albert", "aud": "ANY", "scope": "read:/"}
    write_token(discovered, make_token(**claims, **times))
    assert info(URL)["token"] == {
        "issuer": "https://cilogon.org/igwn",
        "subject": "albert",
        "audience": "ANY",
        "audience_fits": True,
        "scope": "read:/",
        "issued": "2026-01-01T00:00:00+00:00",
        "not_before": "2026-01-01T00:00:00+00:00",
        "expires": "2100-01-01T00:00:00+00:00",
        "is_expired": False,
    }


def test_claims_that_make_no_sense_are_no_problem(discovered: Path) -> None:
    write_token(discovered, make_token(iat="now", exp=1e300))
    token = info(URL)["token"]
    assert (token["issued"], token["expires"]) == (None, None)


@pytest.mark.parametrize(
    "audience, fits",
    [
        (None, True),
        ("ANY", True),
        ("https://wlcg.cern.ch/jwt/v1/any", True),
        ("https://gracedb.ligo.org", True),
        ("https://GraceDB.ligo.org:443/apiweb/", True),
        ("gracedb.ligo.org", True),
        (["https://elsewhere.example", "https://gracedb.ligo.org/"], True),
        ("https://gracedb.ligo.org.example", False),
        ("https://gracedb-test.ligo.org", False),
        ("http://gracedb.ligo.org", False),
        ("somebody", False),
        ([], False),
    ],
)
def test_info_tells_whether_the_audience_fits(
    discovered: Path, audience: object, fits: bool
) -> None:
    write_token(discovered, make_token(aud=audience))
    token = GraceDBAuth(URL, token=discovered).describe()["token"]
    assert token["audience_fits"] is fits


def test_without_a_url_info_does_not_tell_whether_the_audience_fits(discovered: Path) -> None:
    assert info()["token"]["audience_fits"] is None


@pytest.mark.parametrize(
    "parameters, place",
    [
        ({"force_noauth": True}, "force_noauth"),
        ({"username": "user", "password": "s3cr3t"}, "username and password"),
    ],
)
def test_an_auth_tells_which_parameters_it_was_given(
    parameters: dict[str, Any], place: str, discovered: Path
) -> None:
    facts = GraceDBAuth(URL, **parameters).describe()
    assert used(facts) == [place]
    assert found(facts, place) == "given"
    assert "s3cr3t" not in json.dumps(facts)


def test_an_auth_tells_which_token_it_was_given(token_file: Path, discovered: Path) -> None:
    facts = GraceDBAuth(URL, token=token_file).describe()
    assert used(facts) == ["token"]
    assert found(facts, "token") == f"token file {token_file}"


def test_the_command_prints_places_and_claims(
    discovered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_token(discovered, make_token(iss="https://cilogon.org/igwn", sub="a\x1b[31m\x9b"))
    assert main([URL]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"* token file {discovered}: a token that does not expire" in lines
    assert '  issuer: "https://cilogon.org/igwn"' in lines
    assert '  subject: "a\\u001b[31m\\u009b"' in lines


def test_the_command_says_for_whom_a_token_is_that_does_not_fit(
    discovered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_token(discovered, make_token(aud="https://elsewhere.example"))
    assert main([URL]) == 1
    assert f'{discovered}: a token for "https://elsewhere.example"' in capsys.readouterr().out


def test_the_command_prints_json(discovered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([URL, "--json"])
    assert json.loads(capsys.readouterr().out) == info(URL)


def test_no_token_is_printed(discovered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token = discovered.read_text()
    main([])
    main(["--json"])
    output = capsys.readouterr().out
    assert not any(part in output for part in token.split("."))


def test_no_password_is_printed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_netrc(home, "machine gracedb.ligo.org login user password s3cr3t")
    main([URL])
    main([URL, "--json"])
    assert "s3cr3t" not in capsys.readouterr().out


def test_without_a_credential_the_command_has_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([URL]) == 1
    assert "Problem: no credential" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["nonsense"], ["--check"], ["--nonsense"], [URL, URL]])
def test_bad_usage_has_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_a_file_name_is_printed_without_control_characters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BEARER_TOKEN_FILE", "/\x1b[31m\udcff")
    main([URL])
    assert "token file /\\x1b[31m\\udcff: absent" in capsys.readouterr().out


def test_a_named_file_that_discovery_looks_at_too_is_named(discovered: Path) -> None:
    facts = GraceDBAuth(URL, token=discovered).describe()
    assert used(facts) == ["token"]


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"requests-gracedb {__version__}\n"


def test_the_exit_statuses_are_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "Exit status: 0" in capsys.readouterr().out


def test_the_command_runs_as_a_module(discovered: Path) -> None:
    command = [sys.executable, "-m", "requests_gracedb", URL]
    result = subprocess.run(command, capture_output=True, text=True, cwd=TOP)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("requests-gracedb 2")
