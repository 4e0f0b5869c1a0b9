"""SciTokenAuth.discover, GraceDBAuth: of the tokens that are found, the first that fits is used."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from requests_gracedb import GraceDBAuth, SciTokenAuth, scitoken
from tests.conftest import NOBODY, basic, make_token, write_netrc, write_token
from tests.unit import credentials

URL = "https://gracedb.ligo.org/api/"
HERE = "https://gracedb.ligo.org"
ELSEWHERE = "https://osdf.example.org"
EXPIRED = make_token(exp=1)
FOREIGN = make_token(aud=ELSEWHERE)
GOOD = make_token(aud=HERE)


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What BEARER_TOKEN_FILE names: nothing so far."""
    path = tmp_path / "named"
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(path))
    return path


@pytest.fixture
def default(home: Path) -> Path:
    """The file in the runtime directory: nothing so far."""
    return home / f"bt_u{os.geteuid()}"


@pytest.fixture
def shared() -> Path:
    """The file in the directory for temporary files: nothing so far."""
    return Path(scitoken._TMP) / f"bt_u{os.geteuid()}"


@pytest.fixture
def condor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory with the tokens of a job of HTCondor."""
    path = tmp_path / ".condor_creds"
    path.mkdir()
    monkeypatch.setenv("_CONDOR_CREDS", str(path))
    return path


def sent(auth: GraceDBAuth | SciTokenAuth | None, url: str = URL) -> str | None:
    assert auth is not None
    return credentials.sent(auth, url)


# Tokens that have expired, or are for another server


@pytest.mark.parametrize("unfit", [EXPIRED, FOREIGN], ids=["expired", "for another server"])
def test_a_token_that_does_not_fit_hides_no_token_further_down(
    unfit: str, named: Path, default: Path
) -> None:
    write_token(named, unfit)
    write_token(default, GOOD)
    assert sent(GraceDBAuth(URL)) == f"Bearer {GOOD}"


@pytest.mark.parametrize("unfit", [EXPIRED, FOREIGN], ids=["expired", "for another server"])
def test_a_token_that_does_not_fit_does_not_hide_netrc(
    unfit: str, shared: Path, home: Path
) -> None:
    write_token(shared, unfit)
    write_netrc(home, "machine gracedb.ligo.org login user password password")
    assert sent(GraceDBAuth(URL, auth_reload=True)) == basic("user", "password")


def test_without_a_url_the_audience_does_not_matter(default: Path) -> None:
    write_token(default, FOREIGN)
    assert sent(GraceDBAuth()) == f"Bearer {FOREIGN}"


def test_a_token_that_does_not_fit_in_the_variable_is_passed_over(
    default: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEARER_TOKEN", EXPIRED)
    write_token(default, GOOD)
    assert sent(SciTokenAuth.discover(url=URL)) == f"Bearer {GOOD}"


def test_an_expired_token_is_no_credential_when_there_is_no_other(default: Path) -> None:
    write_token(default, EXPIRED)
    assert SciTokenAuth.discover() is None
    assert sent(GraceDBAuth(URL)) is None


def test_an_expired_token_that_may_be_renewed_is_better_than_none(default: Path) -> None:
    write_token(default, EXPIRED)
    auth = GraceDBAuth(URL, auth_reload=True)
    assert sent(auth) == f"Bearer {EXPIRED}"
    write_token(default, GOOD)
    assert sent(auth) == f"Bearer {GOOD}"


def test_a_token_for_another_server_is_not_kept_for_renewal(default: Path) -> None:
    write_token(default, make_token(exp=1, aud=ELSEWHERE))
    assert SciTokenAuth.discover(auth_reload=True, url=URL) is None


@pytest.mark.parametrize("unfit", [EXPIRED, FOREIGN], ids=["expired", "for another server"])
@pytest.mark.parametrize("auth_class", [GraceDBAuth, None], ids=["GraceDBAuth", "SciTokenAuth"])
def test_a_named_token_is_used_as_it_is(
    unfit: str, auth_class: type[GraceDBAuth] | None, token_file: Path
) -> None:
    write_token(token_file, unfit)
    auth = SciTokenAuth(token_file) if auth_class is None else auth_class(URL, token=token_file)
    assert sent(auth) == f"Bearer {unfit}"


# Audiences


@pytest.mark.parametrize(
    "audience",
    [
        "https://gracedb.ligo.org",
        "https://gracedb.ligo.org/",
        "https://gracedb.ligo.org:443",
        "https://GraceDB.ligo.org/api/",
        "gracedb.ligo.org",
        "gracedb.ligo.org:443",
        "ANY",
        "https://wlcg.cern.ch/jwt/v1/any",
        [ELSEWHERE, "https://gracedb.ligo.org"],
        None,
    ],
    ids=str,
)
def test_an_audience_that_is_this_server(audience: object, default: Path) -> None:
    token = make_token(aud=audience)
    write_token(default, token)
    assert sent(GraceDBAuth(URL)) == f"Bearer {token}"


@pytest.mark.parametrize(
    "audience",
    [
        ELSEWHERE,
        "http://gracedb.ligo.org",
        "https://gracedb.ligo.org:8443",
        "https://gracedb.ligo.org.example",
        "ligo.org",
        "any",
        [],
        "",
        "https://[",
    ],
    ids=str,
)
def test_an_audience_that_is_another_server(audience: object, default: Path) -> None:
    write_token(default, make_token(aud=audience))
    assert sent(GraceDBAuth(URL)) is None


def test_an_audience_without_a_port_is_every_port_of_the_host(default: Path) -> None:
    write_token(default, GOOD)
    url = "https://gracedb.ligo.org:8443/api/"
    assert sent(GraceDBAuth(url), url) == f"Bearer {GOOD}"


def test_an_opaque_token_fits_everywhere(default: Path) -> None:
    write_token(default, "opaque")
    assert sent(GraceDBAuth(URL)) == "Bearer opaque"


# HTCondor


def test_the_tokens_of_a_job_are_found(condor: Path) -> None:
    write_token(condor / "igwn.use", GOOD)
    assert sent(GraceDBAuth(URL)) == f"Bearer {GOOD}"


def test_of_several_tokens_of_a_job_the_one_for_this_server_is_taken(condor: Path) -> None:
    write_token(condor / "a.use", FOREIGN)
    write_token(condor / "b.use", GOOD)
    assert sent(GraceDBAuth(URL)) == f"Bearer {GOOD}"


def test_the_tokens_of_a_job_come_in_the_order_of_their_names(condor: Path) -> None:
    for name in ("b", "a", "c"):
        write_token(condor / f"{name}.use", make_token(jti=name))
    assert sent(GraceDBAuth(URL)) == f"Bearer {make_token(jti='a')}"


def test_other_files_of_a_job_are_no_tokens(condor: Path) -> None:
    write_token(condor / "igwn.top", GOOD)
    assert sent(GraceDBAuth(URL)) is None


def test_the_tokens_of_a_job_come_between_the_named_file_and_the_default_one(
    condor: Path, named: Path, default: Path
) -> None:
    for path, name in ((named, "named"), (condor / "a.use", "job"), (default, "default")):
        write_token(path, make_token(jti=name))
    assert sent(GraceDBAuth(URL)) == f"Bearer {make_token(jti='named')}"
    named.unlink()
    assert sent(GraceDBAuth(URL)) == f"Bearer {make_token(jti='job')}"


def test_a_job_may_have_no_directory_of_tokens(condor: Path, default: Path) -> None:
    condor.rmdir()
    write_token(default, GOOD)
    assert sent(GraceDBAuth(URL)) == f"Bearer {GOOD}"


def test_the_token_of_a_job_is_read_again(condor: Path) -> None:
    path = write_token(condor / "igwn.use", make_token(exp=time.time() + 100))
    auth = GraceDBAuth(URL, auth_reload=True)
    write_token(path, GOOD)
    assert sent(auth) == f"Bearer {GOOD}"


def test_a_file_of_a_job_that_is_of_no_use_keeps_no_other_back(
    condor: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_token(condor / "a.use", "")
    write_token(condor / "b.use", GOOD).chmod(0o660)
    write_token(condor / "c.use", GOOD)
    assert sent(GraceDBAuth(URL)) == f"Bearer {GOOD}"
    first, second = [record.getMessage() for record in caplog.records]
    assert first == f"the token file {condor}/a.use is empty; it is passed over"
    assert "chmod 600" in second


def test_a_token_for_another_server_that_replaces_the_one_in_use_is_not_sent(
    default: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token = make_token(exp=time.time() + 100)
    write_token(default, token)
    auth = GraceDBAuth(URL, auth_reload=True)
    write_token(default, FOREIGN)
    assert sent(auth) == f"Bearer {token}"
    assert f'has a token for "{ELSEWHERE}"; the previous one stays in use' in caplog.text


# Files that somebody else has put there


def test_a_file_for_temporary_files_that_another_user_made_is_passed_over_with_a_warning(
    shared: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_token(shared, GOOD)
    other = shared.with_name(f"bt_u{NOBODY}")
    shared.rename(other)
    os.chown(other, NOBODY - 1, -1)
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    assert sent(GraceDBAuth(URL)) is None
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"token file {other} was made by another user: get your own; it is passed over"
    )


def test_a_link_that_another_user_made_is_passed_over(
    shared: Path, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    link = shared.with_name(f"bt_u{NOBODY}")
    link.symlink_to(token_file)
    os.chown(link, NOBODY - 1, -1, follow_symlinks=False)
    os.chown(token_file, NOBODY, -1)
    assert sent(GraceDBAuth(URL)) is None


def test_a_link_that_another_user_puts_there_later_is_not_followed(
    shared: Path, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    path = shared.with_name(f"bt_u{NOBODY}")
    token = make_token(exp=time.time() + 100)
    os.chown(write_token(path, token), NOBODY, -1)
    auth = GraceDBAuth(URL, auth_reload=True)
    path.unlink()
    path.symlink_to(token_file)
    os.chown(path, NOBODY - 1, -1, follow_symlinks=False)
    os.chown(token_file, NOBODY, -1)
    assert sent(auth) == f"Bearer {token}"


def test_a_link_of_the_users_own_is_followed(shared: Path, token_file: Path) -> None:
    shared.symlink_to(token_file)
    assert sent(GraceDBAuth(URL)) == f"Bearer {token_file.read_text()}"


# What is told


def test_describe_tells_why_each_token_was_passed_over(
    named: Path, default: Path, shared: Path
) -> None:
    write_token(named, FOREIGN)
    write_token(default, EXPIRED)
    write_token(shared, GOOD)
    places = {each["place"]: each for each in GraceDBAuth(URL).describe()["places"]}
    assert places[f"token file {named}"]["found"] == f'a token for "{ELSEWHERE}"'
    assert places[f"token file {default}"]["found"].startswith("a token that expired ")
    assert places[f"token file {shared}"]["used"]


def test_the_log_tells_why_each_token_was_passed_over(
    named: Path, default: Path, shared: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    write_token(named, FOREIGN)
    write_token(default, EXPIRED)
    write_token(shared, GOOD)
    GraceDBAuth(URL)
    first, second = [record.getMessage() for record in caplog.records]
    assert first == f'token file {named} is passed over: it has a token for "{ELSEWHERE}"'
    assert second.startswith(f"token file {default} is passed over: it has a token that expired ")


def test_an_expired_token_that_leaves_nothing_is_a_warning(
    default: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_token(default, EXPIRED)
    GraceDBAuth(URL)
    [record] = caplog.records
    assert record.getMessage() == (
        f"no credential is sent: the token in the token file {default} has expired"
    )


def test_an_audience_shows_no_control_character(
    default: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    write_token(default, make_token(aud="\x1b[31m" * 1000))
    GraceDBAuth(URL)
    assert "\x1b" not in caplog.text
    assert len(caplog.records[0].getMessage()) < 500


# Whatever there is


tokens = st.one_of(
    st.none(),
    st.just("opaque"),
    st.builds(
        lambda aud, exp: make_token(aud=aud, exp=exp),
        st.sampled_from([HERE, ELSEWHERE, "ANY", None, [ELSEWHERE, HERE]]),
        st.sampled_from([1, 4_000_000_000]),
    ),
)


def fits(token: str | None) -> bool:
    return token is not None and token not in {
        make_token(aud=aud, exp=exp)
        for aud in (HERE, ELSEWHERE, "ANY", None, [ELSEWHERE, HERE])
        for exp in (1, 4_000_000_000)
        if exp == 1 or aud == ELSEWHERE
    }


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=st.lists(tokens, min_size=5, max_size=5))
def test_the_token_that_is_sent_is_the_first_that_fits(
    found: list[str | None],
    named: Path,
    condor: Path,
    default: Path,
    shared: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variable, *files = found
    monkeypatch.setenv("BEARER_TOKEN", variable or "")
    for path, token in zip((named, condor / "a.use", default, shared), files, strict=True):
        path.unlink(missing_ok=True)
        if token is not None:
            write_token(path, token)
    first = next(filter(fits, found), None)
    assert sent(GraceDBAuth(URL)) == (first and f"Bearer {first}")


@pytest.mark.parametrize("token", [GOOD, EXPIRED], ids=["fits", "has expired"])
def test_the_token_that_was_judged_is_the_one_that_is_sent(
    token: str, default: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = scitoken._misfit

    def judge_and_replace(*args: Any) -> str | None:
        write_token(default, FOREIGN)
        return judge(*args)

    monkeypatch.setattr(scitoken, "_misfit", judge_and_replace)
    write_token(default, token)
    auth = SciTokenAuth.discover(auth_reload=True, url=URL)
    assert sent(auth) == f"Bearer {token}"


def test_a_token_that_was_discovered_for_a_server_goes_to_no_other(default: Path) -> None:
    write_token(default, GOOD)
    auth = SciTokenAuth.discover(url=URL)
    assert sent(auth) == f"Bearer {GOOD}"
    assert sent(auth, ELSEWHERE) is None


def test_a_netrc_that_has_another_host_does_not_replace_a_token_to_be_renewed(
    default: Path, home: Path
) -> None:
    write_token(default, EXPIRED)
    write_netrc(home, "machine elsewhere.example login user password password")
    assert sent(GraceDBAuth(URL, auth_reload=True)) == f"Bearer {EXPIRED}"
