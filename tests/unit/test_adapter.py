"""GraceDBAdapter: a session with everything, here and in another process."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import requests

from requests_gracedb import FormData, GraceDBAdapter, GraceDBAuth, __version__
from tests.conftest import basic, mounted, write_netrc
from tests.loopback_server import Answer, LoopbackServer, redirect


def test_a_session_behaves_as_before_where_the_adapter_is_not_mounted(
    server: LoopbackServer, other_server: LoopbackServer, home: Path
) -> None:
    write_netrc(home, "machine localhost login user password password")
    other_server.script = [Answer(404), redirect(other_server.url), Answer()]
    with requests.Session() as session:
        session.mount(server.url, GraceDBAdapter())
        assert session.get(other_server.url).status_code == 404
        assert session.post(other_server.url, files={"a": ("a.xml", None)}).status_code == 200
    assert other_server.authorizations == [basic("user", "password")] * 3
    assert {received.headers["User-Agent"] for received in other_server.requests} == {
        requests.utils.default_user_agent()
    }


def test_a_session_with_everything_works_in_another_process(
    server: LoopbackServer, token_file: Path
) -> None:
    session = mounted(GraceDBAdapter(user_agent="mine/1"))
    session.auth = GraceDBAuth(server.url, token=token_file)
    spawn = multiprocessing.get_context("spawn")
    with session, ProcessPoolExecutor(1, mp_context=spawn) as pool:
        assert pool.submit(upload, session, server.url).result() == 200
    received = server.requests[0]
    assert received.authorization == f"Bearer {token_file.read_text()}"
    assert received.headers["User-Agent"] == f"mine/1 requests_gracedb/{__version__}"
    assert b"<LIGO_LW/>" in received.body


def test_an_exception_comes_back_from_another_process(
    server: LoopbackServer, token_file: Path
) -> None:
    server.script = [Answer(403, {"Content-Type": "text/plain"}, b"No.")]
    session = mounted(GraceDBAdapter())
    session.auth = GraceDBAuth(server.url, token=token_file)
    spawn = multiprocessing.get_context("spawn")
    with session, ProcessPoolExecutor(1, mp_context=spawn) as pool:
        with pytest.raises(requests.HTTPError, match="403 .*: No.") as caught:
            pool.submit(upload, session, server.url).result()
    assert caught.value.response.text == "No."


def upload(session: requests.Session, url: str) -> int:
    form = FormData({"group": "Test"}, {"eventFile": ("coinc.xml", b"<LIGO_LW/>")})
    return session.post(url, data=form).status_code
