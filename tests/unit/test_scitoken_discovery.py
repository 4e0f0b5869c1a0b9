"""SciTokenAuth.discover: the places of WLCG Bearer Token Discovery."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
from freezegun.api import FrozenDateTimeFactory

from requests_gracedb import SciTokenAuth, scitoken
from tests.conftest import NOBODY, TMP, everything_in, write_token
from tests.unit.credentials import NEW, OLD, ONE, SECRET, give_files_to, sent


def test_the_last_place_of_discovery_is_in_tmp() -> None:
    assert TMP == "/tmp"


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Callable[[], None]]]:
    """A token in each place, named for its rank, and what takes it away."""
    uid = NOBODY + os.getpid()
    give_files_to(monkeypatch, uid)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    files = [
        write_token(tmp_path / "named", "1"),
        write_token(tmp_path / f"bt_u{uid}", "2"),
        write_token(Path(scitoken._TMP) / f"bt_u{uid}", "3"),
    ]
    monkeypatch.setenv("BEARER_TOKEN", "0")
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(files[0]))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    yield [lambda: monkeypatch.delenv("BEARER_TOKEN"), *(file.unlink for file in files)]


@pytest.mark.parametrize("rank", range(4))
def test_the_first_place_that_has_a_token_wins(
    rank: int, places: list[Callable[[], None]]
) -> None:
    for remove in places[:rank]:
        remove()
    auth = SciTokenAuth.discover()
    assert auth is not None
    assert sent(auth) == f"Bearer {rank}"


def test_no_token_in_any_place_is_nothing(places: list[Callable[[], None]]) -> None:
    for remove in places:
        remove()
    assert SciTokenAuth.discover() is None


@pytest.mark.parametrize("name", ["BEARER_TOKEN", "BEARER_TOKEN_FILE", "XDG_RUNTIME_DIR"])
def test_an_empty_environment_variable_is_passed_over(
    name: str,
    places: list[Callable[[], None]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    rank = ["BEARER_TOKEN", "BEARER_TOKEN_FILE", "XDG_RUNTIME_DIR"].index(name)
    for remove in places[:rank]:
        remove()
    monkeypatch.setenv(name, "")
    auth = SciTokenAuth.discover()
    assert auth is not None
    assert sent(auth) == f"Bearer {rank + 1}"


def test_discovery_can_do_without_a_runtime_directory(
    places: list[Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for remove in places[:2]:
        remove()
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    auth = SciTokenAuth.discover()
    assert auth is not None
    assert sent(auth) == "Bearer 3"


def test_a_directory_in_place_of_a_token_file_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(tmp_path))
    assert SciTokenAuth.discover() is None


def test_a_pipe_in_place_of_a_token_file_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(tmp_path / "pipe"))
    assert SciTokenAuth.discover() is None


def test_a_token_file_that_cannot_be_read_is_passed_over(
    unreadable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(unreadable))
    assert SciTokenAuth.discover() is None


def test_a_malformed_token_file_is_an_error_and_not_passed_over(
    expiring_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(write_token(expiring_file, f"{SECRET} {SECRET}")))
    with pytest.raises(ValueError, match=f"token file {expiring_file}") as caught:
        SciTokenAuth.discover()
    assert SECRET not in everything_in(caught.value)


def test_a_token_file_that_others_can_write_is_an_error_and_not_passed_over(
    expiring_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expiring_file.chmod(0o622)
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(expiring_file))
    with pytest.raises(PermissionError, match="chmod 600"):
        SciTokenAuth.discover()


@pytest.mark.parametrize(
    "value", ["s3cret s3cret", "s3cretä", "s3cret\udcff", "s3cret\nX: s3cret", " "]
)
def test_a_malformed_token_in_the_environment_is_a_value_error_that_does_not_show_it(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEARER_TOKEN", value)
    with pytest.raises(ValueError, match="environment variable BEARER_TOKEN") as caught:
        SciTokenAuth.discover()
    assert SECRET not in everything_in(caught.value)


def test_the_name_of_a_file_in_place_of_a_token_is_a_value_error(
    token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEARER_TOKEN", str(token_file))
    with pytest.raises(ValueError, match="the name of a file: put it into BEARER_TOKEN_FILE"):
        SciTokenAuth.discover()


def test_a_token_in_the_environment_is_read_again(
    monkeypatch: pytest.MonkeyPatch, clock: FrozenDateTimeFactory
) -> None:
    monkeypatch.setenv("BEARER_TOKEN", OLD)
    auth = SciTokenAuth.discover(auth_reload=True)
    assert auth is not None
    monkeypatch.setenv("BEARER_TOKEN", NEW)
    assert sent(auth) == f"Bearer {OLD}"
    clock.move_to(datetime.fromtimestamp(ONE - 300, timezone.utc))
    assert sent(auth) == f"Bearer {NEW}"


def test_a_token_in_the_environment_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEARER_TOKEN", SECRET)
    auth = SciTokenAuth.discover()
    assert repr(auth) == "<SciTokenAuth environment variable BEARER_TOKEN, does not expire>"
    assert SECRET.encode() not in pickle.dumps(auth)
