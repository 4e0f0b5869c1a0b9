"""A refusal says what the client knows of the credential that was refused."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import requests
from requests.auth import AuthBase

from requests_gracedb import GraceDBAuth, NoAuth
from tests.conftest import make_token, write_netrc, write_token
from tests.loopback_server import Answer, LoopbackServer


def refused(session: requests.Session, server: LoopbackServer, status: int) -> str:
    server.script = [Answer(status)]
    with pytest.raises(requests.HTTPError) as caught:
        session.get(f"{server.url}/api/?query")
    return str(caught.value)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_token_that_has_expired_is_named(
    status: int, session: requests.Session, server: LoopbackServer, token_file: Path
) -> None:
    write_token(token_file, make_token(exp=time.time() - 125))
    session.auth = GraceDBAuth(server.url, token=token_file)
    hint = (
        f"(the token file {token_file} has a token that expired 2 min ago; python -m "
        f"requests_gracedb {server.url}/api/ tells more)"
    )
    assert refused(session, server, status).endswith(hint)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_token_for_another_server_is_named(
    status: int, session: requests.Session, server: LoopbackServer, token_file: Path
) -> None:
    write_token(token_file, make_token(aud="https://elsewhere.example"))
    session.auth = GraceDBAuth(server.url, token=token_file)
    assert 'has a token for "https://elsewhere.example"' in refused(session, server, status)


@pytest.mark.parametrize("status", [401, 403])
def test_that_there_was_no_credential_is_told(
    status: int, session: requests.Session, server: LoopbackServer
) -> None:
    session.auth = NoAuth()
    assert "(no credential was sent; " in refused(session, server, status)


@pytest.mark.parametrize("status", [400, 404, 500])
def test_of_other_errors_a_credential_is_not_the_reason(
    status: int, session: requests.Session, server: LoopbackServer
) -> None:
    assert "credential" not in refused(session, server, status)


@pytest.mark.parametrize("status", [401, 403])
def test_that_a_good_token_was_sent_is_told(
    status: int, session: requests.Session, server: LoopbackServer, token_file: Path
) -> None:
    session.auth = GraceDBAuth(server.url, token=token_file)
    assert "(a credential was sent; " in refused(session, server, status)


def test_of_a_good_token_nothing_is_said_when_something_is_missing(
    session: requests.Session, server: LoopbackServer, token_file: Path
) -> None:
    session.auth = GraceDBAuth(server.url, token=token_file)
    assert refused(session, server, 404).endswith("?query")


def test_a_header_of_the_users_own_is_not_taken_for_the_credential(
    session: requests.Session, server: LoopbackServer, token_file: Path
) -> None:
    class Replacing(AuthBase):
        def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
            request = GraceDBAuth(server.url, token=token_file)(request)
            request.headers["Authorization"] = "Basic mine"
            return request

    session.auth = Replacing()
    assert "credential" not in refused(session, server, 403)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_token_that_was_passed_over_is_named(
    status: int, session: requests.Session, server: LoopbackServer, home: Path
) -> None:
    path = write_token(home / f"bt_u{os.geteuid()}", make_token(exp=time.time() - 125))
    session.auth = GraceDBAuth(server.url)
    assert (
        f"(no credential was sent: when it was looked for, the token file {path} had a token that "
        "expired 2 min ago; "
    ) in refused(session, server, status)


def test_of_several_tokens_that_were_passed_over_the_first_is_named(
    session: requests.Session,
    server: LoopbackServer,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BEARER_TOKEN", make_token(exp=time.time() - 125))
    write_token(home / f"bt_u{os.geteuid()}", make_token(aud="https://elsewhere.example"))
    session.auth = GraceDBAuth(server.url)
    assert "environment variable BEARER_TOKEN had a token that expired 2 min ago; " in refused(
        session, server, 403
    )


def test_of_a_token_that_was_passed_over_nothing_is_said_if_netrc_has_a_password(
    session: requests.Session, server: LoopbackServer, home: Path
) -> None:
    write_token(home / f"bt_u{os.geteuid()}", make_token(exp=1))
    write_netrc(home, "machine localhost login user password password")
    session.auth = GraceDBAuth(server.url)
    assert "(a credential was sent; " in refused(session, server, 403)


@pytest.mark.parametrize("url", ["https://gracedb.ligo.org/api/", None])
def test_of_a_header_of_the_users_own_nothing_is_said(
    url: str | None, session: requests.Session, server: LoopbackServer, home: Path
) -> None:
    write_token(home / f"bt_u{os.geteuid()}", make_token(exp=1))
    server.script = [Answer(403)]
    with pytest.raises(requests.HTTPError) as caught:
        session.get(server.url, headers={"Authorization": "Basic mine"}, auth=GraceDBAuth(url))
    assert server.authorizations == ["Basic mine"]
    assert "credential" not in str(caught.value)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_credential_for_another_server_is_told_from_none(
    status: int, session: requests.Session, server: LoopbackServer, token_file: Path
) -> None:
    session.auth = GraceDBAuth("https://gracedb.ligo.org/api/", token=token_file)
    assert (
        "(no credential was sent: it is for https://gracedb.ligo.org:443 only; "
    ) in refused(session, server, status)
