"""All the adapters in one, and each with those of others."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from requests_gracedb import (
    AuthAdapter,
    ErrorAdapter,
    FileAdapter,
    FormData,
    GraceDBAdapter,
    GraceDBAuth,
    ConnectionAdapter,
    UserAgentAdapter,
    __version__,
)
from tests.conftest import basic, write_netrc
from tests.loopback_server import Answer, LoopbackServer, redirect

ADAPTERS = [
    AuthAdapter, ErrorAdapter, FileAdapter, UserAgentAdapter, ConnectionAdapter, GraceDBAdapter,
]

every_adapter = pytest.mark.parametrize("adapter_class", ADAPTERS)


class ForeignAdapter(HTTPAdapter):
    """An adapter as anyone may have written it, with a parameter and two overridden methods."""

    def __init__(self, *args: Any, mark: str = "", **kwargs: Any) -> None:
        self.mark = mark
        super().__init__(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "mark": self.mark}

    def add_headers(self, request: requests.PreparedRequest, **kwargs: Any) -> None:
        super().add_headers(request, **kwargs)
        request.headers["X-Mark"] = self.mark

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        response = super().send(*args, **kwargs)
        response.headers["X-Mark"] = self.mark
        return response


class OursFirst(GraceDBAdapter, ForeignAdapter):
    pass


class TheirsFirst(ForeignAdapter, GraceDBAdapter):
    pass


class Some(UserAgentAdapter, ForeignAdapter, ErrorAdapter):
    pass


def mounted(prefix: str, adapter: HTTPAdapter) -> requests.Session:
    session = requests.Session()
    session.mount(prefix, adapter)
    return session


@every_adapter
def test_each_adapter_mounts_alone(
    adapter_class: type[HTTPAdapter], server: LoopbackServer
) -> None:
    with mounted(server.url, adapter_class()) as session:
        assert session.get(server.url).status_code == 200


@every_adapter
def test_each_adapter_takes_the_parameters_of_requests(adapter_class: type[HTTPAdapter]) -> None:
    adapter = adapter_class(pool_connections=1, pool_maxsize=2, max_retries=3, pool_block=True)
    assert (adapter._pool_connections, adapter._pool_maxsize, adapter._pool_block) == (1, 2, True)
    assert adapter.max_retries.total == 3


@pytest.mark.parametrize("adapter_class", [OursFirst, TheirsFirst, Some])
def test_a_mixture_does_what_the_other_adapter_does(
    adapter_class: type[ForeignAdapter], server: LoopbackServer
) -> None:
    with mounted(server.url, adapter_class(mark="theirs")) as session:
        response = session.get(server.url)
    assert server.requests[0].headers["X-Mark"] == "theirs"
    assert response.headers["X-Mark"] == "theirs"


@pytest.mark.parametrize("adapter_class", [OursFirst, TheirsFirst, Some])
def test_a_mixture_does_what_ours_do(
    adapter_class: type[ForeignAdapter], server: LoopbackServer
) -> None:
    server.script = [Answer(404)]
    with mounted(server.url, adapter_class(user_agent="mine/1")) as session:
        with pytest.raises(requests.HTTPError):
            session.get(server.url)
    assert server.requests[0].headers["User-Agent"] == f"mine/1 requests_gracedb/{__version__}"


@pytest.mark.parametrize("adapter_class", [OursFirst, TheirsFirst, Some])
def test_a_mixture_pickles(adapter_class: type[ForeignAdapter], server: LoopbackServer) -> None:
    adapter = adapter_class(mark="theirs", user_agent="mine/1")
    with mounted(server.url, pickle.loads(pickle.dumps(adapter))) as session:
        session.get(server.url)
    headers = server.requests[0].headers
    assert headers["X-Mark"] == "theirs"
    assert headers["User-Agent"] == f"mine/1 requests_gracedb/{__version__}"


def test_all_behaviours_are_those_of_the_bases() -> None:
    for behaviour in (AuthAdapter, ErrorAdapter, FileAdapter, UserAgentAdapter, ConnectionAdapter):
        assert behaviour in GraceDBAdapter.__bases__


def test_a_session_behaves_as_before_everywhere_else(
    server: LoopbackServer, other_server: LoopbackServer, home: Path
) -> None:
    write_netrc(home, "machine localhost login user password password")
    other_server.script = [Answer(404), redirect(other_server.url), Answer()]
    with mounted(server.url, GraceDBAdapter()) as session:
        assert session.get(other_server.url).status_code == 404
        assert session.post(other_server.url, files={"a": ("a.xml", None)}).status_code == 200
    assert other_server.authorizations == [basic("user", "password")] * 3
    assert {received.headers["User-Agent"] for received in other_server.requests} == {
        requests.utils.default_user_agent()
    }


def test_a_session_with_everything_works_in_another_process(
    server: LoopbackServer, token_file: Path
) -> None:
    session = mounted(server.url, GraceDBAdapter(user_agent="mine/1"))
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
    session = mounted(server.url, GraceDBAdapter())
    session.auth = GraceDBAuth(server.url, token=token_file)
    spawn = multiprocessing.get_context("spawn")
    with session, ProcessPoolExecutor(1, mp_context=spawn) as pool:
        with pytest.raises(requests.HTTPError, match="403 .*: No.") as caught:
            pool.submit(upload, session, server.url).result()
    assert caught.value.response.text == "No."


def upload(session: requests.Session, url: str) -> int:
    form = FormData({"group": "Test"}, {"eventFile": ("coinc.xml", b"<LIGO_LW/>")})
    return session.post(url, data=form).status_code
