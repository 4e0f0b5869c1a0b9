"""SciTokenAuth: when the token is read again."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import requests
from freezegun.api import FrozenDateTimeFactory

from requests_gracedb import GraceDBAdapter, GraceDBAuth, SciTokenAuth, scitoken
from tests.conftest import write_token
from tests.loopback_server import Answer, LoopbackServer
from tests.unit.credentials import NEW, OLD, ONE, TWO, sent


def test_without_auth_reload_the_file_is_read_once(
    expiring_file: Path, clock: FrozenDateTimeFactory, reads: list[str]
) -> None:
    auth = SciTokenAuth(expiring_file)
    write_token(expiring_file, NEW)
    clock.move_to(datetime.fromtimestamp(TWO, timezone.utc))
    assert sent(auth) == f"Bearer {OLD}"
    assert reads == [str(expiring_file)]


@pytest.mark.parametrize(("options", "seconds"), [({}, 300), ({"auth_reload_timeout": 20.5}, 20.5)])
def test_the_file_is_read_again_that_many_seconds_before_the_token_expires_and_not_earlier(
    options: dict[str, float], seconds: float, expiring_file: Path, clock: FrozenDateTimeFactory
) -> None:
    auth = SciTokenAuth(expiring_file, auth_reload=True, **options)
    write_token(expiring_file, NEW)
    due = datetime.fromtimestamp(ONE - seconds, timezone.utc)
    clock.move_to(due - timedelta(milliseconds=1))
    assert sent(auth) == f"Bearer {OLD}"
    clock.move_to(due)
    assert sent(auth) == f"Bearer {NEW}"


def test_the_options_of_gracedb_auth_are_those_of_the_token(
    expiring_file: Path, clock: FrozenDateTimeFactory
) -> None:
    auth = GraceDBAuth(token=expiring_file, auth_reload=True, auth_reload_timeout=10)
    write_token(expiring_file, NEW)
    clock.move_to(datetime.fromtimestamp(ONE - 11, timezone.utc))
    assert sent(auth) == f"Bearer {OLD}"
    clock.move_to(datetime.fromtimestamp(ONE - 10, timezone.utc))
    assert sent(auth) == f"Bearer {NEW}"


def test_a_discovered_file_is_read_again(
    expiring_file: Path, clock: FrozenDateTimeFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(expiring_file))
    auth = GraceDBAuth(auth_reload=True, auth_reload_timeout=10)
    write_token(expiring_file, NEW)
    clock.move_to(datetime.fromtimestamp(ONE - 11, timezone.utc))
    assert sent(auth) == f"Bearer {OLD}"
    clock.move_to(datetime.fromtimestamp(ONE - 10, timezone.utc))
    assert sent(auth) == f"Bearer {NEW}"


@pytest.mark.parametrize("discovered", [False, True])
def test_gracedb_auth_reads_once_unless_it_is_told_otherwise(
    discovered: bool,
    expiring_file: Path,
    clock: FrozenDateTimeFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(expiring_file))
    auth = GraceDBAuth(token=None if discovered else expiring_file)
    write_token(expiring_file, NEW)
    clock.move_to(datetime.fromtimestamp(ONE, timezone.utc))
    assert sent(auth) == f"Bearer {OLD}"


def test_the_new_token_decides_when_to_read_next(
    expiring_file: Path, clock: FrozenDateTimeFactory, reads: list[str]
) -> None:
    auth = SciTokenAuth(expiring_file, auth_reload=True)
    write_token(expiring_file, NEW)
    clock.move_to(datetime.fromtimestamp(ONE, timezone.utc))
    sent(auth)
    clock.move_to(datetime.fromtimestamp(TWO - 301, timezone.utc))
    sent(auth)
    assert len(reads) == 2
    clock.move_to(datetime.fromtimestamp(TWO - 300, timezone.utc))
    sent(auth)
    assert len(reads) == 3


def test_a_file_that_is_not_renewed_yet_is_read_at_each_request_until_it_is(
    expiring_file: Path, clock: FrozenDateTimeFactory, caplog: pytest.LogCaptureFixture
) -> None:
    auth = SciTokenAuth(expiring_file, auth_reload=True)
    clock.move_to(datetime.fromtimestamp(ONE - 300, timezone.utc))
    assert sent(auth) == f"Bearer {OLD}"
    write_token(expiring_file, NEW)
    assert sent(auth) == f"Bearer {NEW}"
    assert caplog.records == []


def test_reading_again_leaves_the_connection_open(
    expiring_file: Path,
    clock: FrozenDateTimeFactory,
    server: LoopbackServer,
    session: requests.Session,
) -> None:
    # An hour passes.
    session.mount(server.url, GraceDBAdapter(idle_timeout=None))
    session.auth = SciTokenAuth(expiring_file, auth_reload=True)
    session.get(server.url)
    write_token(expiring_file, NEW)
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
    content: str,
    expiring_file: Path,
    clock: FrozenDateTimeFactory,
    caplog: pytest.LogCaptureFixture,
) -> None:
    auth = SciTokenAuth(expiring_file, auth_reload=True)
    write_token(expiring_file, content)
    clock.move_to(datetime.fromtimestamp(ONE - 1, timezone.utc))
    assert sent(auth) == f"Bearer {OLD}"
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.name == "requests_gracedb.scitoken"
    assert str(expiring_file) in caplog.text
    assert OLD not in caplog.text
    assert len(content) < 2 or content not in caplog.text


def unlink(expiring_file: Path) -> None:
    expiring_file.unlink()


def replace_by_directory(expiring_file: Path) -> None:
    expiring_file.unlink()
    expiring_file.mkdir()


def open_to_others(expiring_file: Path) -> None:
    write_token(expiring_file, NEW)
    expiring_file.chmod(0o620)


@pytest.mark.parametrize("spoil", [unlink, replace_by_directory, open_to_others])
def test_a_file_that_cannot_be_used_any_more_keeps_the_token_in_use(
    spoil: Callable[[Path], None],
    expiring_file: Path,
    clock: FrozenDateTimeFactory,
    caplog: pytest.LogCaptureFixture,
) -> None:
    auth = SciTokenAuth(expiring_file, auth_reload=True)
    spoil(expiring_file)
    clock.move_to(datetime.fromtimestamp(ONE - 1, timezone.utc))
    assert sent(auth) == f"Bearer {OLD}"
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert str(expiring_file) in caplog.text
    assert OLD not in caplog.text
    assert NEW not in caplog.text


def test_a_file_that_was_half_written_is_used_when_it_is_whole(
    expiring_file: Path, clock: FrozenDateTimeFactory
) -> None:
    auth = SciTokenAuth(expiring_file, auth_reload=True)
    write_token(expiring_file, NEW[:-1])
    clock.move_to(datetime.fromtimestamp(ONE, timezone.utc))
    assert sent(auth) == f"Bearer {OLD}"
    write_token(expiring_file, NEW)
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
    expiring_file: Path,
    clock: FrozenDateTimeFactory,
    reads: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = 8
    barrier = threading.Barrier(threads)
    monkeypatch.setattr(scitoken, "Lock", lambda: Turnstile(barrier))
    auth = SciTokenAuth(expiring_file, auth_reload=True)
    reads.clear()
    write_token(expiring_file, renewed)
    clock.move_to(datetime.fromtimestamp(ONE, timezone.utc))
    with ThreadPoolExecutor(threads) as pool:
        values = set(pool.map(sent, [auth] * threads))
    assert values == {f"Bearer {NEW if renewed == NEW else OLD}"}
    assert len(reads) == 1


def jwt(header: str, token: str) -> str:
    """Put another header on a token."""
    encoded = base64.urlsafe_b64encode(header.encode()).rstrip(b"=").decode()
    return f"{encoded}.{token.partition('.')[2]}"


def test_a_token_cut_off_while_the_key_changes_is_not_sent(
    session: requests.Session, server: LoopbackServer, expiring_file: Path
) -> None:
    auth = SciTokenAuth(expiring_file, auth_reload=True)
    new = jwt('{"alg":"RS256","kid":"2"}', OLD)
    write_token(expiring_file, new[: new.rindex(".") + 1])
    server.script = [Answer(401)]
    with pytest.raises(requests.HTTPError):
        session.get(server.url, auth=auth)
    assert len(server.requests) == 1


def test_a_token_cut_off_after_a_header_with_white_space_is_not_sent(
    session: requests.Session, server: LoopbackServer, expiring_file: Path
) -> None:
    token = jwt('{ "alg": "RS256" }', OLD)
    write_token(expiring_file, token)
    auth = SciTokenAuth(expiring_file, auth_reload=True)
    write_token(expiring_file, token[: token.rindex(".") - 6])
    server.script = [Answer(401)]
    with pytest.raises(requests.HTTPError):
        session.get(server.url, auth=auth)
    assert len(server.requests) == 1
