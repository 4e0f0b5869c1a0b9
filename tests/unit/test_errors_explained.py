"""What an error says: the server's words in whatever shape, and what the client knows itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.auth import HTTPDigestAuth

from requests_gracedb import ErrorAdapter, GraceDBAdapter, GraceDBAuth
from tests.conftest import make_token, mounted, write_token
from tests.loopback_server import Answer, LoopbackServer, redirect

DJANGO = "text/html; charset=utf-8"


@pytest.fixture
def session(ca_bundle: str) -> Iterator[requests.Session]:
    with mounted(ErrorAdapter(), ca_bundle) as session:
        yield session


def failing(session: requests.Session, url: str, **kwargs: Any) -> requests.HTTPError:
    with pytest.raises(requests.HTTPError) as caught:
        session.get(url, **kwargs)
    return caught.value


def explained(session: requests.Session, server: LoopbackServer, answer: Answer) -> str:
    """Get what follows the message of requests."""
    server.script = [answer]
    return str(failing(session, server.url)).partition(f" for url: {server.url}/")[2]


# The server's words


@pytest.mark.parametrize("content_type", [DJANGO, "text/plain", "application/fits", "nonsense"])
def test_a_plain_text_is_an_explanation_whatever_its_type(
    content_type: str, session: requests.Session, server: LoopbackServer
) -> None:
    answer = Answer(400, {"Content-Type": content_type}, "Größe: event not found.".encode())
    assert explained(session, server, answer) == ": Größe: event not found."


@pytest.mark.parametrize("content_type", [DJANGO, "text/plain", "application/octet-stream"])
@pytest.mark.parametrize(
    "body",
    ["<h1>Not Found</h1>", "\r\n <!DOCTYPE html>", "\ufeff<html>", "<?xml version='1.0'?>"],
    ids=["tag", "doctype", "byte order mark", "XML"],
)
def test_markup_is_none(
    body: str, content_type: str, session: requests.Session, server: LoopbackServer
) -> None:
    answer = Answer(502, {"Content-Type": content_type}, body.encode())
    assert explained(session, server, answer) == ""


@pytest.mark.parametrize(
    "content, expected",
    [
        ("Event not found.", "Event not found."),
        (["group: A.", "pipeline: B."], "group: A.; pipeline: B."),
        ({"error": "No."}, "No."),
        ({"errors": ["group: A.", "pipeline: B."]}, "group: A.; pipeline: B."),
        ({"warnings": ["The label was not applied."]}, "The label was not applied."),
        ({"errors": "No.", "warnings": ["Not yet."]}, "No.; Not yet."),
        ({"detail": "Not found."}, "Not found."),
        ({"message": "No.", "status": 400}, "No."),
        ({"group": ["A."], "pipeline": ["B.", "C."]}, "group: A.; pipeline: B.; pipeline: C."),
        ({"errors": {"group": ["A."]}}, "group: A."),
        ({"errors": [], "group": ["A."]}, "group: A."),
    ],
    ids=str,
)
@pytest.mark.parametrize("content_type", ["application/json", DJANGO])
def test_json_is_an_explanation_in_every_shape(
    content_type: str,
    content: object,
    expected: str,
    session: requests.Session,
    server: LoopbackServer,
) -> None:
    answer = Answer(400, {"Content-Type": content_type}, json.dumps(content).encode())
    assert explained(session, server, answer) == f": {expected}"


# What the client knows


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("auth", [None, "GraceDBAuth"])
def test_that_no_credential_was_sent_is_part_of_the_message(
    auth: str | None, status: int, session: requests.Session, server: LoopbackServer
) -> None:
    if auth:
        session.auth = GraceDBAuth(server.url)
    server.script = [Answer(status, {}, b"No.")]
    assert str(failing(session, f"{server.url}/api/?q=1")).endswith(
        ": No. (no credential was sent; "
        f"python -m requests_gracedb {server.url}/api/ tells more)"
    )


@pytest.mark.parametrize("status", [400, 404, 500])
def test_an_error_of_another_kind_says_nothing_of_credentials(
    status: int, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(status, {}, b"No.")]
    assert str(failing(session, server.url)).endswith(": No.")


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_credential_of_which_nothing_is_known_is_not_mentioned(
    status: int, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(status, {}, b"No.")]
    assert str(failing(session, server.url, auth=("user", "password"))).endswith(": No.")


def test_a_client_certificate_is_a_credential(
    session: requests.Session, server: LoopbackServer, ca_bundle: str
) -> None:
    server.script = [Answer(403, {}, b"No.")]
    assert str(failing(session, server.url, cert=ca_bundle)).endswith(": No.")


def test_that_a_redirect_took_the_credential_away_is_known(
    server: LoopbackServer, other_server: LoopbackServer
) -> None:
    server.script = [redirect(other_server.url)]
    other_server.script = [Answer(403)]
    with mounted(GraceDBAdapter()) as session:
        session.auth = GraceDBAuth(server.url, username="user", password="password")
        assert "no credential was sent" in str(failing(session, server.url))


class Explaining:
    """A response hook that knows something."""

    def __call__(self, response: requests.Response, **kwargs: Any) -> None:
        pass

    def explain(self, response: requests.Response) -> str | None:
        if "unknown" in str(response.url):
            return None
        return f"the token\nexpired for {response.url}"


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_hook_may_know_more(
    status: int, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(status)]
    error = failing(session, server.url, hooks={"response": Explaining()})
    command = f"python -m requests_gracedb {server.url}/"
    assert str(error).endswith(f" (the token expired for {server.url}/; {command} tells more)")


@pytest.mark.parametrize("path, status", [("/unknown", 404), ("/", 400), ("/", 500)])
def test_a_hook_may_have_nothing_to_say(
    path: str, status: int, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(status)]
    error = failing(session, server.url + path, hooks={"response": Explaining()})
    assert str(error).endswith(f" for url: {server.url}{path}")


def test_an_expired_token_is_mentioned(
    server: LoopbackServer, tmp_path: Path, recwarn: object
) -> None:
    path = write_token(tmp_path / "token", make_token(exp=1, name="old"))
    server.script = [Answer(status) for status in (401, 403, 404)]
    with mounted(GraceDBAdapter()) as session:
        session.auth = GraceDBAuth(server.url, token=path)
        for _ in range(3):
            assert "expired" in str(failing(session, server.url))


# The response


def test_the_history_is_that_of_requests(session: requests.Session, server: LoopbackServer) -> None:
    steps = [redirect("/one"), redirect("/two", 307), redirect("/three", 303)]
    server.script = [*steps, Answer(404), *steps, Answer(404)]
    error = failing(session, server.url)
    session.mount("http://", requests.adapters.HTTPAdapter())
    plain = session.get(server.url)
    for response in (error.response, plain):
        assert [step.status_code for step in response.history] == [302, 307, 303]
        assert [step.url for step in response.history[1:]] == [
            f"{server.url}/one", f"{server.url}/two",
        ]
        assert [len(step.history) for step in response.history] == [0, 1, 2]


def test_without_a_redirect_there_is_no_history(
    session: requests.Session, server: LoopbackServer
) -> None:
    prepared = session.prepare_request(requests.Request("GET", server.url))
    server.script = [redirect("/there"), Answer(404)]
    session.send(prepared, allow_redirects=False)
    with pytest.raises(requests.HTTPError) as caught:
        session.send(prepared)
    assert caught.value.response.history == []


def test_the_history_has_no_redirect_of_an_earlier_attempt(
    session: requests.Session, server: LoopbackServer
) -> None:
    prepared = session.prepare_request(requests.Request("GET", server.url))
    server.script = [redirect("/there"), Answer(404), Answer(404), redirect("/there"), Answer()]
    lengths = []
    for _ in range(2):
        with pytest.raises(requests.HTTPError) as caught:
            session.send(prepared)
        lengths.append(len(caught.value.response.history))
    assert lengths == [1, 0]
    assert len(session.send(prepared).history) == 1


def test_the_history_has_the_answer_to_a_challenge_that_was_refused(
    session: requests.Session, server: LoopbackServer
) -> None:
    challenge = {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'}
    server.script = [Answer(401, challenge), Answer(403)]
    error = failing(session, server.url, auth=HTTPDigestAuth("user", "password"))
    assert [step.status_code for step in error.response.history] == [401]


def test_cookies_that_the_server_set_are_those_of_the_response_and_not_of_the_session(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(404, {"Set-Cookie": "name=value"})]
    assert failing(session, server.url).response.cookies.get_dict() == {"name": "value"}
    assert session.cookies.get_dict() == {}


def test_a_good_answer_leaves_the_hooks_alone(
    session: requests.Session, server: LoopbackServer
) -> None:
    assert session.get(server.url).request.hooks == {"response": []}
