"""An upload that a redirect swallows is an error, and every other redirect is as before."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPDigestAuth
from requests.exceptions import UnrewindableBodyError
from requests_toolbelt import MultipartEncoder

from requests_gracedb import FormData, GraceDBAdapter, RedirectAdapter, errors
from tests.conftest import basic, mounted
from tests.loopback_server import Answer, LoopbackServer, Received, redirect

SWALLOWED = [
    ("POST", 301), ("POST", 302), ("PUT", 302), ("PATCH", 302), ("DELETE", 302),
]


@pytest.fixture
def session(ca_bundle: str) -> Iterator[requests.Session]:
    """A session with nothing but a RedirectAdapter."""
    with mounted(RedirectAdapter(), ca_bundle) as session:
        yield session


@pytest.fixture(params=["server", "tls_server"])
def any_server(request: pytest.FixtureRequest) -> LoopbackServer:
    server: LoopbackServer = request.getfixturevalue(request.param)
    return server


def with_slash(status: int = 301) -> Answer:
    """Redirect as Django does where the slash at the end is missing."""
    return redirect("/api/events/", status)


def lost(session: requests.Session, method: str, url: str, **kwargs: object) -> requests.HTTPError:
    with pytest.raises(requests.HTTPError) as caught:
        session.request(method, url, data=b"an event", **kwargs)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize("method, status", SWALLOWED)
def test_an_upload_that_became_a_get_raises_with_the_redirect(
    method: str, status: int, session: requests.Session, any_server: LoopbackServer
) -> None:
    any_server.script = [with_slash(status), Answer(200, {}, b"[]")]
    error = lost(session, method, f"{any_server.url}/api/events")
    assert error.response.status_code == status
    assert error.response.headers["Location"] == "/api/events/"
    assert error.request.method == method
    assert [received.method for received in any_server.requests] == [method, "GET"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_301_that_keeps_the_method_and_drops_the_body_raises(
    method: str, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [with_slash(301)]
    assert lost(session, method, f"{server.url}/api/events").response.status_code == 301
    assert [received.body for received in server.requests] == [b"an event", b""]


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
def test_a_question_by_another_method_is_no_upload(
    method: str, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [with_slash(302)]
    assert session.request(method, f"{server.url}/api/events").status_code == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_301_to_a_request_without_a_body_is_followed(
    method: str, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [with_slash(301)]
    assert session.request(method, f"{server.url}/api/events").status_code == 200


class Progress:
    """A progress bar around a generator: it can be iterated, but is no iterator itself."""

    def __init__(self) -> None:
        self._blocks = (block for block in [b"an", b" event"])

    def __iter__(self) -> Iterator[bytes]:
        yield from self._blocks


ONCE = {
    "generator": lambda: (block for block in [b"an", b" event"]),
    "progress bar": Progress,
    "encoder": lambda: MultipartEncoder({"event": "an event"}),
}
once = pytest.mark.parametrize("body", ONCE.values(), ids=ONCE)


@once
@pytest.mark.parametrize("status", [307, 308])
def test_a_body_of_which_nothing_is_left_is_not_sent_again(
    status: int, body: Callable[[], Any], session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [with_slash(status)]
    with pytest.raises(requests.HTTPError, match="/events/, and it is not known whether its body"):
        session.post(f"{server.url}/api/events", data=body())
    assert len(server.requests) == 1


@once
def test_a_body_that_is_left_is_sent_where_the_caller_wants(
    body: Callable[[], Any], session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [with_slash(307)]
    response = session.post(server.url, data=body(), allow_redirects=False)
    assert session.post(f"{server.url}{response.headers['Location']}", data=body()).ok
    assert server.requests[0].body and server.requests[1].body


def test_a_body_may_be_sent_again_after_a_redirect_that_was_not_followed(
    session: requests.Session, server: LoopbackServer
) -> None:
    class Again:
        def __iter__(self) -> Iterator[bytes]:
            yield b"an event"

    prepared = session.prepare_request(requests.Request("POST", server.url, data=Again()))
    for status in (302, 307):
        server.script = [with_slash(status)]
        session.send(prepared, allow_redirects=False)
        assert session.send(prepared).status_code == 200
    copy = prepared.copy()
    copy.body = Again()  # type: ignore[assignment]
    server.script = [with_slash(307)]
    session.send(prepared, allow_redirects=False)
    assert session.send(copy).status_code == 200
    assert {received.body for received in server.requests} == {b"an event"}


def test_nothing_is_left_of_a_generator_whichever_adapter_sends_it(
    session: requests.Session, server: LoopbackServer, other_server: LoopbackServer
) -> None:
    session.mount(other_server.url, HTTPAdapter())
    server.script = [redirect(other_server.url, 307)]
    with pytest.raises(requests.HTTPError, match="without the body"):
        session.post(server.url, data=(block for block in [b"an", b" event"]))


@once
def test_what_is_left_of_a_body_does_not_answer_a_challenge(
    body: Callable[[], Any], session: requests.Session, server: LoopbackServer
) -> None:
    challenge = {"WWW-Authenticate": 'Digest realm="a", nonce="b", qop="auth"'}
    server.script = [Answer(401, challenge)]
    with pytest.raises(UnrewindableBodyError, match=f"POST {server.url}/ was not sent again"):
        session.post(server.url, data=body(), auth=HTTPDigestAuth("user", "password"))
    assert len(server.requests) == 1


def test_a_copy_is_not_sent_with_what_is_left_of_a_body(
    session: requests.Session, server: LoopbackServer
) -> None:
    request = requests.Request("POST", server.url, data=iter([b"an event"]))
    prepared = session.prepare_request(request)
    server.script = [with_slash(302)]
    session.send(prepared, allow_redirects=False)
    with pytest.raises(UnrewindableBodyError):
        session.send(prepared.copy())
    assert len(server.requests) == 1


def test_a_form_answers_a_challenge(session: requests.Session, server: LoopbackServer) -> None:
    server.script = [Answer(401, {"WWW-Authenticate": 'Digest realm="a", nonce="b"'})]
    form = FormData({"group": "Test"})
    session.post(
        server.url,
        data=form,
        headers={"Content-Type": form.content_type},
        auth=HTTPDigestAuth("user", "password"),
    )
    first, second = server.requests
    assert first.body == second.body == bytes(form)


def test_a_request_with_a_body_that_can_be_read_once_pickles(server: LoopbackServer) -> None:
    request = requests.Request("POST", server.url, data=iter([b"an event"])).prepare()
    RedirectAdapter().add_headers(request)
    assert pickle.loads(pickle.dumps(request.hooks))["response"]


NOWHERE = [
    Answer(302),
    Answer(302, {"Location": ""}),
    Answer(303, {"Location": "  "}),
    Answer(303),
    Answer(307),
    Answer(300, {"Location": "/there"}),
    Answer(304),
    redirect("http://[there/", 303),
    redirect("/caf\xe9/", 303),
]


@pytest.mark.parametrize("answer", NOWHERE)
@pytest.mark.parametrize("allow_redirects", [True, False])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_an_upload_whose_answer_leads_nowhere_raises(
    method: str,
    allow_redirects: bool,
    answer: Answer,
    session: requests.Session,
    server: LoopbackServer,
) -> None:
    server.script = [answer]
    error = lost(session, method, f"{server.url}/?secret", allow_redirects=allow_redirects)
    assert error.response.status_code == answer.status
    assert f"{method} {server.url}/ was answered with a redirect that cannot be" in str(error)


def test_a_question_whose_answer_leads_nowhere_is_answered(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [redirect("/there", 303), Answer(304)]
    assert session.post(server.url, data=b"an event").status_code == 304


@pytest.mark.parametrize("status", [307, 308])
def test_a_file_that_can_be_sent_again_is(
    status: int, session: requests.Session, server: LoopbackServer, event_file: Path
) -> None:
    server.script = [with_slash(status)]
    with event_file.open("rb") as file:
        session.post(f"{server.url}/api/events", data=file)
    first, second = server.requests
    assert first.body == second.body == event_file.read_bytes()


def test_the_message_names_both_urls_and_what_to_do(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [with_slash()]
    assert str(lost(session, "POST", f"{server.url}/api/events")) == (
        f"301 Moved Permanently: POST {server.url}/api/events was redirected to "
        f"{server.url}/api/events/, and requests went on without the body, so that nothing was "
        "uploaded: use the URL with the slash at the end"
    )


def test_a_page_to_log_in_on_another_server_is_no_answer(
    session: requests.Session, server: LoopbackServer, other_server: LoopbackServer
) -> None:
    server.script = [redirect(f"{other_server.url}/login")]
    error = lost(session, "POST", f"{server.url}/api/events/")
    assert f"{server.url}/api/events/ was redirected to {other_server.url}/login" in str(error)
    assert "log in" in str(error)


def test_an_upload_is_lost_whichever_adapter_sends_the_second_request(
    session: requests.Session, server: LoopbackServer, other_server: LoopbackServer
) -> None:
    session.mount(other_server.url, HTTPAdapter())
    server.script = [redirect(f"{other_server.url}/login")]
    assert lost(session, "POST", server.url).response.status_code == 302


def test_an_upload_that_gets_lost_later_on_its_way_raises(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [redirect("/there", 307), redirect("/elsewhere", 302)]
    error = lost(session, "POST", server.url)
    assert error.response.url == f"{server.url}/there"
    assert [answer.status_code for answer in error.response.history] == [307]


def test_a_second_request_that_fails_does_not_hide_the_loss(server: LoopbackServer) -> None:
    server.script = [redirect("/login", 302), Answer(403)]
    with mounted(GraceDBAdapter()) as session:
        assert lost(session, "POST", server.url).response.status_code == 302


@pytest.mark.parametrize("status", [303, 307, 308])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_redirect_that_loses_nothing_is_followed(
    method: str, status: int, session: requests.Session, any_server: LoopbackServer
) -> None:
    any_server.script = [redirect("/there", status)]
    response = session.request(method, any_server.url, data=b"an event")
    assert (response.status_code, len(response.history)) == (200, 1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_redirect_of_a_question_is_followed(
    method: str, status: int, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [redirect("/there", status)]
    assert session.request(method, server.url, allow_redirects=True).url == f"{server.url}/there"


@pytest.mark.parametrize("method, status", SWALLOWED)
def test_a_redirect_that_is_not_followed_is_the_answer(
    method: str, status: int, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [with_slash(status)]
    response = session.request(method, server.url, data=b"an event", allow_redirects=False)
    assert response.status_code == status


def test_a_redirect_that_the_caller_follows_is_followed(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [with_slash()]
    response = session.post(server.url, data=b"an event", allow_redirects=False)
    assert response.next is not None
    assert session.send(response.next).status_code == 200


def test_a_request_that_is_sent_again_after_a_redirect_that_was_not_followed_does_not_raise(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [with_slash()]
    prepared = session.prepare_request(requests.Request("POST", server.url, data=b"an event"))
    session.send(prepared, allow_redirects=False)
    assert session.send(prepared).status_code == 200
    copy = prepared.copy()
    copy.method = "GET"
    server.script = [with_slash()]
    session.send(prepared, allow_redirects=False)
    assert session.send(copy).status_code == 200


def test_a_request_may_be_sent_again_after_it_raised(
    session: requests.Session, server: LoopbackServer
) -> None:
    prepared = session.prepare_request(requests.Request("POST", server.url, data=b"an event"))
    for _ in range(2):
        server.script = [with_slash()]
        with pytest.raises(requests.HTTPError):
            session.send(prepared)
    assert session.send(prepared).status_code == 200


def test_a_session_that_keeps_the_method_loses_the_body_all_the_same(
    server: LoopbackServer,
) -> None:
    class Keeping(requests.Session):
        def rebuild_method(self, *_: object) -> None:
            pass

    server.script = [with_slash()]
    with Keeping() as session:
        session.mount("http://", RedirectAdapter())
        lost(session, "POST", server.url)
    assert [received.body for received in server.requests] == [b"an event", b""]


def test_a_prepared_request_that_threads_share_raises_where_it_got_lost_and_nowhere_else(
    session: requests.Session, server: LoopbackServer
) -> None:
    # Between the two requests of the first thread, the other sends the same one, and gets through.
    redirected, through = threading.Event(), threading.Event()

    def answer(received: Received) -> Answer:
        if received.method == "GET":
            redirected.set()
            assert through.wait(60)
        elif not redirected.is_set():
            return with_slash()
        return Answer()

    server.answer = answer
    prepared = session.prepare_request(requests.Request("POST", server.url, data=b"an event"))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(session.send, prepared)
        assert redirected.wait(60)
        assert session.send(prepared).status_code == 200
        through.set()
        with pytest.raises(requests.HTTPError):
            first.result(60)


def test_a_prepared_request_that_threads_lose_at_the_same_time_raises_in_each(
    session: requests.Session, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    barrier = threading.Barrier(2, timeout=60)

    def local() -> threading.local:
        barrier.wait()
        return threading.local()

    monkeypatch.setattr(errors, "threading", SimpleNamespace(local=local))
    server.answer = lambda received: Answer() if received.method == "GET" else with_slash()
    prepared = session.prepare_request(requests.Request("POST", server.url, data=b"an event"))
    with ThreadPoolExecutor(2) as pool:
        for sent in [pool.submit(session.send, prepared) for _ in range(2)]:
            with pytest.raises(requests.HTTPError, match="nothing was uploaded"):
                sent.result(60)


@pytest.mark.parametrize("stream", [False, True])
def test_the_connection_serves_the_next_request(
    stream: bool, session: requests.Session, any_server: LoopbackServer
) -> None:
    for _ in range(5):
        any_server.script = [with_slash(), Answer(200, {}, b"a page")]
        lost(session, "POST", any_server.url, stream=stream)
    assert any_server.connections == 1


def test_no_secret_of_a_url_is_in_the_message(
    session: requests.Session, server: LoopbackServer
) -> None:
    target = server.url.replace("://", "://user:s3cr3t@") + "/?ticket=s3cr3t-too"
    server.script = [redirect(target)]
    error = lost(session, "POST", f"{server.url}/api/events?token=an0ther")
    for secret in ("s3cr3t", "an0ther"):
        assert secret not in str(error)


def test_no_credential_that_the_server_echoes_is_in_the_message(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [redirect("/login/s%33cr3t")]
    headers = {"Authorization": basic("user", "s3cr3t")}
    error = lost(session, "POST", server.url, headers=headers)
    assert f"{server.url}/login/***, and requests" in str(error)


def test_the_exception_pickles(session: requests.Session, server: LoopbackServer) -> None:
    server.script = [with_slash()]
    with pytest.raises(requests.HTTPError) as caught:
        session.post(server.url, data=FormData({"group": "Test"}))
    loaded = pickle.loads(pickle.dumps(caught.value))
    assert (str(loaded), loaded.response.status_code) == (str(caught.value), 301)


def test_without_the_adapter_the_upload_is_lost_without_a_word(server: LoopbackServer) -> None:
    server.script = [with_slash()]
    assert requests.post(server.url, data=b"an event").status_code == 200
