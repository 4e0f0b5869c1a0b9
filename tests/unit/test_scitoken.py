"""SciTokenAuth: a token from a file, and who gets to see it."""

from __future__ import annotations

import base64
import os
import pickle
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timezone
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import requests
from freezegun.api import FrozenDateTimeFactory

from requests_gracedb import GraceDBAuth, SciTokenAuth, scitoken
from tests.conftest import NOBODY, everything_in, make_token, write_token
from tests.loopback_server import LoopbackServer
from tests.unit.credentials import NEW, OLD, ONE, SECRET, give_files_to, sent

MAXIMUM = 64 * 1024


# A token from a file


@pytest.mark.parametrize("kind", [str, Path])
def test_a_token_in_a_file_is_sent_as_a_bearer_token(kind: type[Any], token_file: Path) -> None:
    assert sent(SciTokenAuth(kind(token_file))) == f"Bearer {token_file.read_text()}"


def test_the_token_arrives_with_every_request_of_the_session(
    token_file: Path, server: LoopbackServer, session: requests.Session
) -> None:
    session.auth = SciTokenAuth(token_file)
    session.get(server.url)
    session.get(server.url)
    assert server.authorizations == [f"Bearer {token_file.read_text()}"] * 2


def test_the_token_arrives_with_the_one_request_that_it_is_passed_to(
    token_file: Path, server: LoopbackServer, session: requests.Session
) -> None:
    session.get(server.url, auth=SciTokenAuth(token_file))
    session.get(server.url)
    assert server.authorizations == [f"Bearer {token_file.read_text()}", None]


def test_the_token_arrives_over_tls(
    token_file: Path, tls_server: LoopbackServer, session: requests.Session
) -> None:
    session.get(tls_server.url, auth=SciTokenAuth(token_file))
    assert tls_server.authorizations == [f"Bearer {token_file.read_text()}"]


def test_a_token_of_no_known_type_is_a_type_error_that_does_not_show_it() -> None:
    token: Any = [SECRET]
    with pytest.raises(TypeError, match="not list") as caught:
        SciTokenAuth(token)
    assert SECRET not in everything_in(caught.value)


def test_a_relative_name_is_that_of_a_file_in_the_directory_of_the_time(
    expiring_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clock: FrozenDateTimeFactory,
) -> None:
    monkeypatch.chdir(expiring_file.parent)
    auth = SciTokenAuth(expiring_file.name, auth_reload=True)
    write_token(expiring_file, NEW)
    monkeypatch.chdir("/")
    clock.move_to(datetime.fromtimestamp(ONE, timezone.utc))
    assert sent(auth) == f"Bearer {NEW}"


def test_white_space_around_the_token_is_ignored(tmp_path: Path) -> None:
    path = write_token(tmp_path / "token", b" \r\n\ttoken\n \n")
    assert sent(SciTokenAuth(path)) == "Bearer token"


def test_every_character_of_a_b64token_is_sent(tmp_path: Path) -> None:
    token = "AZaz09-._~+/=="
    assert sent(SciTokenAuth(write_token(tmp_path / "token", token))) == f"Bearer {token}"


def test_a_file_of_64_kibibytes_is_read(tmp_path: Path) -> None:
    token = "a" * MAXIMUM
    assert sent(SciTokenAuth(write_token(tmp_path / "token", token))) == f"Bearer {token}"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b" \n\n", id="white space only"),
        pytest.param(b"s3cret s3cret", id="two words"),
        pytest.param(b"Bearer s3cret", id="a header"),
        pytest.param(b"s3cret\ns3cret\n", id="two lines"),
        pytest.param(b"s3cret\r\nX-Injected: s3cret", id="header injection"),
        pytest.param("s3cretä".encode(), id="not ASCII"),
        pytest.param(b"s3cret\xff", id="not UTF-8"),
        pytest.param(b"\xef\xbb\xbfs3cret", id="byte order mark"),
        pytest.param(b"s3cret\0", id="zero byte"),
        pytest.param(b'{"access_token": "s3cret"}', id="JSON"),
        pytest.param(b"s3cret=s3cret", id="padding in the middle"),
        pytest.param(b"s3cret" * MAXIMUM, id="oversized"),
        pytest.param(b"s3cret".ljust(MAXIMUM + 1), id="oversized by a space"),
    ],
)
def test_anything_but_one_token_is_a_value_error_that_names_the_file_and_shows_none_of_it(
    content: bytes, tmp_path: Path
) -> None:
    path = write_token(tmp_path / "token", content)
    with pytest.raises(ValueError, match="token file") as caught:
        SciTokenAuth(path)
    assert str(path) in str(caught.value)
    assert SECRET not in everything_in(caught.value)


def test_a_huge_file_is_not_read_to_the_end(tmp_path: Path) -> None:
    path = write_token(tmp_path / "token", SECRET)
    os.truncate(path, 100 * 1024 * 1024)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="over 65536 bytes"):
            SciTokenAuth(path)
        assert tracemalloc.get_traced_memory()[1] < 1024 * 1024
    finally:
        tracemalloc.stop()


def test_a_missing_file_is_an_os_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="get a token") as caught:
        SciTokenAuth(tmp_path / "missing")
    assert str(tmp_path / "missing") in str(caught.value)
    assert str(tmp_path / "missing") in str(caught.value)


def test_a_directory_is_an_os_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=f"{tmp_path} is not a regular file"):
        SciTokenAuth(tmp_path)


def test_an_unreadable_file_is_an_os_error_that_names_it(unreadable: Path) -> None:
    with pytest.raises(PermissionError, match="Permission denied") as caught:
        SciTokenAuth(unreadable)
    assert str(unreadable) in str(caught.value)
    assert SECRET not in everything_in(caught.value)


def test_a_token_is_read_by_a_single_call_of_the_system(
    expiring_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = os.read

    def read_and_rewrite(descriptor: int, size: int) -> bytes:
        """Read of a file that is rewritten as soon as somebody has read of it."""
        content = read(descriptor, size)
        write_token(expiring_file, f"{OLD}and-more")
        return content

    monkeypatch.setattr(os, "read", read_and_rewrite)
    assert sent(SciTokenAuth(expiring_file)) == f"Bearer {OLD}"


# Whose file it is


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_refused(mode: int, tmp_path: Path) -> None:
    path = write_token(tmp_path / "token", SECRET)
    path.chmod(mode)
    with pytest.raises(PermissionError, match="chmod 600") as caught:
        SciTokenAuth(path)
    assert str(path) in str(caught.value)
    assert SECRET not in everything_in(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_file_that_others_can_read_is_used_with_a_warning(mode: int, tmp_path: Path) -> None:
    path = write_token(tmp_path / "token", SECRET)
    path.chmod(mode)
    with pytest.warns(UserWarning, match=f"chmod 600 {path}") as caught:
        auth = SciTokenAuth(path)
    assert sent(auth) == f"Bearer {SECRET}"
    assert SECRET not in str(caught[0].message)


def test_the_warning_of_a_file_that_others_can_read_is_given_once(
    expiring_file: Path, clock: FrozenDateTimeFactory
) -> None:
    expiring_file.chmod(0o644)
    with pytest.warns(UserWarning) as caught:
        auth = SciTokenAuth(expiring_file, auth_reload=True)
        clock.move_to(datetime.fromtimestamp(ONE, timezone.utc))
        write_token(expiring_file, NEW)
        assert sent(auth) == f"Bearer {NEW}"
    assert len(caught) == 1


def test_the_warning_of_a_file_that_others_can_read_points_at_the_caller(
    expiring_file: Path
) -> None:
    expiring_file.chmod(0o644)
    with pytest.warns(UserWarning) as caught:
        SciTokenAuth(expiring_file)
    assert caught[0].filename == __file__


def test_a_file_of_another_user_is_refused(
    expiring_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_files_to(monkeypatch, NOBODY)
    with pytest.raises(PermissionError, match="another user"):
        SciTokenAuth(expiring_file)


def test_a_file_of_root_is_used(expiring_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_files_to(monkeypatch, 0)
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    assert sent(SciTokenAuth(expiring_file)) == f"Bearer {OLD}"


# Claims


def test_the_signature_is_not_verified_and_no_key_is_fetched(
    tmp_path: Path, tls_server: LoopbackServer
) -> None:
    token = make_token(b"forged", iss=tls_server.url, exp=ONE)
    auth = SciTokenAuth(write_token(tmp_path / "token", token), auth_reload=True)
    assert "2100-05-04T13:00:00" in repr(auth)
    assert tls_server.connections == 0


@pytest.mark.parametrize(
    "claims",
    [{}, *({"exp": exp} for exp in (None, "soon", [1], float("nan"), 10**400, 1e300))],
)
def test_a_token_without_a_usable_expiry_does_not_expire(
    claims: dict[str, Any], tmp_path: Path, reads: list[str]
) -> None:
    path = write_token(tmp_path / "token", make_token(**claims))
    auth = SciTokenAuth(path, auth_reload=True)
    sent(auth)
    assert "does not expire" in repr(auth)
    assert len(reads) == 1


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("opaque", id="opaque"),
        pytest.param("a.b.c", id="not base64"),
        pytest.param("e30.W10.c2ln", id="claims that are a list"),
        pytest.param("e30._w.c2ln", id="claims that are not UTF-8"),
        pytest.param(f"e30.{base64.b64encode(b'[' * 30_000).decode()}.c2ln", id="nested claims"),
    ],
)
def test_a_token_that_is_no_json_web_token_is_sent_as_it_is(token: str, tmp_path: Path) -> None:
    auth = SciTokenAuth(write_token(tmp_path / "token", token), auth_reload=True)
    assert sent(auth) == f"Bearer {token}"
    assert "does not expire" in repr(auth)


def test_a_token_file_needs_no_scitokens(expiring_file: Path) -> None:
    program = (
        "import sys, requests_gracedb\n"
        f"requests_gracedb.SciTokenAuth({str(expiring_file)!r})\n"
        "sys.exit('scitokens' in sys.modules)"
    )
    top = Path(scitoken.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", program], cwd=top).returncode == 0


# What shows


def test_the_representation_of_a_token_tells_file_and_expiry_in_utc(
    expiring_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/Los_Angeles")
    time.tzset()
    expected = f"<SciTokenAuth token file {expiring_file}, expires 2100-05-04T13:00:00+00:00>"
    representation = repr(SciTokenAuth(expiring_file))
    monkeypatch.undo()
    time.tzset()
    assert representation == expected


def test_the_representation_of_gracedb_auth_tells_the_source(expiring_file: Path) -> None:
    source = SciTokenAuth(expiring_file)
    assert repr(GraceDBAuth(token=expiring_file)) == f"<GraceDBAuth {source!r}>"


@pytest.mark.parametrize("kind", [SciTokenAuth, lambda token: GraceDBAuth(token=token)])
def test_no_part_of_the_token_shows_in_the_representation(
    kind: Callable[[Path], object], expiring_file: Path
) -> None:
    auth = kind(expiring_file)
    assert not any(part in f"{auth!r}{auth!s}" for part in OLD.split("."))


# Pickles


def test_a_pickle_of_a_file_holds_no_token(expiring_file: Path) -> None:
    pickled = pickle.dumps(SciTokenAuth(expiring_file, auth_reload=True))
    assert not any(part.encode() in pickled for part in OLD.split("."))


def test_a_pickle_of_a_session_holds_no_token(
    expiring_file: Path, server: LoopbackServer, session: requests.Session
) -> None:
    session.auth = GraceDBAuth(server.url, token=expiring_file)
    session.get(server.url)
    assert OLD.encode() not in pickle.dumps(session)


def test_the_file_is_read_where_the_pickle_is_loaded(expiring_file: Path) -> None:
    pickled = pickle.dumps(SciTokenAuth(expiring_file))
    write_token(expiring_file, NEW)
    assert sent(pickle.loads(pickled)) == f"Bearer {NEW}"


def test_a_pickle_works_in_another_process(expiring_file: Path) -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert pool.submit(sent, SciTokenAuth(expiring_file)).result() == f"Bearer {OLD}"


@pytest.mark.parametrize("auth_reload", [False, True])
def test_a_pickle_keeps_the_options(
    auth_reload: bool, expiring_file: Path, clock: FrozenDateTimeFactory
) -> None:
    auth = pickle.loads(pickle.dumps(SciTokenAuth(expiring_file, auth_reload, 10)))
    write_token(expiring_file, NEW)
    clock.move_to(datetime.fromtimestamp(ONE - 11, timezone.utc))
    assert sent(auth) == f"Bearer {OLD}"
    clock.move_to(datetime.fromtimestamp(ONE - 10, timezone.utc))
    assert sent(auth) == f"Bearer {NEW if auth_reload else OLD}"


def test_a_pickle_is_bound_to_the_same_origin(expiring_file: Path) -> None:
    auth = pickle.loads(pickle.dumps(GraceDBAuth("https://localhost/", token=expiring_file)))
    assert sent(auth, "https://localhost/") == f"Bearer {OLD}"
    assert sent(auth, "https://gracedb.invalid/") is None


def test_a_pickle_whose_file_has_gone_is_an_os_error_that_names_it(expiring_file: Path) -> None:
    pickled = pickle.dumps(SciTokenAuth(expiring_file))
    expiring_file.unlink()
    with pytest.raises(FileNotFoundError, match=str(expiring_file)):
        pickle.loads(pickled)
