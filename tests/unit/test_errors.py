"""Errors of the server become exceptions that say what the server said."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from contextlib import closing

import pytest
import requests
from requests.auth import HTTPDigestAuth

from requests_gracedb import ErrorAdapter, FormData, GraceDBAuth
from tests.conftest import basic, mounted
from tests.loopback_server import Answer, Handler, LoopbackServer, redirect


@pytest.fixture
def session(ca_bundle: str) -> Iterator[requests.Session]:
    with mounted(ErrorAdapter(), ca_bundle) as session:
        yield session


def as_json(content: object, status: int = 400) -> Answer:
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(content).encode())


def as_text(content: str | bytes, content_type: str = "text/plain; charset=utf-8") -> Answer:
    body = content if isinstance(content, bytes) else content.encode()
    return Answer(503, {"Content-Type": content_type}, body)


def explanation(session: requests.Session, server: LoopbackServer, answer: Answer) -> str:
    """Get what follows the message that requests itself would give."""
    server.script = [answer]
    with pytest.raises(requests.HTTPError) as caught:
        session.get(server.url)
    with pytest.raises(requests.HTTPError) as plain:
        caught.value.response.raise_for_status()
    message = str(caught.value)
    assert message.startswith(str(plain.value))
    return message[len(str(plain.value)) :].removeprefix(": ")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
def test_a_status_of_400_or_more_raises(
    session: requests.Session, server: LoopbackServer, status: int
) -> None:
    server.script = [Answer(status)]
    with pytest.raises(requests.HTTPError) as caught:
        session.get(server.url)
    assert caught.value.response.status_code == status


@pytest.mark.parametrize("status", [200, 201, 204, 304])
def test_a_status_below_400_does_not_raise(
    session: requests.Session, server: LoopbackServer, status: int
) -> None:
    server.script = [Answer(status)]
    assert session.get(server.url).status_code == status


def test_a_status_that_requests_knows_nothing_of_raises(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(600)]
    with pytest.raises(requests.HTTPError, match="600"):
        session.get(server.url)


def test_a_redirect_that_is_not_followed_does_not_raise(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [redirect(server.url)]
    assert session.get(server.url, allow_redirects=False).status_code == 302


def test_an_error_after_a_redirect_raises(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [redirect(server.url), Answer(404)]
    with pytest.raises(requests.HTTPError, match="404"):
        session.get(server.url)


def test_the_message_of_an_error_without_a_body_is_that_of_requests(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(404)]
    with pytest.raises(requests.HTTPError) as caught:
        session.get(server.url + "/events/G1/")
    url = f"{server.url}/events/G1/"
    assert str(caught.value) == f"404 Client Error: Not Found for url: {url}"


@pytest.mark.parametrize("name", ["detail", "error", "message"])
def test_the_message_ends_with_the_explanation_of_a_json_object(
    session: requests.Session, server: LoopbackServer, name: str
) -> None:
    answer = as_json({"status": 400, name: "No such event."})
    assert explanation(session, server, answer) == "No such event."


def test_the_message_ends_with_the_detail_of_problem_json(
    session: requests.Session, server: LoopbackServer
) -> None:
    body = b'{"title": "Forbidden", "detail": "The scope is missing."}'
    answer = Answer(400, {"Content-Type": "application/problem+json; charset=utf-8"}, body)
    assert explanation(session, server, answer) == "The scope is missing."


@pytest.mark.parametrize(
    "errors, expected",
    [
        ({"far": ["Low."], "group": ["A.", "B."]}, "far: Low.; group: A.; group: B."),
        ({"non_field_errors": ["Too late."]}, "Too late."),
        ({"event": {"far": ["Not a number."]}}, "event.far: Not a number."),
        ([{}, {"far": ["Not a number."]}], "far: Not a number."),
        (["Read only."], "Read only."),
        ("Read only.", "Read only."),
        ({"detail": ["Read only."]}, "Read only."),
        ({"detail": None, "error": {"code": 7}}, "code: 7"),
        ({"group": None}, ""),
        (None, ""),
    ],
)
def test_the_message_ends_with_the_field_errors_of_django_rest_framework(
    session: requests.Session, server: LoopbackServer, errors: object, expected: str
) -> None:
    assert explanation(session, server, as_json(errors)) == expected


def test_the_message_ends_with_the_start_of_a_text_in_one_line(
    session: requests.Session, server: LoopbackServer
) -> None:
    answer = as_text("Down for maintenance.\r\n\r\n  Back\tat noon.\n")
    assert explanation(session, server, answer) == "Down for maintenance. Back at noon."


@pytest.mark.parametrize("answer", [as_text("ü" * 10_000), as_json({"detail": "ü" * 10_000})])
def test_an_explanation_has_500_characters_at_most(
    session: requests.Session, server: LoopbackServer, answer: Answer
) -> None:
    assert explanation(session, server, answer) == "ü" * 499 + "…"


@pytest.mark.parametrize(
    "answer", [as_text("a\x1b[2Jb\0c\u202ed"), as_json({"detail": "a\x1b[2Jb\0c\u202ed"})]
)
def test_control_characters_of_an_explanation_are_removed(
    session: requests.Session, server: LoopbackServer, answer: Answer
) -> None:
    assert explanation(session, server, answer) == "a[2Jbcd"


@pytest.mark.parametrize(
    "answer",
    [
        as_text("<html><body>Bad Gateway</body></html>", "text/html"),
        as_text("\n<!DOCTYPE html><title>Bad Gateway</title>", "text/plain"),
        as_text("<HTML>Bad Gateway", "text/plain"),
    ],
)
def test_an_explanation_in_html_is_not_shown(
    session: requests.Session, server: LoopbackServer, answer: Answer
) -> None:
    assert explanation(session, server, answer) == ""


def test_an_explanation_that_is_not_text_is_not_shown(
    session: requests.Session, server: LoopbackServer
) -> None:
    answer = as_text(b"\x89PNG\r\n\x1a\n", "image/png")
    assert explanation(session, server, answer) == ""


def test_a_body_without_a_type_is_taken_for_text(
    session: requests.Session, server: LoopbackServer
) -> None:
    assert explanation(session, server, Answer(500, {}, b"Oops.")) == "Oops."


@pytest.mark.parametrize(
    "body", [b"{broken", b"[" * 100_000 + b"]" * 100_000], ids=["not JSON", "nested too deep"]
)
def test_json_that_cannot_be_read_is_shown_as_it_is(
    session: requests.Session, server: LoopbackServer, body: bytes
) -> None:
    answer = Answer(500, {"Content-Type": "application/json"}, body)
    assert explanation(session, server, answer).startswith(body[:100].decode())


@pytest.mark.parametrize(
    "content, content_type",
    [
        ("Größe", "text/plain"),
        ("Größe", "text/plain; charset=utf-8"),
        ("Größe".encode("latin-1"), "text/plain; charset=iso-8859-1"),
        ("Größe", "text/plain; charset=no-such-charset"),
    ],
)
def test_an_explanation_is_read_in_its_charset(
    session: requests.Session, server: LoopbackServer, content: str | bytes, content_type: str
) -> None:
    assert explanation(session, server, as_text(content, content_type)) == "Größe"


def test_the_response_of_an_exception_can_be_read(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [as_json({"detail": "No."})]
    with pytest.raises(requests.HTTPError) as caught:
        session.get(server.url)
    assert caught.value.response.json() == {"detail": "No."}


def test_the_response_of_an_exception_can_be_read_although_it_was_to_be_streamed(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [as_json({"detail": "No."})]
    with pytest.raises(requests.HTTPError) as caught:
        session.get(server.url, stream=True)
    assert caught.value.response.json() == {"detail": "No."}


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_whose_body_breaks_off_raises_as_any_error(
    session: requests.Session, server: LoopbackServer, stream: bool
) -> None:
    def half_an_answer(handler: Handler) -> None:
        headers = {"Content-Length": "100", "Content-Type": "text/plain"}
        handler.write(Answer(500, headers, b"half"))
        handler.drop()

    server.script = [half_an_answer]
    with pytest.raises(requests.HTTPError, match="500") as caught:
        session.get(server.url, stream=stream)
    assert caught.value.response.content == b"half"


@pytest.mark.parametrize("stream", [False, True])
def test_many_errors_that_nobody_keeps_need_one_connection(
    session: requests.Session, tls_server: LoopbackServer, stream: bool
) -> None:
    tls_server.answer = lambda received: as_json({"detail": "No."})
    for _ in range(20):
        with pytest.raises(requests.HTTPError):
            session.get(tls_server.url, stream=stream)
    assert tls_server.connections == 1


@pytest.mark.parametrize("stream", [False, True])
def test_many_errors_that_the_caller_keeps_need_one_connection(
    session: requests.Session, tls_server: LoopbackServer, stream: bool
) -> None:
    tls_server.answer = lambda received: as_json({"detail": "No."})
    kept = []
    for _ in range(20):
        with pytest.raises(requests.HTTPError) as caught:
            session.get(tls_server.url, stream=stream)
        kept.append(caught.value)
    assert tls_server.connections == 1


@pytest.fixture
def digest_server(server: LoopbackServer) -> LoopbackServer:
    """A server that lets in who answers its challenge."""

    def answer(received: object) -> Answer:
        authorization = server.authorizations[-1] or ""
        if 'username="user"' in authorization:
            return Answer()
        challenge = 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'
        return Answer(401, {"WWW-Authenticate": challenge})

    server.answer = answer
    return server


def test_digest_authentication_answers_before_an_error_is_raised(
    session: requests.Session, digest_server: LoopbackServer
) -> None:
    response = session.get(digest_server.url, auth=HTTPDigestAuth("user", "password"))
    assert [response.status_code, *(r.status_code for r in response.history)] == [200, 401]


def test_an_answer_to_a_challenge_that_is_refused_raises(
    session: requests.Session, digest_server: LoopbackServer
) -> None:
    with pytest.raises(requests.HTTPError, match="401"):
        session.get(digest_server.url, auth=HTTPDigestAuth("nobody", "password"))
    assert len(digest_server.requests) == 2


def test_hooks_of_the_user_see_the_response_first(
    session: requests.Session, server: LoopbackServer
) -> None:
    seen = []
    server.script = [Answer(500)]
    hooks = {"response": lambda response, **kwargs: seen.append(response.status_code)}
    with pytest.raises(requests.HTTPError):
        session.get(server.url, hooks=hooks)
    assert seen == [500]


def test_a_prepared_request_can_be_sent_again_after_an_error(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(500), Answer(500), Answer()]
    request = session.prepare_request(requests.Request("GET", server.url))
    for _ in range(2):
        with pytest.raises(requests.HTTPError):
            session.send(request)
    assert session.send(request).status_code == 200


def test_an_error_whose_body_a_hook_has_consumed_raises(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(500, {}, b"Oops.")]
    hooks = {"response": lambda response, **kwargs: list(response.iter_content(1))[:0] or None}
    with pytest.raises(requests.HTTPError, match="500"):
        session.get(server.url, hooks=hooks)


def test_the_exception_pickles(session: requests.Session, server: LoopbackServer) -> None:
    server.script = [as_json({"detail": "No."})]
    with pytest.raises(requests.HTTPError) as caught:
        session.post(server.url, data=FormData({"group": "Test"}))
    loaded = pickle.loads(pickle.dumps(caught.value))
    assert (str(loaded), loaded.response.json()) == (str(caught.value), {"detail": "No."})


def test_a_password_in_the_url_is_not_shown(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(404)]
    with pytest.raises(requests.HTTPError) as caught:
        session.get(server.url.replace("://", "://user:s3cr3t@") + "/path")
    assert str(caught.value).endswith(f"for url: {server.url}/path")


@pytest.mark.parametrize(
    "authorization, echo",
    [
        ("Bearer s3cr3t", "Who is s3cr3t?"),
        (basic("user", "s3cr3t"), "Who is user:s3cr3t?"),
        (basic("user", "s3cr3t"), f"What is {basic('user', 's3cr3t')}?"),
        ("Basic s3cr3t", "What is s3cr3t?"),
    ],
)
def test_a_credential_that_the_server_echoes_is_not_shown(
    session: requests.Session, server: LoopbackServer, authorization: str, echo: str
) -> None:
    server.script = [as_text(echo)]
    with pytest.raises(requests.HTTPError, match=r"\*\*\*") as caught:
        session.get(server.url, headers={"Authorization": authorization})
    assert "s3cr3t" not in str(caught.value)
    assert basic("user", "s3cr3t").partition(" ")[2] not in str(caught.value)


def test_without_a_session_nothing_is_raised(server: LoopbackServer) -> None:
    server.script = [Answer(500)]
    request = requests.Request("GET", server.url).prepare()
    with closing(ErrorAdapter()) as adapter:
        assert adapter.send(request).status_code == 500


@pytest.mark.parametrize("charset", ["undefined", "idna", "utf-16"])
def test_a_charset_that_makes_no_sense_hides_no_error(
    session: requests.Session, server: LoopbackServer, charset: str
) -> None:
    server.script = [as_text(b"b\xffd", f"text/plain; charset={charset}")]
    with pytest.raises(requests.HTTPError, match="503"):
        session.get(server.url)


@pytest.mark.parametrize("password", ["p\xe4ssw\xf6rd", "two  spaces", "tab-less\u2028line"])
def test_a_password_of_any_kind_that_the_server_echoes_is_not_shown(
    session: requests.Session, server: LoopbackServer, password: str
) -> None:
    server.script = [as_text(f"Who is {password}?")]
    auth = GraceDBAuth(server.url, username="user", password=password)
    with pytest.raises(requests.HTTPError, match=r"Who is \*\*\*") as caught:
        session.get(server.url, auth=auth)
    assert " ".join(password.split()) not in str(caught.value)
