"""FormData: what it takes, what it refuses, and how it describes its parts."""

from __future__ import annotations

import io
import mimetypes
import os
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from requests_gracedb import FormData
from tests.conftest import CONTENT
from tests.unit.forms import TEXT, Echo, uploaded


@pytest.fixture
def mime_types_of_the_machine(tmp_path: Path) -> Iterator[None]:
    """A machine with opinions of its own."""
    table = tmp_path / "mime.types"
    table.write_text("text/x-of-the-machine xml fits h5 gz unheard-of\n")
    mimetypes.init([str(table)])
    assert mimetypes.guess_type("coinc.xml") == ("text/x-of-the-machine", None)
    yield
    mimetypes.init()


# What a form takes


@pytest.mark.parametrize("kind", [dict, list, tuple, iter])
def test_fields_and_files_are_mappings_or_pairs(
    echo: Echo, event_file: Path, kind: Callable[..., Any]
) -> None:
    data = [("group", "Test"), ("pipeline", "gstlal")]
    answer = echo(FormData(kind(data), kind([("eventFile", event_file)])))
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


def test_a_path_object_is_read_from_disk(echo: Echo, event_file: Path) -> None:
    assert echo(FormData(files={"eventFile": event_file}))["files"] == [uploaded()]


@pytest.mark.parametrize(
    "rest", [(), (None,), (None, None), (None, None, None), (None, None, {})]
)
@pytest.mark.parametrize("kind", [tuple, list])
@pytest.mark.parametrize("filename", [str, os.fsencode, Path])
def test_a_filename_without_content_is_read_from_disk(
    echo: Echo,
    event_file: Path,
    filename: Callable[[Path], Any],
    kind: Callable[..., Any],
    rest: tuple[Any, ...],
) -> None:
    file = kind([filename(event_file), *rest])
    # A list that starts with a path object is a list of files, of which the rest would be none.
    if kind is list and filename is not str:
        file = [tuple(file)]
    assert echo(FormData(files={"eventFile": file}))["files"] == [uploaded()]


def test_the_directory_of_a_path_stays_private(event_file: Path) -> None:
    form = FormData(files=[("a", event_file), ("b", (str(event_file),))])
    assert bytes(form).count(b'; filename="coinc.xml"\r\n') == 2
    assert os.fsencode(event_file.parent.name) not in bytes(form)


def test_a_path_object_may_be_sent_under_another_name(echo: Echo, event_file: Path) -> None:
    form = FormData(files={"eventFile": ("other.fits", event_file)})
    assert echo(form)["files"] == [uploaded(filename="other.fits", content_type="application/fits")]


def test_an_open_file_has_the_name_that_it_was_opened_with(echo: Echo, event_file: Path) -> None:
    with event_file.open("rb") as file:
        assert echo(FormData(files={"eventFile": file}))["files"] == [uploaded()]


def test_an_open_file_without_a_name_has_that_of_the_field(echo: Echo) -> None:
    file = io.BytesIO(CONTENT)
    expected = uploaded(filename="eventFile", content_type="application/octet-stream")
    assert echo(FormData(files={"eventFile": file}))["files"] == [expected]


@pytest.mark.filterwarnings("ignore:a str in files")
@pytest.mark.parametrize("content", ["coinc.xml", b"coinc.xml"])
def test_content_alone_has_the_name_of_the_field_and_is_no_path(
    echo: Echo, event_file: Path, monkeypatch: pytest.MonkeyPatch, content: Any
) -> None:
    monkeypatch.chdir(event_file.parent)
    expected = uploaded("coinc.xml", content=b"coinc.xml")
    assert echo(FormData(files={"coinc.xml": content}))["files"] == [expected]


def test_content_without_a_filename_is_a_field(echo: Echo) -> None:
    answer = echo(FormData(files={"group": (None, b"Test")}))
    assert answer["fields"] == {"group": ["Test"]}
    assert answer["files"] == []


def test_a_field_may_have_several_files(echo: Echo, event_file: Path) -> None:
    with io.BytesIO(b"c") as file:
        form = FormData(files={"upload": [event_file, ("b.xml", b"b"), file, b"d"]})
        assert echo(form)["files"] == [
            uploaded("upload"),
            uploaded("upload", "b.xml", b"b"),
            uploaded("upload", "upload", b"c", "application/octet-stream"),
            uploaded("upload", "upload", b"d", "application/octet-stream"),
        ]


def test_a_field_with_a_file_may_be_repeated(echo: Echo, event_file: Path) -> None:
    form = FormData(files=[("upload", event_file), ("upload", ("b.xml", b"b"))])
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


def test_a_file_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="eventFile"):
        FormData(files={"eventFile": None})


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
    with pytest.raises(ValueError, match="NUL|null (byte|character)"):
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


def test_a_media_type_that_is_given_stays(echo: Echo, event_file: Path) -> None:
    form = FormData(files={"eventFile": (str(event_file), None, "text/x-mine")})
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


# As an object


def test_no_two_forms_have_the_same_boundary() -> None:
    assert FormData().content_type != FormData().content_type


def test_a_form_pickles(echo: Echo, event_file: Path) -> None:
    form = FormData({"group": "Test"}, {"eventFile": event_file, "upload": ("a.xml", b"a")})
    copy = pickle.loads(pickle.dumps(form))
    assert copy.content_type == form.content_type
    assert bytes(copy) == bytes(form)
    assert echo(copy)["files"] == [uploaded(), uploaded("upload", "a.xml", b"a")]


def test_a_form_pickles_without_its_progress(event_file: Path) -> None:
    progress: list[int] = []

    def report(size: int) -> None:
        progress.append(size)

    form = FormData(files={"eventFile": event_file}, progress=report)
    copy = pickle.loads(pickle.dumps(form))
    assert b"".join(copy) == bytes(form)
    assert progress == []
    assert b"".join(form) == bytes(form)
    assert sum(progress) == len(form)


def test_the_representation_of_a_form_tells_the_size_but_not_the_content(event_file: Path) -> None:
    form = FormData({"comment": "confidential"}, {"eventFile": event_file})
    boundary = form.content_type.partition("boundary=")[2]
    assert repr(form) == f"<FormData {boundary}: 2 parts, {len(form)} bytes>"
