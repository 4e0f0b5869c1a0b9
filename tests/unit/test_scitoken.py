"""SciTokenAuth: where the token comes from, when it is read again, and who gets to see it."""

from __future__ import annotations

import base64
import io
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory
from scitokens import SciToken

from requests_gracedb import FormData, GraceDBAuth, SciTokenAuth, scitoken
from tests.conftest import NOBODY, TMP, make_token, write_token
from tests.loopback_server import Answer, Handler, LoopbackServer, redirect

NOON = datetime(2100, 5, 4, 12, tzinfo=timezone.utc)
ONE = NOON.timestamp() + 3600
TWO = ONE + 3600
SECRET = "s3cret"
MAXIMUM = 64 * 1024

OLD = make_token(name="old", exp=ONE)
NEW = make_token(name="new", exp=TWO)


def sent(auth: requests.auth.AuthBase, url: str = "https://localhost/") -> str | None:
    """Get the Authorization header that a request would have."""
    value = requests.Request("GET", url, auth=auth).prepare().headers.get("Authorization")
    assert value is None or isinstance(value, str)
    return value


def everything_in(error: BaseException | None) -> str:
    """Get all that an exception, and those chained to it, could show somebody."""
    if error is None:
        return ""
    own = f"{error!s} {error!r} {error.args} {vars(error)}"
    return own + everything_in(error.__cause__) + everything_in(error.__context__)


def give_files_to(monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    """Let the files of this process belong to another user; only root could really do so."""
    own = os.geteuid()

    def changed(stat: Callable[..., os.stat_result]) -> Callable[..., os.stat_result]:
        def changed_stat(*args: Any, **kwargs: Any) -> os.stat_result:
            status = stat(*args, **kwargs)
            if status.st_uid != own:
                return status
            return os.stat_result([*status[:4], uid, *status[5:10]])

        return changed_stat

    monkeypatch.setattr(os, "stat", changed(os.stat))
    monkeypatch.setattr(os, "fstat", changed(os.fstat))


@pytest.fixture
def clock() -> Iterator[FrozenDateTimeFactory]:
    """A clock that stands still, at noon, until a test moves it."""
    # pytest measures how long a test takes: that clock runs on.
    with freeze_time(NOON, ignore=["_pytest.timing"]) as clock:
        assert isinstance(clock, FrozenDateTimeFactory)
        yield clock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a token that expires at one o'clock."""
    return write_token(tmp_path / "old", OLD)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are opened for a token."""
    names: list[str] = []

    def recording_open(name: str, mode: str, buffering: int) -> io.FileIO:
        names.append(name)
        return open(name, "rb", buffering=0)

    monkeypatch.setattr(scitoken, "open", recording_open, raising=False)
    return names


@pytest.fixture
def unreadable() -> Iterator[Path]:
    """A file that this process may not read, not even if it was started by root."""
    directory = Path(tempfile.mkdtemp(dir="/tmp"))
    directory.chmod(0o755)
    path = write_token(directory / "token", SECRET)
    path.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        os.setresuid(65534, 65534, 0)
    yield path
    if is_root:
        os.setresuid(0, 0, 0)
    shutil.rmtree(directory)


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
    token: Any = SECRET.encode()
    with pytest.raises(TypeError, match="not bytes") as caught:
        SciTokenAuth(token)
    assert SECRET not in everything_in(caught.value)


def test_a_relative_name_is_that_of_a_file_in_the_directory_of_the_time(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: FrozenDateTimeFactory
) -> None:
    monkeypatch.chdir(path.parent)
    auth = SciTokenAuth(path.name, auth_reload=True)
    write_token(path, NEW)
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
    assert caught.value.filename == str(tmp_path / "missing")
    assert str(tmp_path / "missing") in str(caught.value)


def test_a_directory_is_an_os_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="get a token") as caught:
        SciTokenAuth(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_an_unreadable_file_is_an_os_error_that_names_it(unreadable: Path) -> None:
    with pytest.raises(PermissionError, match="Permission denied") as caught:
        SciTokenAuth(unreadable)
    assert str(unreadable) in str(caught.value)
    assert SECRET not in everything_in(caught.value)


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


def test_the_warning_is_given_once_and_not_at_every_reading(
    path: Path, clock: FrozenDateTimeFactory
) -> None:
    path.chmod(0o644)
    with pytest.warns(UserWarning) as caught:
        auth = SciTokenAuth(path, auth_reload=True)
        clock.move_to(datetime.fromtimestamp(ONE, timezone.utc))
        write_token(path, NEW)
        assert sent(auth) == f"Bearer {NEW}"
    assert len(caught) == 1


def test_the_warning_points_at_the_caller(path: Path) -> None:
    path.chmod(0o644)
    with pytest.warns(UserWarning) as caught:
        SciTokenAuth(path)
    assert caught[0].filename == __file__


def test_a_file_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_files_to(monkeypatch, NOBODY)
    with pytest.raises(PermissionError, match="another user"):
        SciTokenAuth(path)


def test_a_file_of_root_is_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_files_to(monkeypatch, 0)
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    assert sent(SciTokenAuth(path)) == f"Bearer {OLD}"


# Bearer token discovery


def test_the_last_place_is_in_tmp() -> None:
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
def test_an_empty_variable_is_none(
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


def test_there_may_be_no_runtime_directory(
    places: list[Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for remove in places[:2]:
        remove()
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    auth = SciTokenAuth.discover()
    assert auth is not None
    assert sent(auth) == "Bearer 3"


def test_a_directory_in_place_of_the_file_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(tmp_path))
    assert SciTokenAuth.discover() is None


def test_a_pipe_in_place_of_the_file_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(tmp_path / "pipe"))
    assert SciTokenAuth.discover() is None


def test_a_file_that_cannot_be_read_is_passed_over(
    unreadable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(unreadable))
    assert SciTokenAuth.discover() is None


def test_a_malformed_file_in_one_of_the_places_is_an_error_and_not_passed_over(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(write_token(path, f"{SECRET} {SECRET}")))
    with pytest.raises(ValueError, match=f"token file {path}") as caught:
        SciTokenAuth.discover()
    assert SECRET not in everything_in(caught.value)


def test_a_file_in_one_of_the_places_that_others_can_write_is_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.chmod(0o622)
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(path))
    with pytest.raises(PermissionError, match="chmod 600"):
        SciTokenAuth.discover()


@pytest.mark.parametrize(
    "value", ["s3cret s3cret", "s3cretä", "s3cret\udcff", "s3cret\nX: s3cret", " "]
)
def test_a_malformed_token_in_the_variable_is_a_value_error_that_does_not_show_it(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEARER_TOKEN", value)
    with pytest.raises(ValueError, match="environment variable BEARER_TOKEN") as caught:
        SciTokenAuth.discover()
    assert SECRET not in everything_in(caught.value)


def test_a_token_in_the_variable_is_read_again(
    monkeypatch: pytest.MonkeyPatch, clock: FrozenDateTimeFactory
) -> None:
    monkeypatch.setenv("BEARER_TOKEN", OLD)
    auth = SciTokenAuth.discover(auth_reload=True)
    assert auth is not None
    monkeypatch.setenv("BEARER_TOKEN", NEW)
    assert sent(auth) == f"Bearer {OLD}"
    clock.move_to(datetime.fromtimestamp(ONE - 300, timezone.utc))
    assert sent(auth) == f"Bearer {NEW}"


def test_a_token_in_the_variable_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEARER_TOKEN", SECRET)
    auth = SciTokenAuth.discover()
    assert repr(auth) == "<SciTokenAuth environment variable BEARER_TOKEN, does not expire>"
    assert SECRET.encode() not in pickle.dumps(auth)


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


def test_a_token_file_needs_no_scitokens(path: Path) -> None:
    program = (
        "import sys, requests_gracedb\n"
        f"requests_gracedb.SciTokenAuth({str(path)!r})\n"
        "sys.exit('scitokens' in sys.modules)"
    )
    top = Path(scitoken.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", program], cwd=top).returncode == 0


# When the token is read again


def test_without_auth_reload_the_file_is_read_once(
    path: Path, clock: FrozenDateTimeFactory, reads: list[str]
) -> None:
    auth = SciTokenAuth(path)
    write_token(path, NEW)
    clock.move_to(datetime.fromtimestamp(TWO, timezone.utc))
    assert sent(auth) == f"Bearer {OLD}"
    assert reads == [str(path)]


@pytest.mark.parametrize(("options", "seconds"), [({}, 300), ({"auth_reload_timeout": 20.5}, 20.5)])
def test_the_file_is_read_again_that_many_seconds_before_the_token_expires_and_not_earlier(
    options: dict[str, float], seconds: float, path: Path, clock: FrozenDateTimeFactory
) -> None:
    auth = SciTokenAuth(path, auth_reload=True, **options)
    write_token(path, NEW)
    due = datetime.fromtimestamp(ONE - seconds, timezone.utc)
    clock.move_to(due - timedelta(milliseconds=1))
    assert sent(auth) == f"Bearer {OLD}"
    clock.move_to(due)
    assert sent(auth) == f"Bearer {NEW}"


def test_the_options_of_gracedb_auth_are_those_of_the_token(
    path: Path, clock: FrozenDateTimeFactory
) -> None:
    auth = GraceDBAuth(token=path, auth_reload=True, auth_reload_timeout=10)
    write_token(path, NEW)
    clock.move_to(datetime.fromtimestamp(ONE - 11, timezone.utc))
    assert sent(auth) == f"Bearer {OLD}"
    clock.move_to(datetime.fromtimestamp(ONE - 10, timezone.utc))
    assert sent(auth) == f"Bearer {NEW}"


def test_a_discovered_file_is_read_again(
    path: Path, clock: FrozenDateTimeFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(path))
    auth = GraceDBAuth(auth_reload=True, auth_reload_timeout=10)
    write_token(path, NEW)
    clock.move_to(datetime.fromtimestamp(ONE - 11, timezone.utc))
    assert sent(auth) == f"Bearer {OLD}"
    clock.move_to(datetime.fromtimestamp(ONE - 10, timezone.utc))
    assert sent(auth) == f"Bearer {NEW}"


@pytest.mark.parametrize("discovered", [False, True])
def test_gracedb_auth_reads_once_unless_it_is_told_otherwise(
    discovered: bool,
    path: Path,
    clock: FrozenDateTimeFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(path))
    auth = GraceDBAuth(token=None if discovered else path)
    write_token(path, NEW)
    clock.move_to(datetime.fromtimestamp(ONE, timezone.utc))
    assert sent(auth) == f"Bearer {OLD}"


def test_the_new_token_decides_when_to_read_next(
    path: Path, clock: FrozenDateTimeFactory, reads: list[str]
) -> None:
    auth = SciTokenAuth(path, auth_reload=True)
    write_token(path, NEW)
    clock.move_to(datetime.fromtimestamp(ONE, timezone.utc))
    sent(auth)
    clock.move_to(datetime.fromtimestamp(TWO - 301, timezone.utc))
    sent(auth)
    assert len(reads) == 2
    clock.move_to(datetime.fromtimestamp(TWO - 300, timezone.utc))
    sent(auth)
    assert len(reads) == 3


def test_a_file_that_is_not_renewed_yet_is_read_at_each_request_until_it_is(
    path: Path, clock: FrozenDateTimeFactory, caplog: pytest.LogCaptureFixture
) -> None:
    auth = SciTokenAuth(path, auth_reload=True)
    clock.move_to(datetime.fromtimestamp(ONE - 300, timezone.utc))
    assert sent(auth) == f"Bearer {OLD}"
    write_token(path, NEW)
    assert sent(auth) == f"Bearer {NEW}"
    assert caplog.records == []


def test_reading_again_leaves_the_connection_open(
    path: Path, clock: FrozenDateTimeFactory, server: LoopbackServer, session: requests.Session
) -> None:
    session.auth = SciTokenAuth(path, auth_reload=True)
    session.get(server.url)
    write_token(path, NEW)
    clock.move_to(datetime.fromtimestamp(ONE, timezone.utc))
    session.get(server.url)
    assert server.authorizations == [f"Bearer {OLD}", f"Bearer {NEW}"]
    assert server.connections == 1


@pytest.mark.parametrize(
    "token", ["opaque", "opaquer", "e30.e30.c2ln", "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"]
)
@pytest.mark.parametrize("previous", ["e", "opaques", OLD])
def test_a_token_of_another_kind_may_be_shorter_than_the_one_before(
    token: str, previous: str, tmp_path: Path, server: LoopbackServer, session: requests.Session
) -> None:
    path = write_token(tmp_path / "token", previous)
    session.auth = SciTokenAuth(path, auth_reload=True)
    write_token(path, token)
    server.script = [Answer(401)]
    session.get(server.url)
    assert server.authorizations == [f"Bearer {previous}", f"Bearer {token}"]


@pytest.mark.parametrize("token", ["eyJ", "eyJopaquer"])
def test_opaque_tokens_may_look_like_the_start_of_another_one(
    token: str, tmp_path: Path, server: LoopbackServer, session: requests.Session
) -> None:
    path = write_token(tmp_path / "token", "eyJopaque")
    session.auth = SciTokenAuth(path, auth_reload=True)
    write_token(path, token)
    server.script = [Answer(401)]
    session.get(server.url)
    assert server.authorizations == ["Bearer eyJopaque", f"Bearer {token}"]


HEADER, PAYLOAD, SIGNATURE = NEW.split(".")
OTHER_HEADER = "eyJhbGciOiJFUzI1NiJ9"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", id="empty"),
        pytest.param("two words", id="two words"),
        pytest.param(NEW[:1], id="one letter"),
        pytest.param(HEADER[:-5], id="cut in the header"),
        pytest.param(HEADER, id="header only"),
        pytest.param(f"{HEADER}.", id="header and dot"),
        pytest.param(f"{HEADER}.{PAYLOAD[:-5]}", id="cut in the payload"),
        pytest.param(f"{HEADER}.{PAYLOAD}", id="no signature"),
        pytest.param(f"{HEADER}.{PAYLOAD}.", id="empty signature"),
        pytest.param(NEW[:-1], id="cut in the signature"),
        pytest.param(f"{OTHER_HEADER}.{PAYLOAD}", id="other header, no signature"),
        pytest.param(f"{OTHER_HEADER}.{PAYLOAD[:-5]}.{SIGNATURE}", id="broken payload"),
    ],
)
def test_a_file_that_is_half_written_keeps_the_token_in_use(
    content: str, path: Path, clock: FrozenDateTimeFactory, caplog: pytest.LogCaptureFixture
) -> None:
    auth = SciTokenAuth(path, auth_reload=True)
    write_token(path, content)
    clock.move_to(datetime.fromtimestamp(ONE, timezone.utc))
    assert sent(auth) == f"Bearer {OLD}"
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.name == "requests_gracedb.scitoken"
    assert str(path) in caplog.text
    assert OLD not in caplog.text
    assert len(content) < 2 or content not in caplog.text


def unlink(path: Path) -> None:
    path.unlink()


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def open_to_others(path: Path) -> None:
    write_token(path, NEW)
    path.chmod(0o620)


@pytest.mark.parametrize("spoil", [unlink, replace_by_directory, open_to_others])
def test_a_file_that_cannot_be_used_any_more_keeps_the_token_in_use(
    spoil: Callable[[Path], None],
    path: Path,
    clock: FrozenDateTimeFactory,
    caplog: pytest.LogCaptureFixture,
) -> None:
    auth = SciTokenAuth(path, auth_reload=True)
    spoil(path)
    clock.move_to(datetime.fromtimestamp(ONE, timezone.utc))
    assert sent(auth) == f"Bearer {OLD}"
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert str(path) in caplog.text
    assert OLD not in caplog.text
    assert NEW not in caplog.text


def test_a_file_that_is_whole_again_is_used(path: Path, clock: FrozenDateTimeFactory) -> None:
    auth = SciTokenAuth(path, auth_reload=True)
    write_token(path, NEW[:-1])
    clock.move_to(datetime.fromtimestamp(ONE, timezone.utc))
    assert sent(auth) == f"Bearer {OLD}"
    write_token(path, NEW)
    assert sent(auth) == f"Bearer {NEW}"


class Turnstile:
    """A lock that lets nobody in before everybody is there."""

    def __init__(self, barrier: threading.Barrier) -> None:
        self._barrier = barrier
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._barrier.wait(timeout=60)
        self._lock.acquire()

    def __exit__(self, *args: object) -> None:
        self._lock.release()


@pytest.mark.parametrize("renewed", [NEW, OLD, ""])
def test_threads_that_find_the_token_stale_at_the_same_time_read_the_file_once(
    renewed: str,
    path: Path,
    clock: FrozenDateTimeFactory,
    reads: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = 8
    barrier = threading.Barrier(threads)
    monkeypatch.setattr(scitoken, "Lock", lambda: Turnstile(barrier))
    auth = SciTokenAuth(path, auth_reload=True)
    reads.clear()
    write_token(path, renewed)
    clock.move_to(datetime.fromtimestamp(ONE, timezone.utc))
    with ThreadPoolExecutor(threads) as pool:
        values = set(pool.map(sent, [auth] * threads))
    assert values == {f"Bearer {NEW if renewed == NEW else OLD}"}
    assert len(reads) == 1


# When the server rejects the token


@pytest.fixture
def picky_server(server: LoopbackServer) -> LoopbackServer:
    """A server that takes the new token only."""
    server.answer = lambda received: Answer(
        200 if received.authorization == f"Bearer {NEW}" else 401, body=b"Unknown token"
    )
    return server


@pytest.fixture
def renewed(path: Path) -> SciTokenAuth:
    """A file with another token than was read from it."""
    auth = SciTokenAuth(path, auth_reload=True)
    write_token(path, NEW)
    return auth


def test_a_rejected_request_is_repeated_with_the_token_that_the_file_holds_by_now(
    renewed: SciTokenAuth, picky_server: LoopbackServer, session: requests.Session
) -> None:
    response = session.get(picky_server.url, auth=renewed)
    assert response.status_code == 200
    assert picky_server.authorizations == [f"Bearer {OLD}", f"Bearer {NEW}"]
    assert response.request.headers["Authorization"] == f"Bearer {NEW}"


def test_the_repeated_request_takes_the_same_connection(
    renewed: SciTokenAuth, picky_server: LoopbackServer, session: requests.Session
) -> None:
    session.post(picky_server.url, auth=renewed, data=b"data")
    assert picky_server.connections == 1


def test_the_rejection_is_in_the_history(
    renewed: SciTokenAuth, picky_server: LoopbackServer, session: requests.Session
) -> None:
    (rejection,) = session.get(picky_server.url, auth=renewed).history
    assert rejection.status_code == 401
    assert rejection.text == "Unknown token"


def test_later_requests_have_the_new_token_at_once(
    renewed: SciTokenAuth, picky_server: LoopbackServer, session: requests.Session
) -> None:
    session.get(picky_server.url, auth=renewed)
    session.get(picky_server.url, auth=renewed)
    assert picky_server.authorizations == [f"Bearer {OLD}", f"Bearer {NEW}", f"Bearer {NEW}"]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"data", id="bytes"),
        pytest.param("data", id="str"),
        pytest.param({"field": "data"}, id="dict"),
        pytest.param(io.BytesIO(b"data"), id="BytesIO"),
        pytest.param(FormData({"field": "data"}, {"file": ("name", b"data")}), id="FormData"),
    ],
)
def test_the_request_is_repeated_with_its_body(
    body: Any, renewed: SciTokenAuth, picky_server: LoopbackServer, session: requests.Session
) -> None:
    session.post(picky_server.url, auth=renewed, data=body)
    first, second = picky_server.requests
    assert b"data" in first.body
    assert second.body == first.body
    assert second.headers["Content-Type"] == first.headers["Content-Type"]


def test_a_file_is_sent_again_from_where_it_stood(
    tmp_path: Path,
    renewed: SciTokenAuth,
    picky_server: LoopbackServer,
    session: requests.Session,
) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    with open(tmp_path / "file", "rb") as file:
        file.seek(3)
        session.post(picky_server.url, auth=renewed, data=file)
    assert [received.body for received in picky_server.requests] == [b"3456789"] * 2


def test_a_generator_is_not_sent_again(
    renewed: SciTokenAuth, picky_server: LoopbackServer, session: requests.Session
) -> None:
    with pytest.raises(requests.HTTPError, match="401"):
        session.post(picky_server.url, auth=renewed, data=(part for part in [b"da", b"ta"]))
    assert [received.body for received in picky_server.requests] == [b"data"]


def test_a_pipe_is_not_sent_again(
    renewed: SciTokenAuth, picky_server: LoopbackServer, session: requests.Session
) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"data")
    os.close(writing)
    with open(reading, "rb") as pipe, pytest.raises(requests.HTTPError, match="401"):
        session.post(picky_server.url, auth=renewed, data=pipe)
    assert [received.body for received in picky_server.requests] == [b"data"]


def test_a_request_is_repeated_once_even_if_yet_another_token_is_there(
    path: Path, server: LoopbackServer, session: requests.Session
) -> None:
    tokens = iter([NEW, OLD, NEW])

    def renew_and_reject(handler: Handler) -> None:
        write_token(path, next(tokens))
        handler.write(Answer(401))

    server.answer = lambda received: renew_and_reject
    with pytest.raises(requests.HTTPError) as caught:
        session.get(server.url, auth=SciTokenAuth(path, auth_reload=True))
    assert caught.value.response is not None
    assert [response.status_code for response in caught.value.response.history] == [401]
    assert server.authorizations == [f"Bearer {OLD}", f"Bearer {NEW}"]


def test_a_token_that_is_still_in_the_file_is_not_sent_again(
    path: Path, picky_server: LoopbackServer, session: requests.Session
) -> None:
    with pytest.raises(requests.HTTPError, match="401"):
        session.get(picky_server.url, auth=SciTokenAuth(path, auth_reload=True))
    assert picky_server.authorizations == [f"Bearer {OLD}"]


def test_a_half_written_token_is_not_sent_after_a_rejection(
    path: Path, picky_server: LoopbackServer, session: requests.Session
) -> None:
    auth = SciTokenAuth(path, auth_reload=True)
    write_token(path, NEW[:-1])
    with pytest.raises(requests.HTTPError, match="401"):
        session.get(picky_server.url, auth=auth)
    assert picky_server.authorizations == [f"Bearer {OLD}"]


def test_without_auth_reload_a_rejected_request_is_not_repeated(
    path: Path, picky_server: LoopbackServer, session: requests.Session
) -> None:
    auth = SciTokenAuth(path)
    write_token(path, NEW)
    with pytest.raises(requests.HTTPError, match="401"):
        session.get(picky_server.url, auth=auth)
    assert picky_server.authorizations == [f"Bearer {OLD}"]


@pytest.mark.parametrize("status", [400, 403, 407, 500])
def test_no_other_status_has_the_request_repeated(
    status: int, renewed: SciTokenAuth, server: LoopbackServer, session: requests.Session
) -> None:
    server.script = [Answer(status)]
    with pytest.raises(requests.HTTPError):
        session.get(server.url, auth=renewed)
    assert server.authorizations == [f"Bearer {OLD}"]


def test_another_origin_that_a_redirect_leads_to_does_not_get_the_new_token_either(
    renewed: SciTokenAuth,
    server: LoopbackServer,
    other_server: LoopbackServer,
    session: requests.Session,
) -> None:
    server.script = [redirect(other_server.url)]
    other_server.answer = lambda received: Answer(401)
    with pytest.raises(requests.HTTPError, match="401"):
        session.get(server.url, auth=renewed)
    assert other_server.authorizations == [None]


def test_another_origin_than_that_of_the_url_does_not_get_the_token_by_rejecting_its_absence(
    path: Path, server: LoopbackServer, other_server: LoopbackServer, session: requests.Session
) -> None:
    session.auth = GraceDBAuth(server.url, token=path, auth_reload=True)
    write_token(path, NEW)
    other_server.answer = lambda received: Answer(401)
    with pytest.raises(requests.HTTPError, match="401"):
        session.get(other_server.url)
    assert other_server.authorizations == [None]


def test_a_rejection_after_a_redirect_to_the_same_origin_has_the_request_repeated(
    renewed: SciTokenAuth, picky_server: LoopbackServer, session: requests.Session
) -> None:
    picky_server.script = [redirect(f"{picky_server.url}/elsewhere")]
    session.get(picky_server.url, auth=renewed)
    assert [received.target for received in picky_server.requests] == [
        "/", "/elsewhere", "/elsewhere"
    ]
    assert picky_server.authorizations == [f"Bearer {OLD}", f"Bearer {OLD}", f"Bearer {NEW}"]


def test_a_redirect_after_a_rejection_gets_the_new_token(
    renewed: SciTokenAuth, server: LoopbackServer, session: requests.Session
) -> None:
    server.script = [Answer(401), redirect("/elsewhere")]
    session.get(server.url, auth=renewed)
    assert server.authorizations == [f"Bearer {OLD}", f"Bearer {NEW}", f"Bearer {NEW}"]


def test_a_request_is_repeated_once_and_not_again_after_a_redirect(
    path: Path, server: LoopbackServer, session: requests.Session
) -> None:
    auth = SciTokenAuth(path, auth_reload=True)
    write_token(path, NEW)

    def renew_and_reject(handler: Handler) -> None:
        write_token(path, OLD)
        handler.write(Answer(401))

    server.script = [Answer(401), redirect("/elsewhere"), renew_and_reject]
    with pytest.raises(requests.HTTPError, match="401"):
        session.get(server.url, auth=auth)
    assert server.authorizations == [f"Bearer {OLD}", f"Bearer {NEW}", f"Bearer {NEW}"]


def test_an_authorization_header_of_the_user_is_not_replaced_after_a_rejection(
    renewed: SciTokenAuth, picky_server: LoopbackServer, session: requests.Session
) -> None:
    request = session.prepare_request(requests.Request("GET", picky_server.url, auth=renewed))
    request.headers["Authorization"] = "own"
    with pytest.raises(requests.HTTPError, match="401"):
        session.send(request)
    assert picky_server.authorizations == ["own"]


def test_a_rejection_leaves_no_token_in_the_error_message(
    path: Path, server: LoopbackServer, session: requests.Session
) -> None:
    server.script = [Answer(401, body=f"{OLD} is not known".encode())]
    with pytest.raises(requests.HTTPError) as caught:
        session.get(server.url, auth=SciTokenAuth(path, auth_reload=True))
    assert OLD not in str(caught.value)


# What shows


def test_the_representation_tells_file_and_expiry_in_utc(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/Los_Angeles")
    time.tzset()
    expected = f"<SciTokenAuth token file {path}, expires 2100-05-04T13:00:00+00:00>"
    representation = repr(SciTokenAuth(path))
    monkeypatch.undo()
    time.tzset()
    assert representation == expected


def test_the_representation_of_gracedb_auth_tells_the_source(path: Path) -> None:
    assert repr(GraceDBAuth(token=path)) == f"<GraceDBAuth {SciTokenAuth(path)!r}>"


@pytest.mark.parametrize("kind", [SciTokenAuth, lambda token: GraceDBAuth(token=token)])
def test_no_part_of_the_token_shows_in_the_representation(
    kind: Callable[[Path], object], path: Path
) -> None:
    assert not any(part in f"{kind(path)!r}{kind(path)!s}" for part in OLD.split("."))


# Pickles


def test_a_pickle_of_a_file_holds_no_token(path: Path) -> None:
    pickled = pickle.dumps(SciTokenAuth(path, auth_reload=True))
    assert not any(part.encode() in pickled for part in OLD.split("."))


def test_a_pickle_of_a_session_holds_no_token(
    path: Path, server: LoopbackServer, session: requests.Session
) -> None:
    session.auth = GraceDBAuth(server.url, token=path)
    session.get(server.url)
    assert OLD.encode() not in pickle.dumps(session)


def test_the_file_is_read_where_the_pickle_is_loaded(path: Path) -> None:
    pickled = pickle.dumps(SciTokenAuth(path))
    write_token(path, NEW)
    assert sent(pickle.loads(pickled)) == f"Bearer {NEW}"


def test_a_pickle_works_in_another_process(path: Path) -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert pool.submit(sent, SciTokenAuth(path)).result() == f"Bearer {OLD}"


@pytest.mark.parametrize("auth_reload", [False, True])
def test_a_pickle_keeps_the_options(
    auth_reload: bool, path: Path, clock: FrozenDateTimeFactory
) -> None:
    auth = pickle.loads(pickle.dumps(SciTokenAuth(path, auth_reload, 10)))
    write_token(path, NEW)
    clock.move_to(datetime.fromtimestamp(ONE - 11, timezone.utc))
    assert sent(auth) == f"Bearer {OLD}"
    clock.move_to(datetime.fromtimestamp(ONE - 10, timezone.utc))
    assert sent(auth) == f"Bearer {NEW if auth_reload else OLD}"


def test_a_pickle_is_bound_to_the_same_origin(path: Path) -> None:
    auth = pickle.loads(pickle.dumps(GraceDBAuth("https://localhost/", token=path)))
    assert sent(auth, "https://localhost/") == f"Bearer {OLD}"
    assert sent(auth, "https://gracedb.invalid/") is None


def test_a_pickle_whose_file_has_gone_is_an_os_error_that_names_it(path: Path) -> None:
    pickled = pickle.dumps(SciTokenAuth(path))
    path.unlink()
    with pytest.raises(FileNotFoundError, match=str(path)):
        pickle.loads(pickled)


# A token from scitokens


@pytest.fixture(scope="session")
def key() -> ec.EllipticCurvePrivateKey:
    """A private key."""
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def signable(key: ec.EllipticCurvePrivateKey, clock: FrozenDateTimeFactory) -> SciToken:
    """A token that holds the private key."""
    token = SciToken(key=key)
    token["iss"] = "https://issuer.invalid"
    return token


@pytest.fixture
def received(signable: SciToken, key: ec.EllipticCurvePrivateKey) -> SciToken:
    """A token of somebody else, without the private key."""
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return SciToken.deserialize(signable.serialize(lifetime=3600), public_key=pem)


def lifetime(value: str | None) -> tuple[float, float]:
    """Get the claims ``iat`` and ``exp`` of a bearer token, in seconds since noon."""
    claims = scitoken.unverified_claims((value or "").removeprefix("Bearer "))
    return claims["iat"] - NOON.timestamp(), claims["exp"] - NOON.timestamp()


def test_a_serialized_scitoken_is_sent_as_it_was_serialized(signable: SciToken) -> None:
    serialized = signable.serialize(lifetime=1000).decode()
    assert sent(SciTokenAuth(signable)) == f"Bearer {serialized}"


def test_a_deserialized_scitoken_is_sent_as_it_was_received(received: SciToken) -> None:
    assert sent(SciTokenAuth(received)) == f"Bearer {received._serialized_token}"


def test_a_scitoken_that_was_not_serialized_yet_is_serialized_for_ten_minutes(
    signable: SciToken,
) -> None:
    assert lifetime(sent(SciTokenAuth(signable))) == (0, 600)


def test_a_scitoken_that_was_never_serialized_and_cannot_be_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="no private key"):
        SciTokenAuth(SciToken())


def test_a_scitoken_is_taken_by_gracedb_auth(signable: SciToken) -> None:
    serialized = signable.serialize().decode()
    assert sent(GraceDBAuth(token=signable)) == f"Bearer {serialized}"


def test_a_scitoken_with_a_key_is_serialized_again_for_as_long_before_it_expires(
    signable: SciToken, clock: FrozenDateTimeFactory
) -> None:
    serialized = signable.serialize(lifetime=1000).decode()
    auth = SciTokenAuth(signable, auth_reload=True)
    clock.move_to(NOON + timedelta(seconds=699))
    assert sent(auth) == f"Bearer {serialized}"
    clock.move_to(NOON + timedelta(seconds=700))
    assert lifetime(sent(auth)) == (700, 1700)
    clock.move_to(NOON + timedelta(seconds=1399))
    assert lifetime(sent(auth)) == (700, 1700)
    clock.move_to(NOON + timedelta(seconds=1400))
    assert lifetime(sent(auth)) == (1400, 2400)


def test_without_auth_reload_a_scitoken_is_not_serialized_again(
    signable: SciToken, clock: FrozenDateTimeFactory
) -> None:
    auth = SciTokenAuth(signable)
    clock.move_to(NOON + timedelta(hours=1))
    assert lifetime(sent(auth)) == (0, 600)


def test_a_scitoken_without_a_key_stays_in_use(
    received: SciToken, clock: FrozenDateTimeFactory, caplog: pytest.LogCaptureFixture
) -> None:
    auth = SciTokenAuth(received, auth_reload=True)
    clock.move_to(NOON + timedelta(hours=2))
    assert sent(auth) == f"Bearer {received._serialized_token}"
    assert caplog.records == []


def test_a_rejected_scitoken_is_not_serialized_again(
    signable: SciToken, server: LoopbackServer, session: requests.Session
) -> None:
    server.script = [Answer(401)]
    with pytest.raises(requests.HTTPError, match="401"):
        session.get(server.url, auth=SciTokenAuth(signable, auth_reload=True))
    assert len(server.requests) == 1


def test_a_request_is_repeated_with_a_scitoken_that_was_serialized_again_in_the_meantime(
    signable: SciToken,
    clock: FrozenDateTimeFactory,
    server: LoopbackServer,
    session: requests.Session,
) -> None:
    auth = SciTokenAuth(signable, auth_reload=True)

    def reject(handler: Handler) -> None:
        clock.move_to(NOON + timedelta(seconds=600))
        sent(auth)
        handler.write(Answer(401))

    server.script = [reject]
    session.get(server.url, auth=auth)
    assert [lifetime(value) for value in server.authorizations] == [(0, 600), (600, 1200)]


def test_the_representation_of_a_scitoken_tells_its_expiry_and_nothing_else(
    signable: SciToken,
) -> None:
    auth = SciTokenAuth(signable)
    assert repr(auth) == "<SciTokenAuth SciToken, expires 2100-05-04T12:10:00+00:00>"


def jwt(header: str, token: str) -> str:
    """Put another header on a token."""
    encoded = base64.urlsafe_b64encode(header.encode()).rstrip(b"=").decode()
    return f"{encoded}.{token.partition('.')[2]}"


def test_a_token_cut_off_while_the_key_changes_is_not_sent(
    session: requests.Session, server: LoopbackServer, path: Path
) -> None:
    auth = SciTokenAuth(path, auth_reload=True)
    new = jwt('{"alg":"RS256","kid":"2"}', OLD)
    write_token(path, new[: new.rindex(".") + 1])
    server.script = [Answer(401)]
    with pytest.raises(requests.HTTPError):
        session.get(server.url, auth=auth)
    assert len(server.requests) == 1


def test_nor_is_one_whose_header_has_white_space_in_it(
    session: requests.Session, server: LoopbackServer, path: Path
) -> None:
    token = jwt('{ "alg": "RS256" }', OLD)
    write_token(path, token)
    auth = SciTokenAuth(path, auth_reload=True)
    write_token(path, token[: token.rindex(".") - 6])
    server.script = [Answer(401)]
    with pytest.raises(requests.HTTPError):
        session.get(server.url, auth=auth)
    assert len(server.requests) == 1


def test_a_prepared_request_that_was_repeated_can_be_sent_again(
    session: requests.Session, server: LoopbackServer, path: Path
) -> None:
    auth = SciTokenAuth(path, auth_reload=True)
    request = session.prepare_request(requests.Request("GET", server.url, auth=auth))
    write_token(path, NEW)
    server.answer = lambda received: Answer(
        200 if received.authorization == f"Bearer {NEW}" else 401
    )
    assert [session.send(request).status_code for _ in range(2)] == [200, 200]


@pytest.fixture
def signed() -> SciToken:
    """A token with a private key."""
    token = SciToken(key=ec.generate_private_key(ec.SECP256R1()))
    token["iss"] = "https://issuer.example"
    return token


def test_a_scitoken_that_cannot_be_serialized_is_an_error_at_once(signed: SciToken) -> None:
    del signed["iss"]
    with pytest.raises(ValueError, match="cannot be serialized"):
        SciTokenAuth(signed)


@freeze_time("2100-01-01")
def test_a_scitoken_that_cannot_be_serialized_any_more_stays_in_use(
    signed: SciToken, caplog: pytest.LogCaptureFixture
) -> None:
    auth = SciTokenAuth(signed, auth_reload=True)
    before = sent(auth)
    del signed["iss"]
    with freeze_time("2100-01-01 00:09:00"):
        assert sent(auth) == before
    assert "cannot be serialized" in caplog.text


def test_a_scitoken_that_lives_shortly_is_serialized_once_for_many_requests(
    signed: SciToken,
) -> None:
    with freeze_time("2100-01-01") as clock:
        signed.serialize(lifetime=100)
        auth = SciTokenAuth(signed, auth_reload=True)
        clock.tick(10)
        first = sent(auth)
        clock.tick(10)
        assert sent(auth) == first
        clock.tick(40)
        assert sent(auth) != first


def test_a_token_is_read_by_a_single_call_of_the_system(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    class Rewritten(io.FileIO):
        """A file that is rewritten as soon as somebody has read of it."""

        def readinto(self, buffer: Any) -> int | None:
            calls.append(len(buffer))
            size = super().readinto(buffer)
            write_token(path, f"{OLD}and-more")
            return size

        def read(self, size: int | None = -1) -> bytes:
            calls.append(size)
            content = super().read(size)
            write_token(path, f"{OLD}and-more")
            return content

    monkeypatch.setattr(scitoken, "open", lambda name, *_, **__: Rewritten(name), raising=False)
    assert sent(SciTokenAuth(path)) == f"Bearer {OLD}"
    assert len(calls) == 1
