"""FormData: how it goes over the wire, and how its progress is told."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPDigestAuth
from urllib3 import Retry

from requests_gracedb import FileAdapter, FormData
from requests_gracedb.testing import GraceDBServer
from tests.conftest import CONTENT
from tests.loopback_server import Answer, LoopbackServer, Received, redirect
from tests.unit.forms import MIB, TEXT, assert_is_broken_off, pipe, uploaded


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
    uploading: requests.Session, server: LoopbackServer, data: Any, files: Any
) -> None:
    form = FormData(data, files)
    uploading.post(server.url, data=form)
    (received,) = server.requests
    assert received.headers["Content-Length"] == str(len(form))
    assert received.headers["Transfer-Encoding"] is None
    assert received.body == bytes(form)
    assert len(received.body) == len(form)


def test_a_long_content_is_sent_in_blocks() -> None:
    form = FormData(files={"eventFile": bytes(8 * MIB)})
    blocks = list(form)
    assert max(map(len, blocks)) < MIB
    assert b"".join(blocks) == bytes(form)


def test_a_small_form_is_sent_in_one_piece(event_file: Path) -> None:
    form = FormData({"group": "Test", "pipeline": "gstlal"}, {"eventFile": event_file})
    assert list(form) == [bytes(form)]


def test_a_form_goes_through_any_adapter_that_is_told_the_content_type(
    gracedb: GraceDBServer, event_file: Path
) -> None:
    form = FormData({"group": "Test"}, {"eventFile": event_file})
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
def form(request: pytest.FixtureRequest, event_file: Path) -> Iterator[FormData]:
    """A form with a file of any kind."""
    data = {"group": "Test"}
    if request.param == "path":
        yield FormData(data, {"eventFile": event_file})
    elif request.param == "open file":
        with event_file.open("rb") as file:
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
    uploading: requests.Session, server: LoopbackServer, form: FormData
) -> None:
    server.script = [redirect(f"{server.url}/there", 307)]
    assert uploading.post(f"{server.url}/here", data=form).status_code == 200
    assert [received.target for received in server.requests] == ["/here", "/there"]
    assert_arrived_twice(form, server)


def test_a_form_is_sent_again_with_the_answer_to_a_challenge(
    uploading: requests.Session, server: LoopbackServer, form: FormData
) -> None:
    server.script = [Answer(401, {"WWW-Authenticate": 'Digest realm="a", nonce="b", qop="auth"'})]
    auth = HTTPDigestAuth("user", "password")
    assert uploading.post(server.url, data=form, auth=auth).status_code == 200
    assert_arrived_twice(form, server)


def test_a_form_is_sent_again_by_a_retry(
    uploading: requests.Session, server: LoopbackServer, form: FormData
) -> None:
    retry = Retry(1, status_forcelist=[503], allowed_methods=None)
    uploading.mount("http://", FileAdapter(max_retries=retry))
    server.script = [Answer(503)]
    assert uploading.post(server.url, data=form).status_code == 200
    assert_arrived_twice(form, server)


# Progress


def test_progress_adds_up_to_the_length_of_the_form(
    uploading: requests.Session, server: LoopbackServer
) -> None:
    progress: list[int] = []
    form = FormData(files={"eventFile": bytes(3 * MIB)}, progress=progress.append)
    uploading.post(server.url, data=form)
    assert len(progress) > 3
    assert min(progress) > 0
    assert sum(progress) == len(form)


def test_progress_is_taken_back_when_the_form_is_sent_again(
    uploading: requests.Session, server: LoopbackServer
) -> None:
    progress: list[int] = []
    form = FormData({"group": "Test"}, progress=progress.append)
    server.script = [redirect(server.url, 307), redirect(server.url, 307)]
    uploading.post(server.url, data=form)
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
    uploading: requests.Session,
    server: LoopbackServer,
    arrived: queue.Queue[Received],
    error: type[Exception],
) -> None:
    def broken(size: int) -> None:
        raise error("no screen")

    with pytest.raises((RuntimeError, ValueError), match="no screen"):
        uploading.post(server.url, data=FormData({"group": "Test"}, progress=broken))
    assert_is_broken_off(arrived.get(timeout=60))


def test_a_progress_that_cannot_be_taken_back_ends_the_request(
    uploading: requests.Session, server: LoopbackServer
) -> None:
    def broken(size: int) -> None:
        if size < 0:
            raise BrokenPipeError

    form = FormData({"group": "Test"}, progress=broken)
    server.script = [redirect(server.url, 307)]
    with pytest.raises(RuntimeError, match="progress"):
        uploading.post(server.url, data=form)
    server.wait_for_requests(2)
    uploading.post(server.url, data=FormData())
    first, broken_off, _ = server.requests
    assert first.body == bytes(form)
    assert_is_broken_off(broken_off)


def test_the_bytes_of_a_form_are_no_progress() -> None:
    progress: list[int] = []
    bytes(FormData({"group": "Test"}, progress=progress.append))
    assert progress == []
