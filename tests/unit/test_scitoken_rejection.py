"""SciTokenAuth: what follows when the server rejects the token."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
import requests

from requests_gracedb import FormData, GraceDBAuth, SciTokenAuth
from tests.conftest import write_token
from tests.loopback_server import Answer, Handler, LoopbackServer, redirect
from tests.unit.credentials import NEW, OLD


@pytest.fixture
def picky_server(server: LoopbackServer) -> LoopbackServer:
    """A server that takes the new token only."""
    server.answer = lambda received: Answer(
        200 if received.authorization == f"Bearer {NEW}" else 401, body=b"Unknown token"
    )
    return server


@pytest.fixture
def renewed(expiring_file: Path) -> SciTokenAuth:
    """A file with another token than was read from it."""
    auth = SciTokenAuth(expiring_file, auth_reload=True)
    write_token(expiring_file, NEW)
    return auth


def test_a_rejected_request_is_repeated_with_the_token_that_the_file_holds_by_now(
    renewed: SciTokenAuth, picky_server: LoopbackServer, session: requests.Session
) -> None:
    response = session.get(picky_server.url, auth=renewed)
    assert response.status_code == 200
    assert picky_server.authorizations == [f"Bearer {OLD}", f"Bearer {NEW}"]
    assert response.request.headers["Authorization"] == f"Bearer {NEW}"


def test_the_repeated_request_takes_the_same_connection(
    renewed: SciTokenAuth, picky_server: LoopbackServer, session: requests.Session
) -> None:
    session.post(picky_server.url, auth=renewed, data=b"data")
    assert picky_server.connections == 1


def test_the_rejection_of_a_repeated_request_is_in_the_history(
    renewed: SciTokenAuth, picky_server: LoopbackServer, session: requests.Session
) -> None:
    (rejection,) = session.get(picky_server.url, auth=renewed).history
    assert rejection.status_code == 401
    assert rejection.text == "Unknown token"


def test_requests_after_a_rejection_have_the_new_token_at_once(
    renewed: SciTokenAuth, picky_server: LoopbackServer, session: requests.Session
) -> None:
    session.get(picky_server.url, auth=renewed)
    session.get(picky_server.url, auth=renewed)
    assert picky_server.authorizations == [f"Bearer {OLD}", f"Bearer {NEW}", f"Bearer {NEW}"]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"data", id="bytes"),
        pytest.param("data", id="str"),
        pytest.param({"field": "data"}, id="dict"),
        pytest.param(io.BytesIO(b"data"), id="BytesIO"),
        pytest.param(FormData({"field": "data"}, {"file": ("name", b"data")}), id="FormData"),
    ],
)
def test_a_rejected_request_is_repeated_with_its_body(
    body: Any, renewed: SciTokenAuth, picky_server: LoopbackServer, session: requests.Session
) -> None:
    session.post(picky_server.url, auth=renewed, data=body)
    first, second = picky_server.requests
    assert b"data" in first.body
    assert second.body == first.body
    assert second.headers["Content-Type"] == first.headers["Content-Type"]


def test_a_rejected_request_is_repeated_with_the_file_from_where_it_stood(
    tmp_path: Path,
    renewed: SciTokenAuth,
    picky_server: LoopbackServer,
    session: requests.Session,
) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    with open(tmp_path / "file", "rb") as file:
        file.seek(3)
        session.post(picky_server.url, auth=renewed, data=file)
    assert [received.body for received in picky_server.requests] == [b"3456789"] * 2


def test_a_rejected_request_whose_body_is_a_generator_is_not_repeated(
    renewed: SciTokenAuth, picky_server: LoopbackServer, session: requests.Session
) -> None:
    with pytest.raises(requests.HTTPError, match="401"):
        session.post(picky_server.url, auth=renewed, data=(part for part in [b"da", b"ta"]))
    assert [received.body for received in picky_server.requests] == [b"data"]


def test_a_rejected_request_whose_body_is_a_pipe_is_not_repeated(
    renewed: SciTokenAuth, picky_server: LoopbackServer, session: requests.Session
) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"data")
    os.close(writing)
    with open(reading, "rb") as pipe, pytest.raises(requests.HTTPError, match="401"):
        session.post(picky_server.url, auth=renewed, data=pipe)
    assert [received.body for received in picky_server.requests] == [b"data"]


def test_a_rejected_request_is_repeated_once_even_if_yet_another_token_is_there(
    expiring_file: Path, server: LoopbackServer, session: requests.Session
) -> None:
    tokens = iter([NEW, OLD, NEW])

    def renew_and_reject(handler: Handler) -> None:
        write_token(expiring_file, next(tokens))
        handler.write(Answer(401))

    server.answer = lambda received: renew_and_reject
    with pytest.raises(requests.HTTPError) as caught:
        session.get(server.url, auth=SciTokenAuth(expiring_file, auth_reload=True))
    assert caught.value.response is not None
    assert [response.status_code for response in caught.value.response.history] == [401]
    assert server.authorizations == [f"Bearer {OLD}", f"Bearer {NEW}"]


def test_a_rejected_token_that_is_still_in_the_file_is_not_sent_again(
    expiring_file: Path, picky_server: LoopbackServer, session: requests.Session
) -> None:
    with pytest.raises(requests.HTTPError, match="401"):
        session.get(picky_server.url, auth=SciTokenAuth(expiring_file, auth_reload=True))
    assert picky_server.authorizations == [f"Bearer {OLD}"]


def test_a_half_written_token_is_not_sent_after_a_rejection(
    expiring_file: Path, picky_server: LoopbackServer, session: requests.Session
) -> None:
    auth = SciTokenAuth(expiring_file, auth_reload=True)
    write_token(expiring_file, NEW[:-1])
    with pytest.raises(requests.HTTPError, match="401"):
        session.get(picky_server.url, auth=auth)
    assert picky_server.authorizations == [f"Bearer {OLD}"]


def test_without_auth_reload_a_rejected_request_is_not_repeated(
    expiring_file: Path, picky_server: LoopbackServer, session: requests.Session
) -> None:
    auth = SciTokenAuth(expiring_file)
    write_token(expiring_file, NEW)
    with pytest.raises(requests.HTTPError, match="401"):
        session.get(picky_server.url, auth=auth)
    assert picky_server.authorizations == [f"Bearer {OLD}"]


@pytest.mark.parametrize("status", [400, 403, 407, 500])
def test_no_status_but_401_has_a_request_repeated(
    status: int, renewed: SciTokenAuth, server: LoopbackServer, session: requests.Session
) -> None:
    server.script = [Answer(status)]
    with pytest.raises(requests.HTTPError):
        session.get(server.url, auth=renewed)
    assert server.authorizations == [f"Bearer {OLD}"]


def test_another_origin_that_a_redirect_leads_to_does_not_get_the_new_token(
    renewed: SciTokenAuth,
    server: LoopbackServer,
    other_server: LoopbackServer,
    session: requests.Session,
) -> None:
    server.script = [redirect(other_server.url)]
    other_server.answer = lambda received: Answer(401)
    with pytest.raises(requests.HTTPError, match="401"):
        session.get(server.url, auth=renewed)
    assert other_server.authorizations == [None]


def test_another_origin_than_that_of_the_url_does_not_get_the_token_by_rejecting_its_absence(
    expiring_file: Path,
    server: LoopbackServer,
    other_server: LoopbackServer,
    session: requests.Session,
) -> None:
    session.auth = GraceDBAuth(server.url, token=expiring_file, auth_reload=True)
    write_token(expiring_file, NEW)
    other_server.answer = lambda received: Answer(401)
    with pytest.raises(requests.HTTPError, match="401"):
        session.get(other_server.url)
    assert other_server.authorizations == [None]


def test_a_rejection_after_a_redirect_to_the_same_origin_has_the_request_repeated(
    renewed: SciTokenAuth, picky_server: LoopbackServer, session: requests.Session
) -> None:
    picky_server.script = [redirect(f"{picky_server.url}/elsewhere")]
    session.get(picky_server.url, auth=renewed)
    assert [received.target for received in picky_server.requests] == [
        "/", "/elsewhere", "/elsewhere"
    ]
    assert picky_server.authorizations == [f"Bearer {OLD}", f"Bearer {OLD}", f"Bearer {NEW}"]


def test_a_redirect_after_a_rejection_gets_the_new_token(
    renewed: SciTokenAuth, server: LoopbackServer, session: requests.Session
) -> None:
    server.script = [Answer(401), redirect("/elsewhere")]
    session.get(server.url, auth=renewed)
    assert server.authorizations == [f"Bearer {OLD}", f"Bearer {NEW}", f"Bearer {NEW}"]


def test_a_rejected_request_is_repeated_once_and_not_again_after_a_redirect(
    expiring_file: Path, server: LoopbackServer, session: requests.Session
) -> None:
    auth = SciTokenAuth(expiring_file, auth_reload=True)
    write_token(expiring_file, NEW)

    def renew_and_reject(handler: Handler) -> None:
        write_token(expiring_file, OLD)
        handler.write(Answer(401))

    server.script = [Answer(401), redirect("/elsewhere"), renew_and_reject]
    with pytest.raises(requests.HTTPError, match="401"):
        session.get(server.url, auth=auth)
    assert server.authorizations == [f"Bearer {OLD}", f"Bearer {NEW}", f"Bearer {NEW}"]


def test_an_authorization_header_of_the_user_is_not_replaced_after_a_rejection(
    renewed: SciTokenAuth, picky_server: LoopbackServer, session: requests.Session
) -> None:
    request = session.prepare_request(requests.Request("GET", picky_server.url, auth=renewed))
    request.headers["Authorization"] = "own"
    with pytest.raises(requests.HTTPError, match="401"):
        session.send(request)
    assert picky_server.authorizations == ["own"]


def test_a_rejection_leaves_no_token_in_the_error_message(
    expiring_file: Path, server: LoopbackServer, session: requests.Session
) -> None:
    server.script = [Answer(401, body=f"{OLD} is not known".encode())]
    with pytest.raises(requests.HTTPError) as caught:
        session.get(server.url, auth=SciTokenAuth(expiring_file, auth_reload=True))
    assert OLD not in str(caught.value)


def test_a_prepared_request_that_was_repeated_can_be_sent_again(
    session: requests.Session, server: LoopbackServer, expiring_file: Path
) -> None:
    auth = SciTokenAuth(expiring_file, auth_reload=True)
    request = session.prepare_request(requests.Request("GET", server.url, auth=auth))
    write_token(expiring_file, NEW)
    server.answer = lambda received: Answer(
        200 if received.authorization == f"Bearer {NEW}" else 401
    )
    assert [session.send(request).status_code for _ in range(2)] == [200, 200]
