"""FormData: what it takes, and what of it arrives."""

from __future__ import annotations

import gzip
import hashlib
import io
import mimetypes
import os
import pickle
import queue
import re
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPDigestAuth
from urllib3 import Retry

from requests_gracedb import FileAdapter, FormData
from tests.gracedb_server import GraceDBServer
from tests.loopback_server import Answer, LoopbackServer, Received, half_a_body, redirect

MIB = 1024 * 1024
CONTENT = b"<LIGO_LW>\r\n\r\n--\r\n\0\xff</LIGO_LW>\n"
TEXT = "Überlagerung\n"

Echo = Callable[[FormData], Any]


@pytest.fixture
def session(gracedb: GraceDBServer) -> Iterator[requests.Session]:
    """A session with nothing but a FileAdapter."""
    with requests.Session() as session:
        session.verify = gracedb.ca_bundle
        session.mount("https://", FileAdapter())
        session.mount("http://", FileAdapter())
        yield session


@pytest.fixture
def echo(session: requests.Session, gracedb: GraceDBServer) -> Echo:
    """Send a form, and get to know what the server made of it."""

    def echo(form: FormData) -> Any:
        response = session.post(f"{gracedb.url}echo/", data=form)
        response.raise_for_status()
        return response.json()

    return echo


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file."""
    path = tmp_path / "coinc.xml"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """A file of many blocks that takes no room on the disk."""
    path = tmp_path / "big.fits"
    path.touch()
    os.truncate(path, 64 * MIB)
    return path


@pytest.fixture
def arrived(server: LoopbackServer) -> queue.Queue[Received]:
    """What arrives at the server, also when nobody waits for the answer any more."""
    arrived: queue.Queue[Received] = queue.Queue()

    def answer(received: Received) -> Answer:
        arrived.put(received)
        return Answer()

    server.answer = answer
    return arrived


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Standard input, a pipe with something in it."""
    with pipe(CONTENT) as reader, io.TextIOWrapper(reader) as text:
        monkeypatch.setattr(sys, "stdin", text)
        yield


@pytest.fixture
def mime_types_of_the_machine(tmp_path: Path) -> Iterator[None]:
    """A machine with opinions of its own."""
    table = tmp_path / "mime.types"
    table.write_text("text/x-of-the-machine xml fits h5 gz unheard-of\n")
    mimetypes.init([str(table)])
    assert mimetypes.guess_type("coinc.xml") == ("text/x-of-the-machine", None)
    yield
    mimetypes.init()


def pipe(content: bytes) -> io.BufferedReader:
    """Open a pipe for reading, with all there will ever be in it."""
    reader, writer = os.pipe()
    with open(writer, "wb") as file:
        file.write(content)
    return open(reader, "rb")


@contextmanager
def switching_threads_all_the_time() -> Iterator[None]:
    """Let another thread have its turn after as little as possible."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def uploaded(
    name: str = "eventFile",
    filename: str = "coinc.xml",
    content: bytes = CONTENT,
    content_type: str = "text/xml",
) -> dict[str, object]:
    """Tell what the server says of a file."""
    return {
        "name": name,
        "filename": filename,
        "content_type": content_type,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def assert_is_broken_off(received: Received) -> None:
    """See that the server could not take the request for a whole one."""
    assert len(received.body) < int(received.headers["Content-Length"])
    boundary = received.headers["Content-Type"].partition("boundary=")[2]
    assert f"--{boundary}--".encode() not in received.body


# What a form takes


@pytest.mark.parametrize("kind", [dict, list, tuple, iter])
def test_fields_and_files_are_mappings_or_pairs(
    echo: Echo, path: Path, kind: Callable[..., Any]
) -> None:
    data = [("group", "Test"), ("pipeline", "gstlal")]
    answer = echo(FormData(kind(data), kind([("eventFile", path)])))
    assert answer["fields"] == {"group": ["Test"], "pipeline": ["gstlal"]}
    assert answer["files"] == [uploaded()]


def test_a_form_may_have_fields_only(echo: Echo) -> None:
    answer = echo(FormData({"group": "Test"}))
    assert answer["fields"] == {"group": ["Test"]}
    assert answer["files"] == []


def test_a_form_may_be_empty(echo: Echo) -> None:
    answer = echo(FormData())
    assert answer["fields"] == {}
    assert answer["files"] == []


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        ("Test", ["Test"]),
        ("", [""]),
        (TEXT, [TEXT]),
        (TEXT.encode(), [TEXT]),
        (1e-9, ["1e-09"]),
        (False, ["False"]),
        (["INJ", b"DQV", 3], ["INJ", "DQV", "3"]),
        (("INJ", None), ["INJ"]),
    ],
)
def test_the_value_of_a_field_is_text_or_bytes_or_becomes_text(
    echo: Echo, value: object, arrives: list[str]
) -> None:
    assert echo(FormData({"field": value}))["fields"] == {"field": arrives}


@pytest.mark.parametrize("value", [None, [], [None]])
def test_a_field_without_a_value_is_left_out(echo: Echo, value: object) -> None:
    assert echo(FormData({"far": value, "group": "Test"}))["fields"] == {"group": ["Test"]}


def test_a_field_may_be_repeated(echo: Echo) -> None:
    form = FormData([("tag", "a"), ("group", "Test"), ("tag", "b")])
    assert echo(form)["fields"] == {"group": ["Test"], "tag": ["a", "b"]}


def test_a_path_object_is_read_from_disk(echo: Echo, path: Path) -> None:
    assert echo(FormData(files={"eventFile": path}))["files"] == [uploaded()]


@pytest.mark.parametrize(
    "rest", [(), (None,), (None, None), (None, None, None), (None, None, {})]
)
@pytest.mark.parametrize("kind", [tuple, list])
@pytest.mark.parametrize("filename", [str, os.fsencode, Path])
def test_a_filename_without_content_is_read_from_disk(
    echo: Echo,
    path: Path,
    filename: Callable[[Path], Any],
    kind: Callable[..., Any],
    rest: tuple[Any, ...],
) -> None:
    file = kind([filename(path), *rest])
    # A list that starts with a path object is a list of files, of which the rest would be none.
    if kind is list and filename is not str:
        file = [tuple(file)]
    assert echo(FormData(files={"eventFile": file}))["files"] == [uploaded()]


def test_the_directory_of_a_path_stays_private(path: Path) -> None:
    form = FormData(files=[("a", path), ("b", (str(path),))])
    assert bytes(form).count(b'; filename="coinc.xml"\r\n') == 2
    assert os.fsencode(path.parent.name) not in bytes(form)


def test_a_path_is_relative_to_where_the_form_was_made(
    echo: Echo, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    form = FormData(files={"eventFile": (path.name,)})
    monkeypatch.chdir("/")
    assert echo(form)["files"] == [uploaded()]


def test_a_path_object_may_be_sent_under_another_name(echo: Echo, path: Path) -> None:
    form = FormData(files={"eventFile": ("other.fits", path)})
    assert echo(form)["files"] == [uploaded(filename="other.fits", content_type="application/fits")]


def test_an_open_file_has_the_name_that_it_was_opened_with(echo: Echo, path: Path) -> None:
    with path.open("rb") as file:
        assert echo(FormData(files={"eventFile": file}))["files"] == [uploaded()]


def test_an_open_file_without_a_name_has_that_of_the_field(echo: Echo) -> None:
    file = io.BytesIO(CONTENT)
    expected = uploaded(filename="eventFile", content_type="application/octet-stream")
    assert echo(FormData(files={"eventFile": file}))["files"] == [expected]


def test_an_open_file_is_sent_from_its_position_on(echo: Echo, path: Path) -> None:
    with path.open("rb") as file:
        file.seek(5)
        assert echo(FormData(files={"eventFile": file}))["files"] == [uploaded(content=CONTENT[5:])]


def test_an_open_file_past_its_end_is_empty(echo: Echo, path: Path) -> None:
    with path.open("rb") as file:
        file.seek(1000)
        assert echo(FormData(files={"eventFile": file}))["files"] == [uploaded(content=b"")]


def test_two_fields_may_read_the_same_open_file(echo: Echo, path: Path) -> None:
    with path.open("rb") as file:
        file.seek(5)
        form = FormData(files={"one": file, "two": file})
        assert echo(form)["files"] == [
            uploaded("one", content=CONTENT[5:]),
            uploaded("two", content=CONTENT[5:]),
        ]


@pytest.mark.parametrize("buffering", [0, -1])
@pytest.mark.parametrize("mode", ["rb", "r+b"])
def test_an_open_file_stays_where_it_is(
    echo: Echo, path: Path, mode: str, buffering: int
) -> None:
    with path.open(mode, buffering) as file:
        file.seek(5)
        assert echo(FormData(files={"eventFile": file}))["files"] == [uploaded(content=CONTENT[5:])]
        assert file.tell() == 5


def test_what_was_written_to_an_open_file_is_sent(echo: Echo, path: Path) -> None:
    with path.open("r+b") as file:
        file.read(1)
        file.seek(0)
        file.write(b"written")  # It stays in the buffer, which holds what comes before and after.
        file.seek(0)
        expected = uploaded(content=b"written" + CONTENT[7:])
        assert echo(FormData(files={"eventFile": file}))["files"] == [expected]


def test_bytes_in_memory_are_those_that_they_were_from_their_position_on(echo: Echo) -> None:
    file = io.BytesIO(CONTENT)
    file.seek(5)
    form = FormData(files={"eventFile": ("coinc.xml", file)})
    assert file.tell() == 5
    file.truncate(0)
    assert echo(form)["files"] == [uploaded(content=CONTENT[5:])]


@pytest.mark.parametrize("mode", ["rb", "r"])
def test_threads_may_send_the_same_form_at_once(path: Path, mode: str) -> None:
    content = b"".join(b"%07d\n" % number for number in range(MIB // 8))
    path.write_bytes(content)
    with path.open(mode) as file:
        form = FormData(files={"eventFile": file})
        with switching_threads_all_the_time(), ThreadPoolExecutor(4) as executor:
            sent = set(executor.map(lambda _: b"".join(form), range(16)))
    assert len(sent) == 1
    assert content in sent.pop()


def test_an_open_file_stays_open(echo: Echo, path: Path) -> None:
    with path.open("rb") as file:
        echo(FormData(files={"eventFile": file}))
        assert not file.closed


def test_a_pipe_is_sent_in_full_each_time(echo: Echo) -> None:
    with pipe(CONTENT) as file:
        form = FormData(files={"eventFile": ("coinc.xml", file)})
    assert echo(form)["files"] == [uploaded()]
    assert echo(form)["files"] == [uploaded()]


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


def test_a_pipe_that_does_not_wait_is_an_error_at_once() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with open(reader, "rb") as file, open(writer, "wb"), pytest.raises(BlockingIOError):
        FormData(files={"eventFile": ("coinc.xml", file)})


def test_a_file_of_text_is_sent_as_utf_8_from_its_position_on(echo: Echo, path: Path) -> None:
    path.write_text("first\n" + TEXT, encoding="latin-1")
    with path.open(encoding="latin-1") as file:
        assert file.readline() == "first\n"
        form = FormData(files={"eventFile": file})
    assert echo(form)["files"] == [uploaded(content=TEXT.encode())]


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


@pytest.mark.parametrize("content", ["coinc.xml", b"coinc.xml"])
def test_content_alone_has_the_name_of_the_field_and_is_no_path(
    echo: Echo, path: Path, monkeypatch: pytest.MonkeyPatch, content: Any
) -> None:
    monkeypatch.chdir(path.parent)
    expected = uploaded("coinc.xml", content=b"coinc.xml")
    assert echo(FormData(files={"coinc.xml": content}))["files"] == [expected]


def test_bytes_are_those_that_they_were_when_the_form_was_made() -> None:
    content = bytearray(CONTENT)
    form = FormData(files={"eventFile": ("coinc.xml", content)})
    content[:] = bytes(len(content))
    assert CONTENT in bytes(form)


def test_content_without_a_filename_is_a_field(echo: Echo) -> None:
    answer = echo(FormData(files={"group": (None, b"Test")}))
    assert answer["fields"] == {"group": ["Test"]}
    assert answer["files"] == []


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
    echo: Echo, path: Path, monkeypatch: pytest.MonkeyPatch, file: Any
) -> None:
    monkeypatch.chdir(path.parent)
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


def test_a_named_pipe_is_sent_in_full_each_time(echo: Echo, tmp_path: Path) -> None:
    path = tmp_path / "coinc.xml"
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=[CONTENT], daemon=True).start()
    form = FormData(files={"eventFile": path})
    assert echo(form)["files"] == [uploaded()]
    assert echo(form)["files"] == [uploaded()]


def test_the_copy_of_a_pipe_goes_with_the_form() -> None:
    with pipe(CONTENT) as file:
        form = FormData(files={"eventFile": file})
    # An open file that nobody closes is a ResourceWarning, which fails the test.
    gone = weakref.ref(form)
    del form
    assert gone() is None


def test_a_field_may_have_several_files(echo: Echo, path: Path) -> None:
    with io.BytesIO(b"c") as file:
        form = FormData(files={"upload": [path, ("b.xml", b"b"), file, b"d"]})
        assert echo(form)["files"] == [
            uploaded("upload"),
            uploaded("upload", "b.xml", b"b"),
            uploaded("upload", "upload", b"c", "application/octet-stream"),
            uploaded("upload", "upload", b"d", "application/octet-stream"),
        ]


def test_a_field_with_a_file_may_be_repeated(echo: Echo, path: Path) -> None:
    form = FormData(files=[("upload", path), ("upload", ("b.xml", b"b"))])
    assert echo(form)["files"] == [uploaded("upload"), uploaded("upload", "b.xml", b"b")]


def test_a_list_that_starts_with_a_filename_is_one_file(echo: Echo) -> None:
    form = FormData(files={"eventFile": ["coinc.xml", CONTENT]})
    assert echo(form)["files"] == [uploaded()]


def test_a_list_that_starts_with_none_is_one_part(echo: Echo) -> None:
    assert echo(FormData(files={"group": [None, "Test"]}))["fields"] == {"group": ["Test"]}


def test_the_headers_of_a_part_are_sent() -> None:
    headers = {"Content-ID": "<1>", "X-Comment": "Größe\t1"}
    form = FormData(files={"eventFile": ("coinc.xml", b"content", "text/xml", headers)})
    boundary = form.content_type.partition("boundary=")[2]
    assert bytes(form).decode() == (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="eventFile"; filename="coinc.xml"\r\n'
        "Content-Type: text/xml\r\n"
        "Content-ID: <1>\r\n"
        "X-Comment: Größe\t1\r\n"
        "\r\n"
        "content\r\n"
        f"--{boundary}--\r\n"
    )


# What a form refuses


@pytest.mark.parametrize("file", [(), [], ("a", b"", "a/b", {}, 5)])
def test_a_file_has_one_to_four_items(file: Any) -> None:
    with pytest.raises(ValueError, match=f"'eventFile' has {len(file)} items"):
        FormData(files={"eventFile": file})


@pytest.mark.parametrize("file", [(None,), (None, None), [None, None, "text/xml"]])
def test_a_file_without_filename_and_content_is_refused(file: Any) -> None:
    with pytest.raises(ValueError, match="'eventFile' has neither a filename nor content"):
        FormData(files={"eventFile": file})


@pytest.mark.parametrize("content", [3, {"a": 1}, object()])
@pytest.mark.parametrize("has_filename", [False, True])
def test_content_of_another_type_is_refused(content: object, has_filename: bool) -> None:
    file = ("coinc.xml", content) if has_filename else content
    expected = f"'eventFile' must be .* not {type(content).__name__}"
    with pytest.raises(TypeError, match=expected):
        FormData(files={"eventFile": file})


@pytest.mark.parametrize("argument", ["data", "files"])
@pytest.mark.parametrize("value", ["group=Test", b"group=Test"])
def test_fields_and_files_that_are_no_pairs_are_refused(argument: str, value: Any) -> None:
    with pytest.raises(ValueError, match="mappings or pairs"):
        FormData(**{argument: value})


@pytest.mark.parametrize("as_tuple", [False, True])
def test_a_file_that_is_not_there_is_an_error_at_once(tmp_path: Path, as_tuple: bool) -> None:
    path = tmp_path / "nowhere.xml"
    with pytest.raises(FileNotFoundError, match="nowhere.xml"):
        FormData(files={"eventFile": (str(path), None) if as_tuple else path})


def test_a_directory_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        FormData(files={"eventFile": tmp_path})


@pytest.mark.parametrize(
    ("data", "files"),
    [
        ({"gro\0up": "Test"}, None),
        (None, {"event\0File": ("coinc.xml", b"")}),
        (None, {"eventFile": ("coinc\0.xml", b"")}),
        (None, {"eventFile": ("coinc\0.xml",)}),
    ],
)
def test_a_name_with_nul_in_it_is_refused(data: Any, files: Any) -> None:
    with pytest.raises(ValueError, match="NUL|null byte"):
        FormData(data, files)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Comment", "a\r\nContent-ID: <1>"),
        ("X-Comment", "a\rb"),
        ("X-Comment", "a\nb"),
        ("X-Comment", "a\0b"),
        ("X-Comment", "a\x7fb"),
        ("X-Comment: a\r\nContent-ID", "<1>"),
        ("X-Comment\n", "a"),
        ("X Comment", "a"),
        ("X-Comment:", "a"),
        ("X-Präfix", "a"),
        ("", "a"),
    ],
)
def test_a_header_that_would_break_the_part_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="header"):
        FormData(files={"eventFile": ("coinc.xml", b"", None, {name: value})})


@pytest.mark.parametrize("name", ["Content-Disposition", "content-disposition"])
def test_the_header_that_the_form_itself_writes_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="(?i)content-disposition"):
        FormData(files={"eventFile": ("coinc.xml", b"", None, {name: "form-data; name=other"})})


def test_a_content_type_that_would_break_the_part_is_refused() -> None:
    with pytest.raises(ValueError, match="Content-Type"):
        FormData(files={"eventFile": ("coinc.xml", b"", "text/xml\r\nContent-ID: <1>")})


# Names


NAMES = [
    ('a"b', "a%22b"),
    ("a\nb", "a%0Ab"),
    ("a\rb", "a%0Db"),
    ('a"\r\nContent-ID: <1>\r\n\r\n', "a%22%0D%0AContent-ID: <1>%0D%0A%0D%0A"),
    ('a"; filename="b', "a%22; filename=%22b"),
    ("a%22b", "a%22b"),
    ("Größe 天.xml", "Größe 天.xml"),
    ("Größe.xml".encode(), "Größe.xml"),
    ("caf\udce9.xml", "caf\N{REPLACEMENT CHARACTER}.xml"),
]


@pytest.mark.parametrize(("given", "arrives"), NAMES)
def test_the_name_of_a_field_is_encoded_as_browsers_do(
    echo: Echo, given: Any, arrives: str
) -> None:
    answer = echo(FormData([(given, "value")]))
    assert answer["fields"] == {arrives: ["value"]}
    assert answer["files"] == []


@pytest.mark.parametrize(("given", "arrives"), NAMES)
def test_a_filename_is_encoded_as_browsers_do(
    echo: Echo, given: str | bytes, arrives: str
) -> None:
    answer = echo(FormData({"group": "Test"}, {"eventFile": (given, CONTENT, "text/xml")}))
    assert answer["files"] == [uploaded(filename=arrives)]
    assert answer["fields"] == {"group": ["Test"]}


@pytest.mark.parametrize("with_filename", [False, True])
def test_no_name_breaks_out_of_its_header(with_filename: bool) -> None:
    evil = 'a"\r\nContent-ID: <1>\r\n\r\n'
    form = FormData(files={evil: (evil if with_filename else "coinc.xml", b"", "text/xml")})
    header, _, rest = bytes(form).partition(b"\r\n\r\n")
    delimiter, disposition, content_type = header.split(b"\r\n")
    assert disposition.startswith(b'Content-Disposition: form-data; name="a%22%0D%0A')
    assert content_type == b"Content-Type: text/xml"
    assert rest == b"\r\n" + delimiter + b"--\r\n"


# Media types


@pytest.mark.parametrize(
    ("filename", "content_type"),
    [
        ("coinc.xml", "text/xml"),
        ("coinc.XML", "text/xml"),
        ("event.json", "application/json"),
        ("skymap.png", "image/png"),
        ("bayestar.fits", "application/fits"),
        ("posterior.h5", "application/x-hdf5"),
        ("posterior.hdf5", "application/x-hdf5"),
        ("coinc.xml.gz", "application/gzip"),
        ("bayestar.fits.gz", "application/gzip"),
        ("logs.tgz", "application/gzip"),
        ("coinc.xml.bz2", "application/x-bzip2"),
        ("coinc.xml.xz", "application/x-xz"),
        ("event.unheard-of", "application/octet-stream"),
        ("event", "application/octet-stream"),
        ("data:text/html,event", "application/octet-stream"),
    ],
)
@pytest.mark.usefixtures("mime_types_of_the_machine")
def test_the_media_type_follows_from_the_filename_alone(filename: str, content_type: str) -> None:
    form = FormData(files={"eventFile": (filename, b"")})
    assert f'"\r\nContent-Type: {content_type}\r\n\r\n'.encode() in bytes(form)


def test_a_media_type_that_is_given_stays(echo: Echo, path: Path) -> None:
    form = FormData(files={"eventFile": (str(path), None, "text/x-mine")})
    assert echo(form)["files"] == [uploaded(content_type="text/x-mine")]


@pytest.mark.parametrize("name", ["Content-Type", "content-type", "CONTENT-TYPE"])
def test_a_media_type_among_the_headers_of_the_part_stays(name: str) -> None:
    form = FormData(files={"eventFile": ("coinc.xml", b"", None, {name: "text/x-mine"})})
    assert re.findall(b"(?i)content-type: .*\r\n", bytes(form)) == [
        f"{name}: text/x-mine\r\n".encode()
    ]


@pytest.mark.parametrize("name", ["Content-Type", "content-type"])
def test_a_media_type_that_is_given_comes_before_the_headers_of_the_part(name: str) -> None:
    file = ("coinc.xml", b"", "text/x-mine", {name: "text/x-other"})
    form = FormData(files={"eventFile": file})
    assert re.findall(b"(?i)content-type: .*\r\n", bytes(form)) == [
        b"Content-Type: text/x-mine\r\n"
    ]


def test_an_empty_media_type_is_none_at_all() -> None:
    form = FormData(files={"eventFile": ("coinc.xml", b"", "")})
    assert b"Content-Type" not in bytes(form)


def test_a_field_has_no_media_type() -> None:
    form = FormData({"coinc.xml": "Test"}, {"eventFile": (None, "content")})
    assert b"Content-Type" not in bytes(form)


# On the wire


@pytest.mark.parametrize(
    ("data", "files"),
    [
        (None, None),
        ({"group": "Test"}, None),
        (None, {"eventFile": CONTENT}),
        ({TEXT: TEXT}, {TEXT: [(TEXT, TEXT), ("coinc.xml", b"")]}),
    ],
)
def test_a_form_has_a_content_length(
    session: requests.Session, server: LoopbackServer, data: Any, files: Any
) -> None:
    form = FormData(data, files)
    session.post(server.url, data=form)
    (received,) = server.requests
    assert received.headers["Content-Length"] == str(len(form))
    assert received.headers["Transfer-Encoding"] is None
    assert received.body == bytes(form)
    assert len(received.body) == len(form)


def test_no_two_forms_have_the_same_boundary() -> None:
    assert FormData().content_type != FormData().content_type


def test_a_form_goes_through_any_adapter_that_is_told_the_content_type(
    gracedb: GraceDBServer, path: Path
) -> None:
    form = FormData({"group": "Test"}, {"eventFile": path})
    with requests.Session() as session:
        session.mount("https://", HTTPAdapter())
        answer = session.post(
            f"{gracedb.url}echo/",
            data=form,
            headers={"Content-Type": form.content_type},
            verify=gracedb.ca_bundle,
        ).json()
    assert answer["fields"] == {"group": ["Test"]}
    assert answer["files"] == [uploaded()]


@pytest.fixture(params=["path", "open file", "pipe", "bytes"])
def form(request: pytest.FixtureRequest, path: Path) -> Iterator[FormData]:
    """A form with a file of any kind."""
    data = {"group": "Test"}
    if request.param == "path":
        yield FormData(data, {"eventFile": path})
    elif request.param == "open file":
        with path.open("rb") as file:
            file.seek(5)
            yield FormData(data, {"eventFile": file})
    elif request.param == "pipe":
        with pipe(CONTENT) as file:
            yield FormData(data, {"eventFile": file})
    else:
        yield FormData(data, {"eventFile": CONTENT})


def assert_arrived_twice(form: FormData, server: LoopbackServer) -> None:
    """See that a form arrived twice, with nothing changed."""
    first, second = server.requests
    assert first.body == second.body == bytes(form)
    for name in "Content-Length", "Content-Type":
        assert first.headers[name] == second.headers[name]


def test_a_form_follows_a_redirect(
    session: requests.Session, server: LoopbackServer, form: FormData
) -> None:
    server.script = [redirect(f"{server.url}/there", 307)]
    assert session.post(f"{server.url}/here", data=form).status_code == 200
    assert [received.target for received in server.requests] == ["/here", "/there"]
    assert_arrived_twice(form, server)


def test_a_form_is_sent_again_with_the_answer_to_a_challenge(
    session: requests.Session, server: LoopbackServer, form: FormData
) -> None:
    server.script = [Answer(401, {"WWW-Authenticate": 'Digest realm="a", nonce="b", qop="auth"'})]
    auth = HTTPDigestAuth("user", "password")
    assert session.post(server.url, data=form, auth=auth).status_code == 200
    assert_arrived_twice(form, server)


def test_a_form_is_sent_again_by_a_retry(
    session: requests.Session, server: LoopbackServer, form: FormData
) -> None:
    retry = Retry(1, status_forcelist=[503], allowed_methods=None)
    session.mount("http://", FileAdapter(max_retries=retry))
    server.script = [Answer(503)]
    assert session.post(server.url, data=form).status_code == 200
    assert_arrived_twice(form, server)


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


def test_a_long_content_is_sent_in_blocks() -> None:
    form = FormData(files={"eventFile": bytes(8 * MIB)})
    blocks = list(form)
    assert max(map(len, blocks)) < MIB
    assert b"".join(blocks) == bytes(form)


def test_a_small_form_is_sent_in_one_piece(path: Path) -> None:
    form = FormData({"group": "Test", "pipeline": "gstlal"}, {"eventFile": path})
    assert list(form) == [bytes(form)]


# Files that change


@pytest.fixture(params=["path", "open file"])
def changing(request: pytest.FixtureRequest, path: Path) -> Iterator[FormData]:
    """A form with a file that can still change, and is longer than a block."""
    os.truncate(path, 2 * MIB)
    if request.param == "path":
        yield FormData({"group": "Test"}, {"eventFile": path})
    else:
        with path.open("rb") as file:
            yield FormData({"group": "Test"}, {"eventFile": file})


def post_in_vain(session: requests.Session, server: LoopbackServer, form: FormData) -> None:
    """Send a form whose file has changed."""
    with pytest.raises(RuntimeError, match=r"^\S*coinc\.xml no longer has the \d+ bytes"):
        session.post(server.url, data=form)


@pytest.mark.parametrize("size", [0, MIB, 2 * MIB - 1, 2 * MIB + 1, 4 * MIB])
def test_a_file_that_changed_size_since_the_form_was_made_is_not_sent(
    session: requests.Session,
    server: LoopbackServer,
    arrived: queue.Queue[Received],
    path: Path,
    changing: FormData,
    size: int,
) -> None:
    os.truncate(path, size)
    post_in_vain(session, server, changing)
    received = arrived.get(timeout=30)
    assert_is_broken_off(received)
    assert b"coinc.xml" not in received.body


@pytest.mark.parametrize("size", [0, MIB, 2 * MIB, 2 * MIB + 2, 4 * MIB])
def test_a_file_that_changes_size_while_it_is_sent_breaks_the_request_off(
    session: requests.Session,
    server: LoopbackServer,
    arrived: queue.Queue[Received],
    path: Path,
    size: int,
) -> None:
    def change(progress: int) -> None:
        os.truncate(path, size)

    os.truncate(path, 2 * MIB + 1)
    post_in_vain(session, server, FormData(files={"eventFile": path}, progress=change))
    received = arrived.get(timeout=30)
    assert_is_broken_off(received)
    assert b"coinc.xml" in received.body


def test_the_connection_of_a_request_that_broke_off_is_not_used_again(
    session: requests.Session,
    server: LoopbackServer,
    arrived: queue.Queue[Received],
    path: Path,
    changing: FormData,
) -> None:
    session.get(server.url)
    os.truncate(path, 0)
    post_in_vain(session, server, changing)
    session.get(server.url)
    received = [arrived.get(timeout=30) for _ in range(3)]
    assert [one.connection for one in received if one.method == "GET"] == [1, 2]
    assert [one.connection for one in received if one.method == "POST"] == [1]


def test_a_file_may_change_between_two_forms(echo: Echo, path: Path) -> None:
    echo(FormData(files={"eventFile": path}))
    path.write_bytes(b"other")
    assert echo(FormData(files={"eventFile": path}))["files"] == [uploaded(content=b"other")]


def test_a_file_that_has_its_size_again_is_sent(
    session: requests.Session, server: LoopbackServer, echo: Echo, path: Path, changing: FormData
) -> None:
    os.truncate(path, 0)
    post_in_vain(session, server, changing)
    os.truncate(path, 2 * MIB)
    assert echo(changing)["files"] == [uploaded(content=bytes(2 * MIB))]


def test_a_file_that_has_vanished_is_an_error_that_names_it(
    session: requests.Session, server: LoopbackServer, arrived: queue.Queue[Received], path: Path
) -> None:
    form = FormData(files={"eventFile": path})
    path.unlink()
    with pytest.raises(RuntimeError, match=f"cannot read {re.escape(str(path))}"):
        session.post(server.url, data=form)
    assert_is_broken_off(arrived.get(timeout=30))


def test_an_open_file_that_has_been_closed_is_an_error_that_names_it(
    session: requests.Session, server: LoopbackServer, arrived: queue.Queue[Received], path: Path
) -> None:
    with path.open("rb") as file:
        form = FormData(files={"eventFile": file})
    with pytest.raises(RuntimeError, match=r"cannot read coinc\.xml .*closed file"):
        session.post(server.url, data=form)
    assert_is_broken_off(arrived.get(timeout=30))


# Progress


def test_progress_adds_up_to_the_length_of_the_form(
    session: requests.Session, server: LoopbackServer
) -> None:
    progress: list[int] = []
    form = FormData(files={"eventFile": bytes(3 * MIB)}, progress=progress.append)
    session.post(server.url, data=form)
    assert len(progress) > 3
    assert min(progress) > 0
    assert sum(progress) == len(form)


def test_progress_is_taken_back_when_the_form_is_sent_again(
    session: requests.Session, server: LoopbackServer
) -> None:
    progress: list[int] = []
    form = FormData({"group": "Test"}, progress=progress.append)
    server.script = [redirect(server.url, 307), redirect(server.url, 307)]
    session.post(server.url, data=form)
    size = len(form)
    assert progress == [size, -size, size, -size, size]


def test_progress_is_taken_back_as_far_as_it_went() -> None:
    progress: list[int] = []
    form = FormData(files={"eventFile": bytes(3 * MIB)}, progress=progress.append)
    blocks = iter(form)
    handed_on = len(next(blocks)) + len(next(blocks))
    content = b"".join(form)
    assert progress[2] == -handed_on
    assert sum(progress) == len(content) == len(form)


@pytest.mark.parametrize("error", [OSError, BrokenPipeError, ValueError])
def test_a_progress_that_fails_leaves_no_whole_form(
    session: requests.Session,
    server: LoopbackServer,
    arrived: queue.Queue[Received],
    error: type[Exception],
) -> None:
    def broken(size: int) -> None:
        raise error("no screen")

    with pytest.raises((RuntimeError, ValueError), match="no screen"):
        session.post(server.url, data=FormData({"group": "Test"}, progress=broken))
    assert_is_broken_off(arrived.get(timeout=60))


def test_a_progress_that_cannot_be_taken_back_ends_the_request(
    session: requests.Session, server: LoopbackServer
) -> None:
    def broken(size: int) -> None:
        if size < 0:
            raise BrokenPipeError

    form = FormData({"group": "Test"}, progress=broken)
    server.script = [redirect(server.url, 307)]
    with pytest.raises(RuntimeError, match="progress"):
        session.post(server.url, data=form)
    server.wait_for_requests(2)
    session.post(server.url, data=FormData())
    first, broken_off, _ = server.requests
    assert first.body == bytes(form)
    assert_is_broken_off(broken_off)


def test_the_bytes_of_a_form_are_no_progress() -> None:
    progress: list[int] = []
    bytes(FormData({"group": "Test"}, progress=progress.append))
    assert progress == []


# As an object


def test_a_form_pickles(echo: Echo, path: Path) -> None:
    form = FormData({"group": "Test"}, {"eventFile": path, "upload": ("a.xml", b"a")})
    copy = pickle.loads(pickle.dumps(form))
    assert copy.content_type == form.content_type
    assert bytes(copy) == bytes(form)
    assert echo(copy)["files"] == [uploaded(), uploaded("upload", "a.xml", b"a")]


def test_a_form_pickles_without_its_progress(path: Path) -> None:
    progress: list[int] = []

    def report(size: int) -> None:
        progress.append(size)

    form = FormData(files={"eventFile": path}, progress=report)
    copy = pickle.loads(pickle.dumps(form))
    assert b"".join(copy) == bytes(form)
    assert progress == []
    assert b"".join(form) == bytes(form)
    assert sum(progress) == len(form)


def test_the_representation_tells_the_size_but_not_the_content(path: Path) -> None:
    form = FormData({"comment": "confidential"}, {"eventFile": path})
    boundary = form.content_type.partition("boundary=")[2]
    assert repr(form) == f"<FormData {boundary}: 2 parts, {len(form)} bytes>"


@pytest.mark.parametrize("mode", ["rb", "r"])
def test_a_closed_file_is_an_error_at_once(path: Path, mode: str) -> None:
    with path.open(mode) as file:
        pass
    with pytest.raises(ValueError, match="closed file"):
        FormData(files={"eventFile": file})


def test_a_file_open_for_writing_is_an_error_at_once(path: Path) -> None:
    with path.open("wb") as file, pytest.raises(OSError):
        FormData(files={"eventFile": file})


def test_nothing_is_no_file() -> None:
    with pytest.raises(ValueError, match="eventFile"):
        FormData(files={"eventFile": None})


def test_a_file_mapped_into_memory_is_sent(path: Path) -> None:
    path.write_bytes(b"mapped")
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as mapped:
        assert bytes(FormData(files={"eventFile": ("a", mapped)})).count(b"mapped") == 1


def test_without_standard_input_there_is_nothing_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(ValueError, match="standard input"):
        FormData(files={"eventFile": ("-",)})


def test_an_open_file_is_read_right_by_two_who_take_turns() -> None:
    content = b"".join(bytes([65 + number]) * 256 * 1024 for number in range(5))
    form = FormData(files={"eventFile": io.BytesIO(content)})
    blocks = iter(form)
    first = [next(blocks), next(blocks)]
    next(iter(form))
    assert b"".join([*first, *blocks]) == bytes(form)
