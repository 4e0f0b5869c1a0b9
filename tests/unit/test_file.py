"""FileAdapter: the files of a form have a media type, and none of them gets lost."""

from __future__ import annotations

import io
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import requests

from requests_gracedb import FileAdapter, FormData, UserAgentAdapter
from tests.conftest import CONTENT, write_netrc
from tests.loopback_server import Answer, LoopbackServer, redirect
from tests.unit.forms import Echo, uploaded

BOUNDARY = "0123456789abcdef" * 2


def without_boundary(body: bytes, content_type: str) -> bytes:
    """Make forms comparable."""
    boundary = content_type.partition("boundary=")[2]
    assert re.fullmatch("[0-9a-f]{32}", boundary)
    return body.replace(boundary.encode(), b"boundary")


# Media types


@pytest.mark.parametrize(
    ("filename", "content_type"),
    [
        ("coinc.xml", "text/xml"),
        ("coinc.xml.gz", "application/gzip"),
        ("bayestar.fits", "application/fits"),
        ("bayestar.fits.gz", "application/gzip"),
        ("posterior.hdf5", "application/x-hdf5"),
        ("Größe.xml", "text/xml"),
        ("event.unheard-of", "application/octet-stream"),
        ("event", "application/octet-stream"),
    ],
)
def test_a_file_without_a_media_type_gets_that_of_its_name(
    echo: Echo, filename: str, content_type: str
) -> None:
    answer = echo(files={"eventFile": (filename, CONTENT)})
    assert answer["files"] == [uploaded(filename=filename, content_type=content_type)]


def test_an_open_file_gets_the_media_type_of_its_name(echo: Echo, tmp_path: Path) -> None:
    path = tmp_path / "bayestar.fits.gz"
    path.write_bytes(CONTENT)
    with path.open("rb") as file:
        (received,) = echo(files={"eventFile": file})["files"]
    assert received == uploaded(filename="bayestar.fits.gz", content_type="application/gzip")


def test_a_media_type_that_is_given_stays(echo: Echo) -> None:
    answer = echo(files={"eventFile": ("coinc.xml", CONTENT, "text/x-mine")})
    assert answer["files"] == [uploaded(content_type="text/x-mine")]


def test_a_media_type_among_the_headers_of_the_part_stays(
    uploading: requests.Session, server: LoopbackServer
) -> None:
    headers = {"content-type": "text/x-mine"}
    files: Any = {"eventFile": ("coinc.xml", CONTENT, None, headers)}
    uploading.post(server.url, files=files)
    (received,) = server.requests
    found = re.findall(b"(?i)content-type: .*", received.body)
    assert found == [b"content-type: text/x-mine\r"]


def test_headers_of_a_part_stay_beside_the_media_type(
    uploading: requests.Session, server: LoopbackServer
) -> None:
    headers = {"Content-ID": "<1>", "X-Comment": "content-type: none"}
    files: Any = {"eventFile": ("coinc.xml", CONTENT, None, headers)}
    uploading.post(server.url, files=files)
    (received,) = server.requests
    header = received.body.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    assert sorted(header) == [
        b'Content-Disposition: form-data; name="eventFile"; filename="coinc.xml"',
        b"Content-ID: <1>",
        b"Content-Type: text/xml",
        b"X-Comment: content-type: none",
    ]


def test_fields_beside_the_file_stay_as_they_are(
    uploading: requests.Session, server: LoopbackServer
) -> None:
    data = {"group": "Test", "coinc.xml": "coinc.xml"}
    uploading.post(server.url, data=data, files={"eventFile": ("coinc.xml", CONTENT)})
    (received,) = server.requests
    assert b'name="group"\r\n\r\nTest\r\n' in received.body
    assert b'name="coinc.xml"\r\n\r\ncoinc.xml\r\n' in received.body
    assert received.body.count(b"Content-Type:") == 1


def test_a_part_without_a_filename_stays_as_it_is(echo: Echo) -> None:
    answer = echo(files={"group": (None, "Test"), "eventFile": ("coinc.xml", CONTENT)})
    assert answer["fields"] == {"group": ["Test"]}
    assert answer["files"] == [uploaded()]


TRICKY = [
    b"",
    b"\r\n",
    b"\r\n\r\n",
    b"--",
    b"--\r\n",
    b"\r\n--",
    f"--{BOUNDARY}\r\n".encode(),
    f"\r\n--{BOUNDARY}\r\n\r\n".encode(),
    f"\r\n--{BOUNDARY}--\r\n".encode(),
    b'\r\nContent-Disposition: form-data; name="a"; filename="a.fits"\r\n\r\n',
    b"\r\nContent-Type: a/b\r\n\r\n",
    bytes(range(256)),
    b"a" * 300_000,
]


@pytest.mark.parametrize("content", TRICKY)
def test_content_is_not_looked_into(echo: Echo, content: bytes) -> None:
    files = [("one", ("a.fits", content)), ("two", ("a.xml", content)), ("three", content)]
    answer = echo(data={"field": "\r\n\r\n"}, files=files)
    assert answer["fields"] == {"field": ["\r\n\r\n"]}
    assert answer["files"] == [
        uploaded("one", "a.fits", content, "application/fits"),
        uploaded("two", "a.xml", content, "text/xml"),
        uploaded("three", "three", content, "application/octet-stream"),
    ]


@pytest.mark.parametrize("content", TRICKY)
def test_the_form_is_as_if_the_media_types_had_been_given(
    uploading: requests.Session, server: LoopbackServer, content: bytes
) -> None:
    data = {"field": content}
    uploading.post(server.url, data=data, files={"a": ("a.fits", content), "b": ("b.xml", content)})
    uploading.post(
        server.url,
        data=data,
        files={
            "a": ("a.fits", content, "application/fits"),
            "b": ("b.xml", content, "text/xml"),
        },
    )
    first, second = (
        without_boundary(received.body, received.headers["Content-Type"])
        for received in server.requests
    )
    assert first == second


def test_the_content_length_is_that_of_the_whole_form(
    uploading: requests.Session, server: LoopbackServer
) -> None:
    for _ in range(2):
        uploading.post(server.url, files={"eventFile": ("coinc.xml", CONTENT)})
    # Were it wrong, what is left of the first form would be in the way of the second.
    assert server.connections == 1
    for received in server.requests:
        boundary = received.headers["Content-Type"].partition("boundary=")[2]
        assert received.body.endswith(f"\r\n--{boundary}--\r\n".encode())


def test_many_files_have_each_their_media_type(echo: Echo) -> None:
    types = {".xml": "text/xml", ".fits": "application/fits", ".xml.gz": "application/gzip"}
    names = [f"{number}{extension}" for number in range(30) for extension in types]
    files = [("upload", (name, name.encode())) for name in names]
    assert echo(files=files)["files"] == [
        uploaded("upload", name, name.encode(), types[name[name.index("."):]]) for name in names
    ]


def test_one_of_several_files_may_have_its_media_type(echo: Echo) -> None:
    files = {
        "one": ("coinc.xml", CONTENT, "text/x-mine"),
        "two": ("coinc.xml", CONTENT),
        "three": ("coinc.xml", CONTENT, "text/x-mine"),
    }
    assert echo(files=files)["files"] == [
        uploaded("one", content_type="text/x-mine"),
        uploaded("two"),
        uploaded("three", content_type="text/x-mine"),
    ]


def test_a_prepared_request_with_files_may_be_sent_twice(
    uploading: requests.Session, server: LoopbackServer
) -> None:
    files = {"eventFile": ("coinc.xml", CONTENT)}
    request = uploading.prepare_request(requests.Request("POST", server.url, files=files))
    uploading.send(request)
    uploading.send(request)
    first, second = server.requests
    assert first.body == second.body
    assert first.body.count(b"Content-Type: text/xml") == 1
    assert first.headers["Content-Length"] == second.headers["Content-Length"]


def test_files_follow_a_redirect(uploading: requests.Session, server: LoopbackServer) -> None:
    server.script = [redirect(server.url, 307)]
    uploading.post(server.url, files={"eventFile": ("coinc.xml", CONTENT)})
    first, second = server.requests
    assert first.body == second.body
    assert first.headers["Content-Length"] == second.headers["Content-Length"]


def test_nothing_is_left_of_a_form_when_a_redirect_turns_it_into_a_get(
    uploading: requests.Session, server: LoopbackServer
) -> None:
    server.script = [redirect(server.url, 303)]
    uploading.post(server.url, data=FormData({"group": "Test"}))
    received = server.requests[1]
    assert received.method == "GET"
    assert received.headers["Content-Type"] is None
    assert received.body == b""


def test_a_part_header_that_speaks_of_a_filename_makes_no_file(
    uploading: requests.Session, server: LoopbackServer
) -> None:
    headers = {"X-Comment": 'a; filename="a.xml"'}
    files: Any = {"group": (None, "Test", None, headers), "eventFile": ("coinc.xml", CONTENT)}
    uploading.post(server.url, files=files)
    (received,) = server.requests
    assert received.body.count(b"Content-Type:") == 1


def test_other_adapters_in_the_same_class_get_their_turn(
    uploading: requests.Session, server: LoopbackServer
) -> None:
    class Both(FileAdapter, UserAgentAdapter):
        pass

    uploading.mount("http://", Both(user_agent="my-pipeline/1.2"))
    uploading.post(server.url, files={"eventFile": ("coinc.xml", CONTENT)})
    (received,) = server.requests
    assert received.headers["User-Agent"].startswith("my-pipeline/1.2 ")
    assert b"Content-Type: text/xml" in received.body


# FormData


@pytest.mark.parametrize("headers", [None, {"Content-Type": "multipart/form-data"}])
def test_a_form_gets_the_content_type_that_belongs_to_it(
    uploading: requests.Session, server: LoopbackServer, headers: dict[str, str] | None
) -> None:
    form = FormData({"group": "Test"}, {"eventFile": ("coinc.xml", CONTENT)})
    uploading.post(server.url, data=form, headers=headers)
    (received,) = server.requests
    assert received.headers.get_all("Content-Type") == [form.content_type]
    assert received.body == bytes(form)


def test_a_form_without_files_is_sent(echo: Echo) -> None:
    assert echo(data=FormData({"group": "Test"}))["fields"] == {"group": ["Test"]}


def test_a_pickled_adapter_adds_the_media_type(
    uploading: requests.Session, server: LoopbackServer
) -> None:
    with pickle.loads(pickle.dumps(uploading)) as copy:
        copy.post(server.url, files={"eventFile": ("coinc.xml", CONTENT)})
    (received,) = server.requests
    assert b"Content-Type: text/xml" in received.body


# Files that requests leaves out


@pytest.mark.parametrize(
    "data",
    [
        None,
        {"group": "Test"},
        {"group": 'Content-Disposition: form-data; name="a"; filename="b"'},
        {"group": '\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\n'},
        {'group"; filename="b': "Test"},
    ],
)
@pytest.mark.parametrize(
    "files",
    [
        {"eventFile": ("coinc.xml", None)},
        {"eventFile": ("coinc.xml", None, "text/xml")},
        {"eventFile": ("coinc.xml", None, None, {})},
        {"eventFile": None},
        [("eventFile", ["coinc.xml", None]), ("eventFile", None)],
    ],
)
def test_a_file_that_requests_left_out_is_an_error_before_anything_is_sent(
    uploading: requests.Session, server: LoopbackServer, data: Any, files: Any
) -> None:
    with pytest.raises(ValueError, match="FormData"):
        uploading.post(server.url, data=data, files=files)
    assert server.connections == 0


def test_the_form_that_the_error_recommends_reads_the_file_from_disk(
    echo: Echo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("coinc.xml").write_bytes(CONTENT)
    data, files = {"group": "Test"}, {"eventFile": ("coinc.xml", None)}
    with pytest.raises(ValueError, match=r"data=requests_gracedb\.FormData\(data, files\)"):
        echo(data=data, files=files)
    answer = echo(data=FormData(data, files))
    assert answer["fields"] == {"group": ["Test"]}
    assert answer["files"] == [uploaded()]


@pytest.mark.parametrize("files", [None, {}, []])
def test_a_request_without_files_is_no_error(
    uploading: requests.Session, server: LoopbackServer, files: Any
) -> None:
    uploading.post(server.url, data={"group": "Test"}, files=files)
    (received,) = server.requests
    assert received.body == b"group=Test"


# Everything else

PART = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="a"; filename="a.xml"\r\n\r\na\r\n'
FORM = f"{PART}--{BOUNDARY}--\r\n".encode()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (None, b"raw"),
        ("text/xml", FORM),
        ("application/json", b"{}"),
        # The forms of others, whatever their boundary.
        ("multipart/form-data; boundary=mine", FORM.replace(BOUNDARY.encode(), b"mine")),
        (f'multipart/form-data; boundary="{BOUNDARY}"', FORM),
        (f"multipart/form-data;boundary={BOUNDARY}", FORM),
        (f"multipart/form-data; boundary={BOUNDARY}; charset=utf-8", FORM),
        (f"multipart/form-data; boundary={BOUNDARY}0", FORM.replace(b"ef\r\n", b"ef0\r\n")),
        (f"multipart/mixed; boundary={BOUNDARY}", FORM),
        (f"multipart/form-data; boundary={BOUNDARY}", b"preamble\r\n" + FORM),
        (f"multipart/form-data; boundary={BOUNDARY}", b"no form"),
    ],
)
def test_a_body_that_requests_did_not_make_of_files_stays_as_it_is(
    uploading: requests.Session, server: LoopbackServer, content_type: str | None, body: bytes
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    uploading.post(server.url, data=body, headers=headers)
    (received,) = server.requests
    assert received.headers["Content-Type"] == content_type
    assert received.body == body


def test_files_with_a_content_type_for_the_whole_request_stay_as_they_are(
    uploading: requests.Session, server: LoopbackServer
) -> None:
    files = {"eventFile": ("coinc.xml", CONTENT)}
    uploading.post(server.url, files=files, headers={"Content-Type": "multipart/mixed"})
    (received,) = server.requests
    assert received.headers["Content-Type"] == "multipart/mixed"
    assert b"Content-Type" not in received.body


@pytest.mark.parametrize(
    ("arguments", "content_type", "body"),
    [
        ({"json": {"a": 1}}, "application/json", b'{"a": 1}'),
        ({"data": {"a": 1}}, "application/x-www-form-urlencoded", b"a=1"),
        ({"data": "text"}, None, b"text"),
        ({}, None, b""),
    ],
)
def test_a_body_that_is_no_form_stays_as_it_is(
    uploading: requests.Session,
    server: LoopbackServer,
    arguments: dict[str, Any],
    content_type: str | None,
    body: bytes,
) -> None:
    uploading.post(server.url, **arguments)
    (received,) = server.requests
    assert received.headers["Content-Type"] == content_type
    assert received.headers["Content-Length"] == str(len(body))
    assert received.body == body


def test_a_stream_stays_as_it_is(uploading: requests.Session, server: LoopbackServer) -> None:
    content_type = f"multipart/form-data; boundary={BOUNDARY}"
    headers = {"Content-Type": content_type}
    uploading.post(server.url, data=io.BytesIO(FORM), headers=headers)
    uploading.post(server.url, data=iter([FORM]), headers=headers)
    assert [received.body for received in server.requests] == [FORM, FORM]


def test_the_answer_to_a_form_comes_through(
    uploading: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(400, body=b"no")]
    response = uploading.post(server.url, files={"eventFile": ("coinc.xml", CONTENT)})
    assert (response.status_code, response.content) == (400, b"no")


# Large files


@pytest.fixture
def large() -> bytes:
    """A file that is not worth being copied for what its form lacks."""
    return bytes(range(256)) * 8192


def test_a_large_file_gets_its_media_type(
    uploading: requests.Session, server: LoopbackServer, large: bytes
) -> None:
    uploading.post(server.url, data={"a": "b"}, files={"c": ("d.xml", large), "e": ("f.h5", large)})
    [received] = server.requests
    assert len(received.body) == int(received.headers["Content-Length"])
    assert received.body.count(b"\r\nContent-Type: text/xml\r\n\r\n" + large + b"\r\n--") == 1
    assert received.body.count(b"\r\nContent-Type: application/x-hdf5\r\n\r\n" + large) == 1


def test_a_form_with_a_large_file_is_sent_again_whole(
    uploading: requests.Session, server: LoopbackServer, large: bytes, home: Path
) -> None:
    write_netrc(home, "machine localhost login user password password")
    server.script = [redirect(server.url, 307)]
    uploading.post(server.url, files={"c": ("d.xml", large)})
    first, second = server.requests
    assert first.body == second.body
    assert first.headers["Content-Length"] == second.headers["Content-Length"]


def test_a_form_with_a_large_file_pickles(
    uploading: requests.Session, server: LoopbackServer, large: bytes
) -> None:
    response = uploading.post(server.url, files={"c": ("d.xml", large)})
    loaded = pickle.loads(pickle.dumps(response))
    assert loaded.request.body == server.requests[0].body == bytes(response.request.body)
