"""SciTokenAuth: files that are none, tokens as bytes, and processes that are forked."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from requests_gracedb import GraceDBAuth, SciTokenAuth, scitoken
from tests.conftest import make_token, write_token
from tests.unit.credentials import sent

OLD = make_token(exp=1, jti="old")
NEW = make_token(jti="new")


# The token itself


@pytest.mark.parametrize("make", [SciTokenAuth, lambda token: GraceDBAuth(token=token)])
def test_bytes_are_the_token_itself(make: Any) -> None:
    assert sent(make(NEW.encode())) == f"Bearer {NEW}"


def test_bytes_may_end_in_a_line_break() -> None:
    assert sent(SciTokenAuth(f"{NEW}\n".encode())) == f"Bearer {NEW}"


@pytest.mark.parametrize("token", [b"", b"two words", "tök".encode(), b"a\r\nX: b"])
def test_bytes_that_are_no_token_are_a_value_error(token: bytes) -> None:
    with pytest.raises(ValueError, match="token given as bytes"):
        SciTokenAuth(token)


def test_bytes_stay_as_they_are() -> None:
    assert sent(SciTokenAuth(OLD.encode(), auth_reload=True)) == f"Bearer {OLD}"


def test_bytes_pickle() -> None:
    auth = SciTokenAuth(NEW.encode())
    assert pickle.loads(pickle.dumps(auth)) == auth


# Files that are none


def test_a_pipe_is_an_error_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match=f"token file {tmp_path}/pipe is not a regular file"):
        SciTokenAuth(tmp_path / "pipe")


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
def test_a_device_is_an_error(device: str) -> None:
    with pytest.raises(OSError, match=f"{device} is not a regular file"):
        SciTokenAuth(device)


def test_a_file_that_became_a_pipe_keeps_the_token_in_use(
    token_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_token(token_file, OLD)
    auth = SciTokenAuth(token_file, auth_reload=True)
    token_file.unlink()
    os.mkfifo(token_file)
    assert sent(auth) == f"Bearer {OLD}"
    assert f"token file {token_file} is not a regular file" in caplog.records[0].getMessage()


# What messages begin and end with


def test_a_file_that_others_can_write_is_told_with_its_name_first_and_the_remedy_last(
    token_file: Path,
) -> None:
    token_file.chmod(0o622)
    with pytest.raises(PermissionError) as caught:
        SciTokenAuth(token_file)
    assert caught.value.strerror == (
        f"token file {token_file} is writable by other users: run chmod 600 {token_file}; if you "
        "did not write it, get a new token"
    )


def test_a_file_that_others_can_read_is_told_with_its_name_first_and_the_remedy_last(
    token_file: Path,
) -> None:
    token_file.chmod(0o644)
    message = f"^token file {token_file} is readable by other users: run chmod 600 {token_file}$"
    with pytest.warns(UserWarning, match=message):
        SciTokenAuth(token_file)


# Processes


def test_a_process_that_is_forked_while_another_thread_reads_the_token_reads_it_itself(
    token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_token(token_file, OLD)
    auth = SciTokenAuth(token_file, auth_reload=True)
    write_token(token_file, NEW)
    reading, forked = threading.Event(), threading.Event()
    parent, read = os.getpid(), scitoken._TokenFile.read

    def slow_read(source: Any) -> Any:
        if os.getpid() == parent:
            reading.set()
            forked.wait(60)
        return read(source)

    monkeypatch.setattr(scitoken._TokenFile, "read", slow_read)
    thread = threading.Thread(target=sent, args=[auth])
    thread.start()
    reading.wait(60)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(30)  # if it hangs
        os._exit(0 if sent(auth) == f"Bearer {NEW}" else 1)
    forked.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
