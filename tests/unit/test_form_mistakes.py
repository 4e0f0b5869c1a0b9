"""What is easily mistaken for a file of a form, and files that are no longer what they were."""

from __future__ import annotations

import gzip
import http.client
import io
import os
import pickle
import queue
import ssl
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from requests_gracedb import FormData, GraceDBAdapter
from tests.conftest import CONTENT, Waits, mounted
from tests.loopback_server import LoopbackServer, Received
from tests.unit.forms import MIB, Echo, assert_is_broken_off, pipe, uploaded

POOL = urllib3.HTTPConnectionPool("localhost")


# Files in data


@pytest.mark.parametrize("is_listed", [False, True])
def test_a_path_in_data_is_refused(event_file: Path, is_listed: bool) -> None:
    with pytest.raises(TypeError, match="'eventFile' .* pass it in files"):
        FormData({"eventFile": [event_file] if is_listed else event_file})


@pytest.mark.parametrize("mode", ["r", "rb"])
@pytest.mark.parametrize("is_listed", [False, True])
def test_an_open_file_in_data_is_refused(event_file: Path, mode: str, is_listed: bool) -> None:
    with event_file.open(mode) as file, pytest.raises(TypeError, match="pass it in files"):
        FormData({"eventFile": [file] if is_listed else file})


def test_a_file_in_memory_in_data_is_refused() -> None:
    with pytest.raises(TypeError, match="pass it in files"):
        FormData([("eventFile", io.BytesIO(CONTENT))])


# Names as content


@pytest.mark.parametrize("file", ["coinc.xml", ("event.xml", "coinc.xml")], ids=["text", "tuple"])
def test_text_that_names_a_file_is_worth_a_warning(
    file: Any, echo: Echo, event_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(event_file.parent)
    with pytest.warns(UserWarning, match="pass a path object") as caught:
        form = FormData(files={"eventFile": file})
    assert caught[0].filename == __file__
    assert echo(form)["files"][0]["size"] == len("coinc.xml")


def test_several_names_in_place_of_content_are_one_warning(event_file: Path) -> None:
    with pytest.warns(UserWarning) as caught:
        FormData(files={"eventFile": str(event_file), "upload": ("a", str(event_file))})
    assert len(caught) == 1


@pytest.mark.parametrize("text", ["nowhere.xml", "<LIGO_LW/>", "a\0b", "x" * 100_000, ""])
def test_a_text_that_names_no_file_is_no_warning(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FormData(files={"eventFile": ("coinc.xml", text)})


def test_bytes_that_name_a_file_are_no_warning(event_file: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FormData(files={"eventFile": os.fsencode(event_file)})


# Files that change


Changed = Callable[[FormData], None]


@pytest.fixture(params=["path", "open file"])
def form(request: pytest.FixtureRequest, event_file: Path) -> Iterator[FormData]:
    """A form with a file on disk that has been there for long."""
    os.utime(event_file, (0, 0))
    if request.param == "path":
        yield FormData(files={"eventFile": event_file})
    else:
        with event_file.open("rb") as file:
            yield FormData(files={"eventFile": file})


@pytest.fixture
def assert_is_changed(
    uploading: requests.Session, server: LoopbackServer, arrived: queue.Queue[Received]
) -> Changed:
    """See that a form is not sent as a whole."""

    def assert_is_changed(form: FormData) -> None:
        with pytest.raises(RuntimeError, match="coinc.xml has changed since the form was made"):
            uploading.post(server.url, data=form)
        assert_is_broken_off(arrived.get(timeout=30))

    return assert_is_changed


def test_a_file_that_is_rewritten_at_its_size_before_it_is_sent_is_noticed(
    form: FormData, event_file: Path, assert_is_changed: Changed
) -> None:
    event_file.write_bytes(b"x" * len(CONTENT))
    assert_is_changed(form)


def test_a_file_that_is_rewritten_at_its_size_between_two_sendings_is_noticed(
    form: FormData, event_file: Path, echo: Echo, assert_is_changed: Changed
) -> None:
    assert echo(form)["files"] == [uploaded()]
    event_file.write_bytes(b"x" * len(CONTENT))
    assert_is_changed(form)


def test_a_file_that_is_rewritten_at_its_size_while_it_is_sent_is_noticed(
    event_file: Path, assert_is_changed: Changed
) -> None:
    os.truncate(event_file, 2 * MIB)
    os.utime(event_file, (0, 0))

    def rewrite(progress: int) -> None:
        event_file.write_bytes(bytes(2 * MIB))

    assert_is_changed(FormData(files={"eventFile": event_file}, progress=rewrite))


def test_a_file_that_is_replaced_by_one_of_the_same_size_and_time_is_noticed(
    event_file: Path, tmp_path: Path, assert_is_changed: Changed
) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"x" * len(CONTENT))
    for path in (event_file, other):
        os.utime(path, (0, 0))
    form = FormData(files={"eventFile": event_file})
    other.replace(event_file)
    assert_is_changed(form)


def test_a_symbolic_link_that_points_elsewhere_by_then_is_noticed(
    event_file: Path, tmp_path: Path, assert_is_changed: Changed
) -> None:
    directory = tmp_path / "links"
    directory.mkdir()
    other = directory / "other"
    other.write_bytes(b"x" * len(CONTENT))
    for path in (event_file, other):
        os.utime(path, (0, 0))
    link = directory / "coinc.xml"
    link.symlink_to(event_file)
    form = FormData(files={"eventFile": link})
    link.unlink()
    link.symlink_to(other)
    assert_is_changed(form)


def test_a_file_that_became_a_pipe_hangs_nobody(
    event_file: Path, assert_is_changed: Changed
) -> None:
    form = FormData(files={"eventFile": event_file})
    event_file.unlink()
    os.mkfifo(event_file)
    assert_is_changed(form)


def test_a_named_pipe_that_nobody_writes_to_hangs_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="nothing is left in .*pipe"):
        FormData(files={"eventFile": tmp_path / "pipe"})


def test_a_pipe_that_is_slow_is_waited_for() -> None:
    program = (
        "from requests_gracedb import FormData\n"
        "print(bytes(FormData(files={'eventFile': ('/dev/stdin',)})).count(b'late'))\n"
    )
    shell = f"(sleep 1; echo late; sleep 1; echo late) | {sys.executable} -c \"{program}\""
    assert subprocess.run(shell, shell=True, capture_output=True, text=True).stdout == "2\n"


def test_a_file_is_opened_and_looked_at_once_for_the_form_and_once_each_time_it_is_sent(
    event_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def counted(name: str) -> Callable[..., Any]:
        call = getattr(os, name)

        def counting(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return call(*args, **kwargs)

        return counting

    FormData(files={"eventFile": b""})  # The first one reads tables of media types.
    for name in ("open", "fstat", "stat", "lstat"):
        monkeypatch.setattr(os, name, counted(name))
    form = FormData(files={"eventFile": (str(event_file),)})
    bytes(form)
    bytes(form)
    assert calls == ["open", "fstat"] * 3


def test_a_pickled_form_may_go_to_a_machine_where_the_file_is_another_one(
    echo: Echo, event_file: Path
) -> None:
    pickled = pickle.dumps(FormData(files={"eventFile": event_file}))
    status = event_file.stat()
    event_file.rename(event_file.with_suffix(".old"))
    event_file.write_bytes(CONTENT)
    os.utime(event_file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert echo(pickle.loads(pickled))["files"] == [uploaded()]


def test_a_file_that_changed_while_its_form_was_a_pickle_is_noticed(
    form: FormData, event_file: Path, assert_is_changed: Changed
) -> None:
    form = FormData(files={"eventFile": event_file})
    pickled = pickle.dumps(form)
    event_file.write_bytes(b"x" * len(CONTENT))
    assert_is_changed(pickle.loads(pickled))


# Files that were read before


def test_text_that_an_earlier_form_has_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("all is well")
    with path.open() as file:
        assert b"all is well" in bytes(FormData(files={"upload": file}))
        with pytest.raises(ValueError, match="nothing is left in notes.txt"):
            FormData(files={"upload": file})
        file.seek(0)
        assert b"all is well" in bytes(FormData(files={"upload": file}))


def test_a_compressed_file_that_an_earlier_form_has_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "psd.xml.gz"
    path.write_bytes(gzip.compress(CONTENT))
    with gzip.open(path) as file:
        FormData(files={"upload": file})
        with pytest.raises(ValueError, match="nothing is left in psd.xml"):
            FormData(files={"upload": file})


def test_a_pipe_that_an_earlier_form_has_read_is_an_error() -> None:
    with pipe(CONTENT) as file:
        FormData(files={"upload": file})
        with pytest.raises(ValueError, match="nothing is left in upload"):
            FormData(files={"upload": file})


def test_an_empty_text_is_an_empty_file(echo: Echo, tmp_path: Path) -> None:
    path = tmp_path / "empty.xml"
    path.touch()
    with path.open() as file:
        form = FormData(files={"upload": file})
    assert echo(form)["files"] == [uploaded("upload", "empty.xml", b"")]


# Progress


@pytest.mark.parametrize(
    "error",
    [
        OSError("no screen"),
        BrokenPipeError("no screen"),
        requests.ConnectionError("no screen"),
        requests.exceptions.ChunkedEncodingError("no screen"),
        http.client.BadStatusLine("no screen"),
        http.client.RemoteDisconnected("no screen"),
        ssl.SSLEOFError("no screen"),
        ProtocolError("no screen"),
        SSLError("no screen"),
        ConnectTimeoutError("no screen"),
        NewConnectionError(POOL, "no screen"),  # type: ignore[arg-type]
        ReadTimeoutError(POOL, "/", "no screen"),
        ValueError("no screen"),
        StopIteration("no screen"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_whatever_progress_raises_ends_the_request(
    method: str,
    error: Exception,
    server: LoopbackServer,
    arrived: queue.Queue[Received],
    waits: Waits,
) -> None:
    def broken(size: int) -> None:
        raise error

    form = FormData(files={"a": bytes(MIB)}, progress=broken)
    with mounted(GraceDBAdapter()) as session:
        with pytest.raises((RuntimeError, ValueError)) as caught:
            session.request(method, server.url, data=form)
    assert error in (caught.value, caught.value.__cause__)
    assert_is_broken_off(arrived.get(timeout=60))
    assert waits == []
    assert server.connections == 1
