"""Connections that fail before, while or after a request goes out, and when it is sent again."""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
import requests
from urllib3 import Retry

from requests_gracedb import GraceDBRetry, RetryAdapter
from tests.conftest import Waits, mounted
from tests.loopback_server import (
    Answer,
    Handler,
    LoopbackServer,
    ProxyServer,
    Script,
    drop,
    half_a_body,
    reset_at_once,
    silence_at_once,
)
from tests.unit.retries import (
    IDEMPOTENT,
    LARGE,
    RETRIES,
    any_break,
    any_idempotent_method,
    any_method,
    any_other_method,
    bodies,
    resolve_after,
    unused_port,
)

pytestmark = pytest.mark.usefixtures("waits")


# No connection: again, whatever the method


@any_method
def test_a_refused_connection_is_tried_again(
    method: str, retrying: requests.Session, waits: Waits
) -> None:
    port = unused_port()
    with ExitStack() as stack:
        server: list[LoopbackServer] = []

        def start() -> None:
            server.append(stack.enter_context(LoopbackServer(port=port)))

        waits.events = [lambda: None, start]
        response = retrying.request(method, f"http://127.0.0.1:{port}/", data=b"body")
        assert response.status_code == 200
        assert bodies(server[0]) == [b"body"]
    assert len(waits) == 2


@any_method
def test_a_connection_that_times_out_is_tried_again(
    method: str, retrying: requests.Session, waits: Waits
) -> None:
    server = LoopbackServer(backlog=0)
    with socket.create_connection(("127.0.0.1", server.port)):  # Nobody else can get in.
        with ExitStack() as stack:

            def start() -> None:
                stack.enter_context(server)
                while not server.connections:
                    time.sleep(0.001)

            waits.events = [lambda: None, start]
            url = f"http://127.0.0.1:{server.port}/"
            retrying.request(method, url, data=b"body", timeout=(0.1, 60))
    assert bodies(server) == [b"body"]
    assert len(waits) >= 2


@any_method
def test_a_name_that_cannot_be_resolved_is_tried_again(
    method: str,
    retrying: requests.Session,
    server: LoopbackServer,
    waits: Waits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve_after(2, monkeypatch)
    retrying.request(method, f"http://gracedb.invalid:{server.port}/", data=b"body")
    assert bodies(server) == [b"body"]
    assert len(waits) == 2


@any_method
def test_a_reset_in_the_tls_handshake_is_tried_again(
    method: str, retrying: requests.Session, tls_server: LoopbackServer, waits: Waits
) -> None:
    tls_server.greetings = [reset_at_once, reset_at_once]
    retrying.request(method, tls_server.url, data=b"body")
    assert bodies(tls_server) == [b"body"]
    assert len(waits) == 2


@any_method
def test_silence_in_the_tls_handshake_is_tried_again(
    method: str, retrying: requests.Session, tls_server: LoopbackServer, waits: Waits
) -> None:
    tls_server.greetings = [silence_at_once]
    waits.events = [lambda: None]
    retrying.request(method, tls_server.url, data=b"body", timeout=(0.3, 60))
    assert bodies(tls_server) == [b"body"]
    assert len(waits) >= 1


@any_method
def test_a_connection_that_is_closed_in_the_tls_handshake_is_tried_again(
    method: str, retrying: requests.Session, tls_server: LoopbackServer
) -> None:
    tls_server.greetings = [close_at_once] * 2
    assert retrying.request(method, tls_server.url, data=b"body").status_code == 200
    assert bodies(tls_server) == [b"body"]


def close_at_once(connection: socket.socket) -> None:
    """Close a connection when the client has said hello."""
    connection.recv(4096)
    connection.close()


# A connection that breaks when the request is out: again, if the method is idempotent


@any_break
@any_idempotent_method
@pytest.mark.parametrize("kind", ["server", "tls_server"])
def test_an_idempotent_request_whose_connection_breaks_is_sent_again(
    method: str,
    fault: Script,
    kind: str,
    retrying: requests.Session,
    request: pytest.FixtureRequest,
    waits: Waits,
) -> None:
    server: LoopbackServer = request.getfixturevalue(kind)
    server.script = [fault, fault]
    assert retrying.request(method, server.url, data=b"body").status_code == 200
    assert bodies(server) == [b"body"] * 3
    assert len(waits) == 2


@any_break
@any_other_method
@pytest.mark.parametrize("kind", ["server", "tls_server"])
def test_a_connection_that_breaks_is_a_connection_error_if_the_method_is_not_idempotent(
    method: str,
    fault: Script,
    kind: str,
    retrying: requests.Session,
    request: pytest.FixtureRequest,
    waits: Waits,
) -> None:
    server: LoopbackServer = request.getfixturevalue(kind)
    server.script = [fault]
    with pytest.raises(requests.ConnectionError):
        retrying.request(method, server.url, data=b"body")
    assert bodies(server) == [b"body"]
    assert not waits


@any_other_method
def test_an_idle_connection_that_is_closed_is_a_connection_error_if_the_method_is_not_idempotent(
    method: str, retrying: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(), drop]
    retrying.get(server.url)
    with pytest.raises(requests.ConnectionError):
        retrying.request(method, server.url, data=b"body")
    assert [received.method for received in server.requests] == ["GET", method]


@pytest.mark.parametrize("method", ["OPTIONS", "DELETE"])
def test_an_idempotent_upload_over_tls_that_is_cut_is_sent_again(
    method: str, retrying: requests.Session, tls_server: LoopbackServer, tls: ssl.SSLContext
) -> None:
    tls_server.greetings = [reset_within(tls)] * 2
    assert retrying.request(method, tls_server.url, data=LARGE).status_code == 200
    assert bodies(tls_server) == [LARGE]


@any_other_method
@pytest.mark.parametrize("kind", ["server", "tls_server"])
def test_a_body_that_was_sent_in_part_is_sent_once_if_the_method_is_not_idempotent(
    method: str,
    kind: str,
    session: requests.Session,
    request: pytest.FixtureRequest,
    tls: ssl.SSLContext,
) -> None:
    server: LoopbackServer = request.getfixturevalue(kind)
    server.greetings = [reset_at_once if kind == "server" else reset_within(tls)]
    with pytest.raises(requests.ConnectionError):
        session.request(method, server.url, data=LARGE)
    assert server.connections == 1


def reset_within(context: ssl.SSLContext) -> Callable[[socket.socket], None]:
    """Close a connection with a RST as soon as TLS stands and the request begins."""
    return lambda connection: reset_at_once(context.wrap_socket(connection, server_side=True))


@any_idempotent_method
def test_an_idempotent_request_that_is_dropped_by_a_proxy_is_sent_again(
    method: str, retrying: requests.Session, server: LoopbackServer
) -> None:
    server.script = [drop]
    retrying.request(method, "http://gracedb.invalid/", proxies={"http": server.url})
    assert len(server.requests) == 2


@any_other_method
@any_break
@pytest.mark.parametrize("kind", ["server", "tls_server"])
def test_a_request_that_is_dropped_behind_a_proxy_is_sent_once_if_the_method_is_not_idempotent(
    method: str,
    fault: Script,
    kind: str,
    session: requests.Session,
    request: pytest.FixtureRequest,
) -> None:
    server: LoopbackServer = request.getfixturevalue(kind)
    server.script = [fault]
    with ProxyServer() as proxy:
        proxies = {"http": proxy.url, "https": proxy.url}
        with pytest.raises(requests.RequestException):
            session.request(method, server.url, data=b"body", proxies=proxies)
    assert bodies(server) == [b"body"]


# An answer that breaks off: again, if the method is idempotent


@pytest.mark.parametrize("method", [method for method in IDEMPOTENT if method != "HEAD"])
def test_an_idempotent_request_whose_answer_breaks_off_is_sent_again(
    method: str, retrying: requests.Session, server: LoopbackServer
) -> None:
    server.script = [half_a_body, half_a_body, Answer(200, {}, b"whole")]
    response = retrying.request(method, server.url, data=io.BytesIO(b"body"))
    assert response.content == b"whole"
    assert bodies(server) == [b"body"] * 3


@any_other_method
def test_a_request_whose_answer_breaks_off_is_sent_once_if_the_method_is_not_idempotent(
    method: str, retrying: requests.Session, server: LoopbackServer
) -> None:
    server.script = [half_a_body]
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        retrying.request(method, server.url, data=b"body")
    assert bodies(server) == [b"body"]


def test_a_copy_of_a_request_that_became_a_post_is_sent_once(
    retrying: requests.Session, server: LoopbackServer
) -> None:
    prepared = retrying.prepare_request(requests.Request("GET", server.url))
    retrying.send(prepared)
    post = prepared.copy()
    post.method = "POST"
    server.script = [half_a_body]
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        retrying.send(post)
    assert [received.method for received in server.requests] == ["GET", "POST"]


def test_an_answer_that_always_breaks_off_is_a_chunked_encoding_error(
    retrying: requests.Session, server: LoopbackServer
) -> None:
    server.script = [half_a_body] * 10
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        retrying.get(server.url)
    assert len(server.requests) == RETRIES + 1


@pytest.mark.parametrize(
    "rule", [2, Retry(2, allowed_methods=None), Retry(2, allowed_methods=["PUT"])], ids=repr
)
def test_an_upload_whose_answer_breaks_off_is_not_sent_again_by_a_rule_for_urllib3(
    rule: Any, server: LoopbackServer
) -> None:
    server.script = [half_a_body] * 3
    with mounted(RetryAdapter(max_retries=rule)) as session:
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            session.put(server.url, data=b"body")
    assert len(server.requests) == 1


def test_a_get_whose_answer_breaks_off_is_sent_again_by_a_rule_for_urllib3(
    server: LoopbackServer,
) -> None:
    server.script = [half_a_body] * 2
    with mounted(RetryAdapter(max_retries=2)) as session:
        assert session.get(server.url).status_code == 200


def test_an_upload_whose_answer_breaks_off_is_sent_again_if_the_user_says_so(
    server: LoopbackServer
) -> None:
    server.script = [half_a_body]
    with mounted(RetryAdapter(max_retries=GraceDBRetry(allowed_methods=None))) as session:
        assert session.post(server.url, data=b"body").status_code == 200
    assert len(server.requests) == 2


def test_an_answer_that_the_caller_reads_is_not_read_before(
    retrying: requests.Session, server: LoopbackServer
) -> None:
    server.script = [half_a_body]
    response = retrying.get(server.url, stream=True)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        _ = response.content
    assert len(server.requests) == 1


def test_hooks_of_the_user_see_the_answer_that_is_whole(
    retrying: requests.Session, server: LoopbackServer
) -> None:
    server.script = [half_a_body, Answer(200, {}, b"whole")]
    seen: list[bytes] = []
    hooks = {"response": lambda response, **kwargs: seen.append(response.content)}
    assert retrying.get(server.url, hooks=hooks).elapsed > timedelta(0)
    assert seen == [b"whole"]


def slow_body(handler: Handler) -> None:
    """Answer, but take some time between the headers and the body."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
    time.sleep(0.05)
    handler.wfile.write(b"body")


@pytest.mark.parametrize("second", [Answer(200), slow_body])
def test_a_hook_of_the_user_that_sends_again_runs_once(
    second: Any, session: requests.Session, server: LoopbackServer
) -> None:
    seen = []

    def send_again(response: requests.Response, **kwargs: Any) -> requests.Response | None:
        seen.append(response.status_code)
        if response.status_code != 401:
            return None
        return response.connection.send(response.request.copy(), **kwargs)

    server.script = [Answer(401), second]
    session.get(server.url, hooks={"response": send_again})
    assert seen == [401]


def test_elapsed_does_not_count_an_answer_that_broke_off(
    retrying: requests.Session, server: LoopbackServer
) -> None:
    def late(handler: Handler) -> None:
        time.sleep(0.5)
        half_a_body(handler)

    server.script = [late, Answer(200, {}, b"whole")]
    assert retrying.get(server.url).elapsed < timedelta(seconds=0.5)


def test_elapsed_is_also_that_of_an_answer_without_a_session(server: LoopbackServer) -> None:
    request = requests.Request("GET", server.url).prepare()
    assert RetryAdapter().send(request).elapsed > timedelta(0)


def test_an_answer_that_breaks_off_after_authentication_is_sent_again(
    session: requests.Session, server: LoopbackServer
) -> None:
    challenge = {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'}
    server.script = [Answer(401, challenge), half_a_body, Answer(200, {}, b"whole")]
    auth = requests.auth.HTTPDigestAuth("user", "password")
    assert session.get(server.url, auth=auth).content == b"whole"


def test_an_error_after_an_answer_that_broke_off_raises(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [half_a_body, Answer(404)]
    with pytest.raises(requests.HTTPError, match="404"):
        session.get(server.url)


def test_an_error_that_breaks_off_after_an_answer_that_broke_off_raises(
    session: requests.Session, server: LoopbackServer
) -> None:
    def half_an_error(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\nhalf ")
        drop(handler)

    server.script = [half_a_body, half_an_error]
    with pytest.raises(requests.HTTPError, match="404"):
        session.get(server.url)
    assert len(server.requests) == 2
