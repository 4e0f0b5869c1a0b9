"""What requests promises holds with each of the adapters, and with all of them in one."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.auth import HTTPDigestAuth

from tests.contract.conftest import where_a_status_is_the_point
from tests.loopback_server import (
    Answer,
    Handler,
    LoopbackServer,
    drop,
    half_a_body,
    redirect,
    silence,
)

pytestmark = pytest.mark.usefixtures("unmeasured")


# Exceptions


def test_a_refused_connection_is_a_connection_error(any_session: requests.Session) -> None:
    with socket.socket() as unheard:  # bound, but it does not listen
        unheard.bind(("127.0.0.1", 0))
        with pytest.raises(requests.ConnectionError) as caught:
            any_session.get(f"http://127.0.0.1:{unheard.getsockname()[1]}/")
    assert caught.type is requests.ConnectionError


def test_a_connection_that_takes_too_long_is_a_connect_timeout(
    any_session: requests.Session
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        with socket.create_connection(address):  # Nobody else can get in.
            with pytest.raises(requests.ConnectTimeout) as caught:
                any_session.post(f"http://127.0.0.1:{address[1]}/", timeout=(0.05, 60))
    assert caught.type is requests.ConnectTimeout


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_answer_that_takes_too_long_is_a_read_timeout(
    method: str, any_session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [silence]
    with pytest.raises(requests.ReadTimeout) as caught:
        any_session.request(method, server.url, timeout=(60, 0.1))
    assert caught.type is requests.ReadTimeout


def test_a_body_that_takes_too_long_is_a_connection_error(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(200, {"Content-Length": "10"}, b"half ")]
    with pytest.raises(requests.ConnectionError, match="Read timed out"):
        any_session.get(server.url, timeout=(60, 0.1))


def test_a_dropped_connection_is_a_connection_error(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    server.answer = lambda received: drop
    with pytest.raises(requests.ConnectionError) as caught:
        any_session.get(server.url)
    assert caught.type is requests.ConnectionError
    assert caught.value.request.url == f"{server.url}/"


def test_an_unknown_authority_is_an_ssl_error(
    any_session: requests.Session, tls_server: LoopbackServer
) -> None:
    with pytest.raises(requests.exceptions.SSLError) as caught:
        any_session.get(tls_server.url, verify=True)
    assert caught.type is requests.exceptions.SSLError


def bad_chunk(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\nX\r\n")
    handler.drop()


@pytest.mark.parametrize("script", [half_a_body, bad_chunk])
@pytest.mark.parametrize("stream", [False, True])
def test_a_body_that_breaks_off_is_a_chunked_encoding_error(
    script: Callable[[Handler], None],
    stream: bool,
    any_session: requests.Session,
    server: LoopbackServer,
) -> None:
    server.script = [script]
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        any_session.post(server.url, stream=stream).content


def test_a_body_that_cannot_be_decoded_is_a_content_decoding_error(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(200, {"Content-Encoding": "gzip"}, b"plain")]
    with pytest.raises(requests.exceptions.ContentDecodingError):
        any_session.get(server.url)


def test_redirects_without_end_are_too_many(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    server.answer = lambda received: redirect("/")
    any_session.max_redirects = 3
    with pytest.raises(requests.TooManyRedirects) as caught:
        any_session.get(server.url)
    assert len(caught.value.response.history) == 3
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    "url, exception",
    [
        ("http://", requests.exceptions.InvalidURL),
        ("http://*.example.org/", requests.exceptions.InvalidURL),
        ("localhost/", requests.exceptions.MissingSchema),
        ("ftp://localhost/", requests.exceptions.InvalidSchema),
    ],
)
def test_a_url_that_makes_no_sense_is_an_error(
    url: str, exception: type[Exception], any_session: requests.Session
) -> None:
    with pytest.raises(exception):
        any_session.get(url)


def test_a_proxy_that_is_not_there_is_a_proxy_error(any_session: requests.Session) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        proxies = {"http": f"http://127.0.0.1:{unheard.getsockname()[1]}"}
        with pytest.raises(requests.exceptions.ProxyError):
            any_session.get("http://gracedb.invalid/", proxies=proxies)


def test_a_bundle_that_is_not_there_is_an_os_error(
    any_session: requests.Session, tls_server: LoopbackServer, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match="invalid path"):
        any_session.get(tls_server.url, verify=str(tmp_path / "missing.pem"))


@where_a_status_is_the_point
@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_a_status_of_400_or_more_is_a_response(
    status: int, any_session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(status, body=b"why")]
    response = any_session.get(server.url)
    assert (response.status_code, response.ok, response.text) == (status, False, "why")
    with pytest.raises(requests.HTTPError):
        response.raise_for_status()


# Bodies in pieces


def test_a_streamed_response_is_read_when_it_is_asked_for(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    body = bytes(range(256)) * 1024
    server.script = [Answer(200, body=body)]
    with any_session.get(server.url, stream=True) as response:
        assert not response._content_consumed
        assert b"".join(response.iter_content(1000)) == body


def test_a_streamed_response_has_lines(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(200, body=b"one\ntwo\r\nthree")]
    with any_session.get(server.url, stream=True) as response:
        assert list(response.iter_lines()) == [b"one", b"two", b"three"]


def test_a_streamed_response_has_a_raw_file(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(200, body=b"0123")]
    with any_session.get(server.url, stream=True) as response:
        assert response.raw.read(2) == b"01"
        assert response.raw.read() == b"23"


def test_a_streamed_response_has_its_connection_until_it_is_read(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    server.answer = lambda received: Answer(200, body=b"0123")
    response = any_session.get(server.url, stream=True)
    any_session.get(server.url)
    assert server.connections == 2
    assert response.content == b"0123"
    for _ in range(3):
        any_session.get(server.url)
    assert server.connections == 2


def test_connections_stay_open(any_session: requests.Session, server: LoopbackServer) -> None:
    for method in ("GET", "POST", "HEAD", "DELETE", "GET"):
        any_session.request(method, server.url)
    assert server.connections == 1


def test_a_body_without_a_length_is_sent_in_chunks(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    any_session.post(server.url, data=(piece for piece in (b"01", b"23")))
    (received,) = server.requests
    assert received.headers["Transfer-Encoding"] == "chunked"
    assert received.headers["Content-Length"] is None
    assert received.body == b"0123"


def chunked(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in (b"01", b"23", b""):
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_in_chunks_is_read_whole(
    stream: bool, any_session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [chunked]
    assert any_session.get(server.url, stream=stream).content == b"0123"
    any_session.get(server.url)
    assert server.connections == 1


def test_a_response_in_chunks_can_be_streamed(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [chunked]
    with any_session.get(server.url, stream=True) as response:
        assert b"".join(response.iter_content(None)) == b"0123"


# Authentication by challenge and response

CHALLENGE = Answer(
    401, {"WWW-Authenticate": 'Digest realm="GraceDB", nonce="abc", qop="auth"'}, b"Who are you?"
)


@pytest.mark.parametrize("data", [None, b"body", io.BytesIO(b"body")], ids=["-", "bytes", "file"])
def test_a_challenge_is_answered(
    data: Any, any_session: requests.Session, server: LoopbackServer
) -> None:
    if isinstance(data, io.BytesIO):
        data.seek(0)
    server.script = [CHALLENGE]
    response = any_session.post(server.url, data=data, auth=HTTPDigestAuth("user", "password"))
    assert response.status_code == 200
    assert [step.status_code for step in response.history] == [401]
    first, second = server.requests
    assert first.authorization is None
    assert str(second.authorization).startswith('Digest username="user", realm="GraceDB"')
    assert first.body == second.body
    assert server.connections == 1


def test_a_challenge_is_remembered(any_session: requests.Session, server: LoopbackServer) -> None:
    server.script = [CHALLENGE]
    any_session.auth = HTTPDigestAuth("user", "password")
    any_session.get(server.url)
    any_session.get(server.url)
    assert len(server.requests) == 3
    assert "nc=00000002" in str(server.authorizations[2])


@where_a_status_is_the_point
def test_a_wrong_answer_to_a_challenge_is_given_once(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    server.answer = lambda received: CHALLENGE
    response = any_session.get(server.url, auth=HTTPDigestAuth("user", "wrong"))
    assert response.status_code == 401
    assert len(server.requests) == 2


# Hooks of the user's own


def test_a_hook_of_the_request_sees_the_response(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    seen: list[tuple[int, Any]] = []

    def see(response: requests.Response, **kwargs: Any) -> None:
        seen.append((response.status_code, kwargs["stream"]))

    any_session.get(server.url, hooks={"response": see})
    any_session.get(server.url)
    assert seen == [(200, False)]


def test_a_hook_of_the_session_sees_every_response_of_every_request(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    seen: list[str] = []

    def see(response: requests.Response, **kwargs: Any) -> None:
        seen.append(response.url.removeprefix(server.url))

    any_session.hooks["response"].append(see)
    server.script = [redirect("/one")]
    any_session.get(server.url)
    any_session.get(f"{server.url}/two")
    assert seen == ["/", "/one", "/two"]
    assert any_session.hooks == {"response": [see]}


def test_a_hook_may_put_another_response_in_place(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    other = requests.Response()
    other._content, other.status_code, other.url = b"other", 200, server.url
    other.request = requests.Request("GET", server.url).prepare()
    other.raw = io.BytesIO()
    assert any_session.get(server.url, hooks={"response": lambda response, **_: other}) is other


def test_hooks_run_in_order(any_session: requests.Session, server: LoopbackServer) -> None:
    order: list[int] = []
    hooks = [lambda response, number=number, **_: order.append(number) for number in range(3)]
    any_session.get(server.url, hooks={"response": hooks})
    assert order == [0, 1, 2]


def test_a_hook_sees_an_error(any_session: requests.Session, server: LoopbackServer) -> None:
    server.script = [Answer(404)]
    seen: list[int] = []

    def see(response: requests.Response, **kwargs: Any) -> None:
        seen.append(response.status_code)

    try:
        any_session.get(server.url, hooks={"response": see})
    except requests.HTTPError:
        pass
    assert seen == [404]


def test_the_exception_of_a_hook_reaches_the_caller(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    def fail(response: requests.Response, **kwargs: Any) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        any_session.get(server.url, hooks={"response": fail})


# The rest


def test_elapsed_is_the_time_until_the_answer(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    def answer(handler: Handler) -> None:
        time.sleep(0.05)
        handler.write(Answer(200))

    server.script = [answer]
    assert any_session.get(server.url).elapsed >= timedelta(seconds=0.05)


def test_elapsed_does_not_count_the_body(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    times = []

    def answer(handler: Handler) -> None:
        times.append(time.perf_counter())
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        time.sleep(0.5)
        times.append(time.perf_counter())
        handler.wfile.write(b"body")

    server.script = [answer]
    elapsed = any_session.get(server.url).elapsed.total_seconds()
    arrived, body_sent = times
    # It began before the request had arrived, so what is longer than this includes the body.
    assert elapsed < body_sent - arrived


def test_a_prepared_request_can_be_sent_any_number_of_times(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    prepared = any_session.prepare_request(requests.Request("POST", server.url, data={"a": "b"}))
    for _ in range(3):
        assert any_session.send(prepared).status_code == 200
    first, *others = [(received.body, received.headers.items()) for received in server.requests]
    assert others == [first, first]
    assert len(prepared.hooks["response"]) <= 1


def test_a_response_knows_its_request(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    response = any_session.put(f"{server.url}/api/", data=b"body", headers={"X-Name": "value"})
    assert (response.request.method, response.request.body) == ("PUT", b"body")
    assert response.request.headers["X-Name"] == "value"


def test_a_header_may_be_taken_out(any_session: requests.Session, server: LoopbackServer) -> None:
    any_session.get(server.url, headers={"Accept": None})
    assert server.requests[0].headers["Accept"] is None


def test_a_closed_session_can_be_used_again(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    any_session.get(server.url)
    any_session.close()
    assert any_session.get(server.url).ok
    assert server.connections == 2
