"""What a part of a form holds: a file on disk, an open file, memory, a copy."""

from __future__ import annotations

import gzip
import io
import os
import queue
import re
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import requests

from requests_gracedb import FormData
from tests.conftest import CONTENT
from tests.loopback_server import Answer, LoopbackServer, Received, half_a_body
from tests.unit.forms import MIB, TEXT, Echo, assert_is_broken_off, pipe, uploaded

# Their sizes are said to be 0 and 4096.
KERNEL = Path("/proc/version")
CPUS = Path("/sys/devices/system/cpu/online")


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """A file of many blocks that takes no room on the disk."""
    path = tmp_path / "big.fits"
    path.touch()
    os.truncate(path, 64 * MIB)
    return path


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Standard input, a pipe with something in it."""
    with pipe(CONTENT) as reader, io.TextIOWrapper(reader) as text:
        monkeypatch.setattr(sys, "stdin", text)
        yield


@contextmanager
def switching_threads_all_the_time() -> Iterator[None]:
    """Let another thread have its turn after as little as possible."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


# Files on disk


def test_a_path_is_relative_to_where_the_form_was_made(
    echo: Echo, event_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(event_file.parent)
    form = FormData(files={"eventFile": (event_file.name,)})
    monkeypatch.chdir("/")
    assert echo(form)["files"] == [uploaded()]


@pytest.mark.parametrize("as_tuple", [False, True])
def test_a_file_that_is_not_there_is_an_error_at_once(tmp_path: Path, as_tuple: bool) -> None:
    path = tmp_path / "nowhere.xml"
    with pytest.raises(FileNotFoundError, match="nowhere.xml"):
        FormData(files={"eventFile": (str(path), None) if as_tuple else path})


@pytest.mark.parametrize("as_tuple", [False, True])
@pytest.mark.skipif(not KERNEL.exists(), reason="there is no /proc")
def test_a_file_of_the_kernel_which_says_that_it_is_empty_is_sent(
    echo: Echo, as_tuple: bool
) -> None:
    assert KERNEL.stat().st_size == 0
    form = FormData(files={"eventFile": (str(KERNEL),) if as_tuple else KERNEL})
    expected = uploaded("eventFile", "version", KERNEL.read_bytes(), "application/octet-stream")
    assert echo(form)["files"] == [expected]


@pytest.mark.skipif(not CPUS.exists(), reason="there is no /sys")
def test_a_file_that_ends_before_its_size_is_an_error() -> None:
    size = len(CPUS.read_bytes())
    assert CPUS.stat().st_size > size
    with pytest.raises(RuntimeError, match=f"{CPUS} ends after {size} bytes, although its size"):
        bytes(FormData(files={"eventFile": CPUS}))


def test_an_empty_file_that_is_no_longer_empty_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "coinc.xml"
    path.touch()
    form = FormData(files={"eventFile": path})
    path.write_bytes(CONTENT)
    with pytest.raises(RuntimeError, match="has changed"):
        bytes(form)


def test_a_directory_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        FormData(files={"eventFile": tmp_path})


# Open files


def test_an_open_file_is_sent_from_its_position_on(echo: Echo, event_file: Path) -> None:
    with event_file.open("rb") as file:
        file.seek(5)
        assert echo(FormData(files={"eventFile": file}))["files"] == [uploaded(content=CONTENT[5:])]


@pytest.mark.skipif(not KERNEL.exists(), reason="there is no /proc")
def test_an_open_file_of_the_kernel_is_sent_from_its_position_on(echo: Echo) -> None:
    with KERNEL.open("rb") as file:
        file.seek(5)
        (received,) = echo(FormData(files={"eventFile": file}))["files"]
    assert received["size"] == len(KERNEL.read_bytes()) - 5


def test_an_open_file_past_its_end_is_empty(echo: Echo, event_file: Path) -> None:
    with event_file.open("rb") as file:
        file.seek(1000)
        assert echo(FormData(files={"eventFile": file}))["files"] == [uploaded(content=b"")]


def test_two_fields_may_read_the_same_open_file(echo: Echo, event_file: Path) -> None:
    with event_file.open("rb") as file:
        file.seek(5)
        form = FormData(files={"one": file, "two": file})
        assert echo(form)["files"] == [
            uploaded("one", content=CONTENT[5:]),
            uploaded("two", content=CONTENT[5:]),
        ]


@pytest.mark.parametrize("buffering", [0, -1])
@pytest.mark.parametrize("mode", ["rb", "r+b"])
def test_an_open_file_stays_where_it_is(
    echo: Echo, event_file: Path, mode: str, buffering: int
) -> None:
    with event_file.open(mode, buffering) as file:
        file.seek(5)
        assert echo(FormData(files={"eventFile": file}))["files"] == [uploaded(content=CONTENT[5:])]
        assert file.tell() == 5


def test_what_was_written_to_an_open_file_is_sent(echo: Echo, event_file: Path) -> None:
    with event_file.open("r+b") as file:
        file.read(1)
        file.seek(0)
        file.write(b"written")  # It stays in the buffer, which holds what comes before and after.
        file.seek(0)
        expected = uploaded(content=b"written" + CONTENT[7:])
        assert echo(FormData(files={"eventFile": file}))["files"] == [expected]


def test_a_file_of_text_is_sent_as_utf_8_from_its_position_on(echo: Echo, event_file: Path) -> None:
    event_file.write_text("first\n" + TEXT, encoding="latin-1")
    with event_file.open(encoding="latin-1") as file:
        assert file.readline() == "first\n"
        form = FormData(files={"eventFile": file})
    assert echo(form)["files"] == [uploaded(content=TEXT.encode())]


@pytest.mark.parametrize("mode", ["rb", "r"])
def test_threads_may_send_the_same_form_at_once(event_file: Path, mode: str) -> None:
    content = b"".join(b"%07d\n" % number for number in range(MIB // 8))
    event_file.write_bytes(content)
    with event_file.open(mode) as file:
        form = FormData(files={"eventFile": file})
        with switching_threads_all_the_time(), ThreadPoolExecutor(4) as executor:
            sent = set(executor.map(lambda _: b"".join(form), range(16)))
    assert len(sent) == 1
    assert content in sent.pop()


def test_an_open_file_stays_open(echo: Echo, event_file: Path) -> None:
    with event_file.open("rb") as file:
        echo(FormData(files={"eventFile": file}))
        assert not file.closed


@pytest.mark.parametrize("mode", ["rb", "r"])
def test_a_closed_file_is_an_error_at_once(event_file: Path, mode: str) -> None:
    with event_file.open(mode) as file:
        pass
    with pytest.raises(ValueError, match="closed file"):
        FormData(files={"eventFile": file})


def test_a_file_open_for_writing_is_an_error_at_once(event_file: Path) -> None:
    with event_file.open("wb") as file, pytest.raises(OSError):
        FormData(files={"eventFile": file})


# In memory


@pytest.mark.parametrize(
    ("given", "content"),
    [
        (CONTENT, CONTENT),
        (bytearray(CONTENT), CONTENT),
        (memoryview(CONTENT), CONTENT),
        (TEXT, TEXT.encode()),
        (b"", b""),
        ("", b""),
    ],
)
def test_bytes_and_text_are_the_content_itself(
    echo: Echo, given: object, content: bytes
) -> None:
    form = FormData(files={"eventFile": ("coinc.xml", given)})
    assert echo(form)["files"] == [uploaded(content=content)]


def test_bytes_are_those_that_they_were_when_the_form_was_made() -> None:
    content = bytearray(CONTENT)
    form = FormData(files={"eventFile": ("coinc.xml", content)})
    content[:] = bytes(len(content))
    assert CONTENT in bytes(form)


def test_bytes_in_memory_are_those_that_they_were_from_their_position_on(echo: Echo) -> None:
    file = io.BytesIO(CONTENT)
    file.seek(5)
    form = FormData(files={"eventFile": ("coinc.xml", file)})
    assert file.tell() == 5
    file.truncate(0)
    assert echo(form)["files"] == [uploaded(content=CONTENT[5:])]


def test_two_who_read_the_same_form_by_turns_get_all_of_it() -> None:
    content = b"".join(bytes([65 + number]) * 256 * 1024 for number in range(5))
    form = FormData(files={"eventFile": io.BytesIO(content)})
    blocks = iter(form)
    first = [next(blocks), next(blocks)]
    next(iter(form))
    assert b"".join([*first, *blocks]) == bytes(form)


# What is copied, because it can be read once or is not known


def test_a_pipe_is_sent_in_full_each_time(echo: Echo) -> None:
    with pipe(CONTENT) as file:
        form = FormData(files={"eventFile": ("coinc.xml", file)})
    assert echo(form)["files"] == [uploaded()]
    assert echo(form)["files"] == [uploaded()]


def test_a_named_pipe_is_sent_in_full_each_time(echo: Echo, tmp_path: Path) -> None:
    path = tmp_path / "coinc.xml"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)
    os.write(writer, CONTENT)
    threading.Timer(0.1, os.close, [writer]).start()
    form = FormData(files={"eventFile": path})
    assert echo(form)["files"] == [uploaded()]
    assert echo(form)["files"] == [uploaded()]


def test_a_pipe_that_does_not_wait_is_an_error_at_once() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with open(reader, "rb") as file, open(writer, "wb"), pytest.raises(BlockingIOError):
        FormData(files={"eventFile": ("coinc.xml", file)})


def test_a_file_that_can_do_nothing_but_read_will_do(echo: Echo) -> None:
    class Readable:
        read = io.BytesIO(CONTENT).read

    form = FormData(files={"eventFile": ("coinc.xml", Readable())})
    assert echo(form)["files"] == [uploaded()]


def test_a_file_that_takes_0_for_everything_is_read_once(echo: Echo) -> None:
    class Readable:
        content = io.BytesIO(CONTENT)

        def read(self, size: int | None = None) -> bytes:
            return self.content.read(size or -1)

    form = FormData(files={"eventFile": ("coinc.xml", Readable())})
    assert echo(form)["files"] == [uploaded()]


def test_a_file_mapped_into_memory_is_sent(event_file: Path) -> None:
    event_file.write_bytes(b"mapped")
    with event_file.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as mapped:
        assert bytes(FormData(files={"eventFile": ("a", mapped)})).count(b"mapped") == 1


def test_what_is_decompressed_while_it_is_read_from_a_pipe_is_sent(echo: Echo) -> None:
    with pipe(gzip.compress(CONTENT)) as file, gzip.open(file) as decompressed:
        form = FormData(files={"eventFile": ("coinc.xml", decompressed)})
    assert echo(form)["files"] == [uploaded()]


def test_a_download_is_sent(echo: Echo, server: LoopbackServer) -> None:
    server.answer = lambda received: Answer(body=CONTENT)
    with urlopen(server.url) as download:
        form = FormData(files={"eventFile": ("coinc.xml", download)})
    assert echo(form)["files"] == [uploaded()]


def test_a_download_that_breaks_off_is_an_error_at_once(server: LoopbackServer) -> None:
    server.script = [half_a_body]
    with urlopen(server.url) as download, pytest.raises(OSError, match="last 5 bytes"):
        FormData(files={"eventFile": ("coinc.xml", download)})


def test_the_copy_of_a_pipe_goes_with_the_form() -> None:
    with pipe(CONTENT) as file:
        form = FormData(files={"eventFile": file})
    # An open file that nobody closes is a ResourceWarning, which fails the test.
    gone = weakref.ref(form)
    del form
    assert gone() is None


# Standard input


@pytest.mark.usefixtures("stdin")
@pytest.mark.parametrize("file", [("-",), ("-", None, "text/xml")])
def test_a_dash_is_standard_input(echo: Echo, file: tuple[Any, ...]) -> None:
    form = FormData(files={"eventFile": file})
    content_type = "text/xml" if len(file) == 3 else "application/octet-stream"
    expected = uploaded(filename="-", content_type=content_type)
    assert echo(form)["files"] == [expected]


@pytest.mark.usefixtures("stdin")
def test_standard_input_is_sent_in_full_each_time(echo: Echo) -> None:
    form = FormData(files={"eventFile": ("-", None, "text/xml")})
    assert echo(form) == echo(form)
    assert echo(form)["files"] == [uploaded(filename="-")]


@pytest.mark.usefixtures("stdin")
def test_standard_input_cannot_be_read_twice() -> None:
    FormData(files={"eventFile": ("-",)})
    with pytest.raises(ValueError, match="once"):
        FormData(files={"eventFile": ("-",)})


@pytest.mark.usefixtures("stdin")
@pytest.mark.parametrize("file", [Path("-"), (Path("-"),)])
def test_a_path_object_is_never_standard_input(
    echo: Echo, event_file: Path, monkeypatch: pytest.MonkeyPatch, file: Any
) -> None:
    monkeypatch.chdir(event_file.parent)
    Path("-").write_bytes(b"on disk")
    expected = uploaded(
        filename="-", content=b"on disk", content_type="application/octet-stream"
    )
    assert echo(FormData(files={"eventFile": file}))["files"] == [expected]


def test_standard_input_may_be_text_alone(
    echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(TEXT))
    form = FormData(files={"eventFile": ("-", None, "text/xml")})
    assert echo(form)["files"] == [uploaded(filename="-", content=TEXT.encode())]


def test_without_standard_input_there_is_nothing_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(ValueError, match="standard input"):
        FormData(files={"eventFile": ("-",)})


# Memory


@pytest.mark.parametrize("kind", ["path", "open file", "pipe"])
def test_memory_does_not_grow_with_the_file(big: Path, kind: str) -> None:
    with big.open("rb") as file:
        if kind == "pipe":
            # A file that does not tell where it is has to be copied, as a pipe has.
            class Unseekable:
                read = file.read

            content: Any = Unseekable()
        else:
            content = file if kind == "open file" else big
        tracemalloc.start()
        try:
            form = FormData(files={"eventFile": ("big.fits", content)})
            size = sum(map(len, form))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert size == len(form) > 64 * MIB
    assert peak < 4 * MIB


# Files that change


@pytest.fixture(params=["path", "open file"])
def changing(request: pytest.FixtureRequest, event_file: Path) -> Iterator[FormData]:
    """A form with a file that can still change, and is longer than a block."""
    os.truncate(event_file, 2 * MIB)
    os.utime(event_file, (0, 0))
    if request.param == "path":
        yield FormData({"group": "Test"}, {"eventFile": event_file})
    else:
        with event_file.open("rb") as file:
            yield FormData({"group": "Test"}, {"eventFile": file})


def post_in_vain(uploading: requests.Session, server: LoopbackServer, form: FormData) -> None:
    """Send a form whose file has changed."""
    with pytest.raises(RuntimeError, match=r"^\S*coinc\.xml has changed since"):
        uploading.post(server.url, data=form)


@pytest.mark.parametrize("size", [0, MIB, 2 * MIB - 1, 2 * MIB + 1, 4 * MIB])
def test_a_file_that_changed_size_since_the_form_was_made_is_not_sent(
    uploading: requests.Session,
    server: LoopbackServer,
    arrived: queue.Queue[Received],
    event_file: Path,
    changing: FormData,
    size: int,
) -> None:
    os.truncate(event_file, size)
    post_in_vain(uploading, server, changing)
    received = arrived.get(timeout=30)
    assert_is_broken_off(received)
    assert b"coinc.xml" not in received.body


@pytest.mark.parametrize("size", [0, MIB, 2 * MIB, 2 * MIB + 2, 4 * MIB])
def test_a_file_that_changes_size_while_it_is_sent_breaks_the_request_off(
    uploading: requests.Session,
    server: LoopbackServer,
    arrived: queue.Queue[Received],
    event_file: Path,
    size: int,
) -> None:
    def change(progress: int) -> None:
        os.truncate(event_file, size)

    os.truncate(event_file, 2 * MIB + 1)
    post_in_vain(uploading, server, FormData(files={"eventFile": event_file}, progress=change))
    received = arrived.get(timeout=30)
    assert_is_broken_off(received)
    assert b"coinc.xml" in received.body


def test_the_connection_of_a_request_that_broke_off_is_not_used_again(
    uploading: requests.Session,
    server: LoopbackServer,
    arrived: queue.Queue[Received],
    event_file: Path,
    changing: FormData,
) -> None:
    uploading.get(server.url)
    os.truncate(event_file, 0)
    post_in_vain(uploading, server, changing)
    uploading.get(server.url)
    received = [arrived.get(timeout=30) for _ in range(3)]
    assert [one.connection for one in received if one.method == "GET"] == [1, 2]
    assert [one.connection for one in received if one.method == "POST"] == [1]


def test_a_file_may_change_between_one_form_and_the_next(echo: Echo, event_file: Path) -> None:
    echo(FormData(files={"eventFile": event_file}))
    event_file.write_bytes(b"other")
    assert echo(FormData(files={"eventFile": event_file}))["files"] == [uploaded(content=b"other")]


def test_a_file_that_has_its_size_again_is_not_sent(
    uploading: requests.Session,
    server: LoopbackServer,
    event_file: Path,
    changing: FormData,
) -> None:
    os.truncate(event_file, 0)
    post_in_vain(uploading, server, changing)
    os.truncate(event_file, 2 * MIB)
    post_in_vain(uploading, server, changing)


def test_a_file_that_has_vanished_is_an_error_that_names_it(
    uploading: requests.Session,
    server: LoopbackServer,
    arrived: queue.Queue[Received],
    event_file: Path,
) -> None:
    form = FormData(files={"eventFile": event_file})
    event_file.unlink()
    with pytest.raises(RuntimeError, match=f"cannot read {re.escape(str(event_file))}"):
        uploading.post(server.url, data=form)
    assert_is_broken_off(arrived.get(timeout=30))


def test_an_open_file_that_has_been_closed_is_an_error_that_names_it(
    uploading: requests.Session,
    server: LoopbackServer,
    arrived: queue.Queue[Received],
    event_file: Path,
) -> None:
    with event_file.open("rb") as file:
        form = FormData(files={"eventFile": file})
    with pytest.raises(RuntimeError, match=r"cannot read coinc\.xml .*closed file"):
        uploading.post(server.url, data=form)
    assert_is_broken_off(arrived.get(timeout=30))
