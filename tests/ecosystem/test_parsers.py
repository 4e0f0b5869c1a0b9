"""What a form is made of, the parsers of Python's web frameworks read back from it."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from typing import Any, NamedTuple, Union
from unittest.mock import patch

import multipart
import pytest
import python_multipart
import requests
from django.conf import settings as django_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.formparser import parse_form_data

from requests_gracedb import FileAdapter, FormData
from requests_gracedb.form import guess_content_type
from tests.loopback_server import LoopbackServer

if not django_settings.configured:
    django_settings.configure(DATA_UPLOAD_MAX_MEMORY_SIZE=None)

from django.core.files.uploadhandler import MemoryFileUploadHandler  # noqa: E402
from django.http.multipartparser import MultiPartParser  # noqa: E402

pytestmark = pytest.mark.usefixtures("unmeasured")

# One session and one server serve all examples of a test: neither keeps anything of them.
often = settings(
    max_examples=2000,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


class Part(NamedTuple):
    """A part of a form: a file, or without a filename a field."""

    name: str
    filename: str | None
    content_type: str | None
    headers: dict[str, str]
    content: bytes


EVENT_FILE = Part("eventFile", "coinc.xml", None, {}, b"<LIGO_LW/>")

#: What a file is made of its content as.
Source = Callable[[bytes], Any]


# What to send. A boundary is random, so that nothing in a form can be foreseen to look like it; for
# these tests it is not, so that something can.

RANDOM = bytes(range(0x70, 0x80))
BOUNDARY = RANDOM.hex()
LOOK_ALIKES = [
    "\r\n--",
    "\r\n--\r\n",
    f"\r\n--{BOUNDARY[:-1]}",
    f"\r\n--{BOUNDARY[:-1]}\r\n",
    f"--{BOUNDARY[:-1]}--\r\n",
    f"\r\n-{BOUNDARY}\r\n",
    f"\r\n- -{BOUNDARY}--\r\n",
    f"\r\n{BOUNDARY}\r\n",
    f"\r\n--{BOUNDARY[1:]}\r\n",
]


def text_of(pieces: Sequence[str], *, max_size: int) -> st.SearchStrategy[str]:
    """Put pieces together. (As one text, for lists are slow to draw.)"""
    letters = {chr(ord("A") + number): piece for number, piece in enumerate(pieces)}
    table = str.maketrans(letters)
    return st.text(list(letters), max_size=max_size).map(lambda text: text.translate(table))


# Neither characters that UTF-8 has no place for, nor NUL, which FormData refuses.
anything = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
names = anything | text_of(
    [*'"%\\/;:&=.,\'*\r\n\t -abCD20', "%22", "&amp;", 'name="', "coinc.xml", *LOOK_ALIKES],
    max_size=4,
)
contents = st.binary(max_size=50) | text_of(
    ["\r", "\n", "-", "\0", "é", *LOOK_ALIKES, 'Content-Disposition: form-data; name="a"\r\n\r\n'],
    max_size=4,
).map(str.encode)

TOKEN = "!#$%&'*+.^_`|~09AZaz-"
# These say what a part is and how to read it. White space at either end of a value is not of it
# (RFC 9110, section 5.5).
RESERVED = "content-disposition", "content-length", "content-transfer-encoding", "content-type"
headers = st.lists(
    st.tuples(
        st.text(TOKEN, min_size=1, max_size=20).filter(lambda name: name.lower() not in RESERVED),
        st.text(
            st.characters(exclude_categories=["Cs", "Cc"], include_characters="\t"), max_size=20
        ).map(lambda value: value.strip(" \t")),
    ),
    max_size=2,
    unique_by=lambda header: header[0].lower(),
).map(dict)
content_types = (
    st.none()
    | st.text(TOKEN, min_size=1, max_size=20).map("application/{}".format)
    | st.sampled_from(["text/XML; charset=utf-8", 'text/x; version="1; 2"'])
)

no_headers: dict[str, str] = {}
fields = st.builds(Part, names, st.none(), st.none(), st.just(no_headers), contents)
files = st.builds(Part, names, names, content_types, headers, contents)
# Fields go first.
forms = st.lists(fields | files, max_size=3).map(
    lambda parts: sorted(parts, key=lambda part: part.filename is not None)
)

sources: st.SearchStrategy[Source] = st.sampled_from([bytes, io.BytesIO])
block_sizes = st.integers(1, 99)


def as_wanted(part: Part) -> Part:
    """What must arrive: names as browsers write them, and a media type for every file."""
    quoted = {'"': "%22", "\r": "%0D", "\n": "%0A"}
    name, filename = (
        text and re.sub('["\r\n]', lambda match: quoted[match[0]], text) for text in part[:2]
    )
    content_type = part.content_type
    if part.filename is not None and content_type is None:
        content_type = guess_content_type(part.filename)
    return Part(str(name), filename, content_type, part.headers, part.content)


# How to send it: the Content-Type of the request, and its body.

Encode = Callable[[Sequence[Part]], tuple[str, bytes]]
FILE_ADAPTER = FileAdapter()


def form_data(parts: Sequence[Part]) -> tuple[str, bytes]:
    """Encode a form with `FormData`."""
    form = made_of(parts)
    return form.content_type, bytes(form)


def file_adapter(parts: Sequence[Part]) -> tuple[str, bytes]:
    """Encode a form with requests and `FileAdapter`."""
    with patch("os.urandom", lambda size: RANDOM):
        request = requests.Request("POST", "http://localhost/", **arguments(parts)).prepare()
    FILE_ADAPTER.add_headers(request)
    body = bytes(request.body or b"")
    assert request.headers["Content-Length"] == str(len(body))
    return request.headers["Content-Type"], body


def made_of(parts: Sequence[Part], source: Source = bytes) -> FormData:
    with patch("os.urandom", lambda size: RANDOM):
        return FormData(**arguments(parts, source))


def arguments(parts: Sequence[Part], source: Source = bytes) -> dict[str, Any]:
    """Put parts as ``data`` and ``files`` take them."""
    return {
        "data": [(part.name, part.content) for part in parts if part.filename is None],
        "files": [
            (part.name, (part.filename, source(part.content), part.content_type, part.headers))
            for part in parts
            if part.filename is not None
        ],
    }


# How to read it back.


class Change(NamedTuple):
    """What a parser does to a name that has arrived as it should."""

    reason: str
    pattern: str
    becomes: Union[str, Callable[[re.Match[str]], str]]


class Parser:
    """A parser, and what it is known to do to a form."""

    names: list[Change] = []
    filenames: list[Change] = []
    #: Headers of parts that it cannot read, and why.
    unreadable: dict[str, str] = {}

    def read(self, content_type: str, body: bytes) -> Iterable[Part]:
        raise NotImplementedError

    def __repr__(self) -> str:
        return type(self).__name__

    def can_read(self, part: Part) -> bool:
        disposition = f'name="{part.name}"'
        if part.filename is not None:
            disposition += f'; filename="{part.filename}"'
        lines = [disposition, *(f"{name}:" for name in part.headers)]
        return not any(re.search(pattern, line) for pattern in self.unreadable for line in lines)

    def expected(self, part: Part) -> Part | None:
        """What it makes of a part; None if it leaves it out."""
        filename = part.filename
        if filename is not None:
            filename = changed(filename, self.filenames)
        content_type = {} if part.content_type is None else {"content-type": part.content_type}
        headers = {name.lower(): value for name, value in part.headers.items()}
        name = changed(part.name, self.names)
        return Part(name, filename, None, {**content_type, **headers}, part.content)


def changed(text: str, changes: Sequence[Change]) -> str:
    for change in changes:
        text = re.sub(change.pattern, change.becomes, text, flags=re.DOTALL)
    return text


def as_field(part: Part) -> Part:
    """What a parser shows of a field that keeps no headers, and takes the value for text."""
    text = part.content.decode("utf-8", "replace")
    return Part(part.name, None, None, {}, text.encode())


QUOTED_PAIR = Change("a backslash quotes a backslash (RFC 822)", r"\\\\", r"\\")
# Browsers do not escape a backslash, and neither does FormData.
CLOSING_QUOTE = "a backslash before the closing quote seems to quote it, and the quote does not end"


class Django(Parser):
    """Django, and Django REST framework, on which GraceDB runs."""

    names = [
        QUOTED_PAIR,
        Change("white space around a name goes", r"\A[ \t\n\r\v\f]+|[ \t\n\r\v\f]+\Z", ""),
    ]
    filenames = [
        QUOTED_PAIR,
        Change("browsers used to write character references", r".+", lambda m: html.unescape(m[0])),
        Change("a file must not choose its directory", r".*[/\\]", ""),
        Change("what cannot be seen goes", r".", lambda m: m[0] if m[0].isprintable() else ""),
    ]
    unreadable = {r'\\"; ': CLOSING_QUOTE}

    def read(self, content_type: str, body: bytes) -> Iterable[Part]:
        meta = {"CONTENT_TYPE": content_type, "CONTENT_LENGTH": str(len(body))}
        parser = MultiPartParser(meta, io.BytesIO(body), [MemoryFileUploadHandler()], "utf-8")
        fields, files = parser.parse()
        for name, values in fields.lists():
            yield from (Part(name, None, None, {}, value.encode()) for value in values)
        for name, uploads in files.lists():
            for file in uploads:
                headers = {"content-type": file.content_type}
                yield Part(name, file.name, None, headers, file.read())

    def expected(self, part: Part) -> Part | None:
        expected = super().expected(part)
        assert expected is not None
        if not part.filename:
            return as_field(expected)  # An empty filename is no file: so do browsers say it.
        if not expected.name or expected.filename in ("", ".", ".."):
            return None  # A file is thrown away if it has no field or no name.
        # It keeps one header, and splits the parameters off.
        media_type = expected.headers["content-type"].partition(";")[0].lower()
        return expected._replace(headers={"content-type": media_type})


class Werkzeug(Parser):
    """Werkzeug, on which Flask runs."""

    names = filenames = [
        Change("a backslash quotes any character (RFC 9110)", r"\\(.)", r"\1"),
        Change("this much is decoded of what browsers encode", "%22", '"'),
    ]
    unreadable = {r'(?<!\\)(\\\\)*\\"': CLOSING_QUOTE}

    def read(self, content_type: str, body: bytes) -> Iterable[Part]:
        environ = {
            "wsgi.input": io.BytesIO(body),
            "CONTENT_TYPE": content_type,
            "CONTENT_LENGTH": str(len(body)),
        }
        _, fields, files = parse_form_data(environ, silent=False)
        for name, value in fields.items(multi=True):
            yield Part(name, None, None, {}, value.encode())
        for name, file in files.items(multi=True):
            headers = {name.lower(): value for name, value in file.headers}
            del headers["content-disposition"]
            yield Part(name, file.filename, None, headers, file.read())
            file.close()

    def expected(self, part: Part) -> Part | None:
        expected = super().expected(part)
        return as_field(expected) if expected and expected.filename is None else expected


class PythonMultipart(Parser):
    """python-multipart, used as Starlette does, on which FastAPI runs."""

    names = [QUOTED_PAIR]
    filenames = [
        QUOTED_PAIR,
        Change("Internet Explorer 6 sent whole paths", r"\A(?=.:\\|\\\\).*\\", ""),
    ]
    unreadable = {r'\\"; ': CLOSING_QUOTE}

    def read(self, content_type: str, body: bytes) -> Iterable[Part]:
        _, options = python_multipart.multipart.parse_options_header(content_type)
        parts: list[tuple[list[bytes], bytearray]] = []
        parser = python_multipart.MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": lambda: parts.append(([], bytearray())),
                "on_header_begin": lambda: parts[-1][0].extend([b"", b""]),
                "on_header_field": lambda data, start, end: add(-2, data[start:end]),
                "on_header_value": lambda data, start, end: add(-1, data[start:end]),
                "on_part_data": lambda data, start, end: parts[-1][1].extend(data[start:end]),
            },
        )

        def add(index: int, piece: bytes) -> None:
            parts[-1][0][index] += piece

        parser.write(body)
        parser.finalize()
        for lines, content in parts:
            values = {name.lower().decode(): value for name, value in zip(lines[::2], lines[1::2])}
            assert len(lines) == 2 * len(values), "a header is there twice"
            disposition = values.pop("content-disposition")
            _, options = python_multipart.multipart.parse_options_header(disposition)
            filename = options.get(b"filename")
            yield Part(
                options[b"name"].decode(),
                None if filename is None else filename.decode(),
                None,
                {name: value.decode() for name, value in values.items()},
                bytes(content),
            )


class Multipart(Parser):
    """multipart, on which Bottle runs."""

    names = [
        Change("decoded as browsers encode it", "%0D", "\r"),
        Change("decoded as browsers encode it", "%0A", "\n"),
        Change("decoded as browsers encode it", "%22", '"'),
    ]
    filenames = [
        *names,
        Change("Internet Explorer 6 sent whole paths", r"\A(?=.:\\|\\\\).*\\", ""),
    ]
    unreadable = {r"\A[^=]*[^\w=-][^=]*:\Z": "a header name has letters, digits, - and _ only"}

    def read(self, content_type: str, body: bytes) -> Iterable[Part]:
        _, options = multipart.parse_options_header(content_type)
        stream = io.BytesIO(body)
        for part in multipart.MultipartParser(stream, options["boundary"], len(body), strict=True):
            headers = {name.lower(): value for name, value in part.headerlist}
            del headers["content-disposition"]
            yield Part(part.name, part.filename, None, headers, part.raw)
            part.close()


PARSERS = Django(), Werkzeug(), PythonMultipart(), Multipart()


@often
@given(form=forms)
def test_every_parser_reads_a_form_data_as_it_was(form: list[Part]) -> None:
    readings, expected = read(form, form_data)
    assert readings == expected


@often
@given(form=forms)
def test_every_parser_reads_a_form_of_requests_as_it_was(form: list[Part]) -> None:
    # urllib3 leaves out a header without a value; and where no file is, there is no form.
    sent = [part._replace(headers=without_empty(part.headers)) for part in form]
    readings, expected = read([*sent, EVENT_FILE], file_adapter)
    assert readings == expected


@often
@given(form=forms, source=sources, block_size=block_sizes)
def test_the_length_of_a_form_data_is_that_of_what_arrives(
    server: LoopbackServer,
    session: requests.Session,
    form: list[Part],
    source: Source,
    block_size: int,
) -> None:
    server.requests.clear()
    session.trust_env = False  # The environment takes long to look through.
    with patch("requests_gracedb.form.BLOCK_SIZE", block_size):
        made = made_of(form, source)
        session.post(server.url, data=made)
    [received] = server.requests
    assert received.body == bytes(made)
    assert received.headers["Content-Length"] == str(len(made)) == str(len(received.body))


@often
@given(form=forms, source=sources, block_size=block_sizes)
def test_a_form_data_is_the_same_each_time(
    form: list[Part], source: Source, block_size: int
) -> None:
    with patch("requests_gracedb.form.BLOCK_SIZE", block_size):
        made = made_of(form, source)
        assert list(made) == list(made)


Readings = dict[Parser, list[Part]]


def read(form: Sequence[Part], encode: Encode) -> tuple[Readings, Readings]:
    """Tell what each of the parsers reads of a form, and what it should."""
    readings: Readings = {}
    expected: Readings = {}
    wanted = [as_wanted(part) for part in form]
    for parser in PARSERS:
        legible = [parser.can_read(part) for part in wanted]
        readings[parser] = in_order(parser.read(*encode(list(compress(form, legible)))))
        expected[parser] = in_order(parser.expected(part) for part in compress(wanted, legible))
    return readings, expected


def in_order(parts: Iterable[Part | None]) -> list[Part]:
    """Sort parts of different names, as some parsers do; those of one name stay as they are."""
    present = [part for part in parts if part is not None]
    return sorted(present, key=lambda part: (part.filename is not None, part.name))


def without_empty(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if value}
