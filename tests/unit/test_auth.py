"""GraceDBAuth and NoAuth: which credential is chosen, and which server gets it."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.auth import AuthBase

from requests_gracedb import GraceDBAuth, NoAuth
from tests.conftest import basic, everything_in, make_token, write_netrc, write_token
from tests.loopback_server import Answer, LoopbackServer, redirect
from tests.unit.credentials import AT_LOCALHOST, LOCALHOST, NETRC, SECRET, sent


# The order of the search


@pytest.fixture
def everywhere(home: Path, token_file: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Credentials in all the places, and the arguments that name some of them."""
    monkeypatch.setenv("BEARER_TOKEN", "discovered")
    write_netrc(home, LOCALHOST)
    return {"token": token_file, "username": "albert", "password": "einstein"}


def test_force_noauth_wins_over_everything(everywhere: dict[str, Any]) -> None:
    assert sent(GraceDBAuth(force_noauth=True, **everywhere)) is None


def test_a_token_wins_over_username_and_password(everywhere: dict[str, Any], bearer: str) -> None:
    assert sent(GraceDBAuth(**everywhere)) == bearer


def test_username_and_password_win_over_a_discovered_token(everywhere: dict[str, Any]) -> None:
    del everywhere["token"]
    assert sent(GraceDBAuth(**everywhere)) == basic("albert", "einstein")


def test_a_discovered_token_wins_over_netrc(everywhere: dict[str, Any]) -> None:
    assert sent(GraceDBAuth()) == "Bearer discovered"


def test_netrc_is_the_last_place_of_the_search(
    everywhere: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BEARER_TOKEN")
    assert sent(GraceDBAuth()) == NETRC


def test_the_error_of_having_no_credential_names_the_server_and_what_was_passed_over(
    home: Path,
) -> None:
    path = write_token(home / f"bt_u{os.geteuid()}", make_token(exp=1))
    with pytest.raises(ValueError) as caught:
        GraceDBAuth("https://gracedb.ligo.org/api/", fail_if_noauth=True)
    begin = f"no credential found for https://gracedb.ligo.org:443 (the token file {path} had a"
    assert str(caught.value).startswith(f"{begin} token that expired ")
    assert "requests-gracedb https://gracedb.ligo.org/api/ tells" in str(caught.value)


def test_nothing_found_is_no_credential() -> None:
    assert sent(GraceDBAuth()) is None


def test_the_arguments_may_be_given_by_position(token_file: Path, bearer: str) -> None:
    assert sent(GraceDBAuth(AT_LOCALHOST, token_file)) == bearer
    assert sent(GraceDBAuth(AT_LOCALHOST, None, "a", "b")) == basic("a", "b")
    assert sent(GraceDBAuth(AT_LOCALHOST, token_file, None, None, True)) is None
    with pytest.raises(ValueError, match="no credential found"):
        GraceDBAuth(AT_LOCALHOST, None, None, None, False, True)


def test_the_search_is_made_once(home: Path, everywhere: dict[str, Any]) -> None:
    auth = GraceDBAuth()
    os.environ.pop("BEARER_TOKEN")
    write_netrc(home)
    assert sent(auth) == "Bearer discovered"


def test_gracedb_auth_serves_a_whole_session(
    token_file: Path, bearer: str, server: LoopbackServer, session: requests.Session
) -> None:
    session.auth = GraceDBAuth(server.url, token=token_file)
    session.get(server.url)
    session.get(server.url)
    assert server.authorizations == [bearer, bearer]


def test_gracedb_auth_serves_a_single_request(
    token_file: Path, bearer: str, server: LoopbackServer, session: requests.Session
) -> None:
    session.get(server.url, auth=GraceDBAuth(server.url, token=token_file))
    session.get(server.url)
    assert server.authorizations == [bearer, None]


def test_the_auth_of_a_request_wins_over_that_of_the_session(
    server: LoopbackServer, session: requests.Session
) -> None:
    session.auth = GraceDBAuth(username="of the", password="session")
    session.get(server.url, auth=GraceDBAuth(username="of the", password="request"))
    assert server.authorizations == [basic("of the", "request")]


def test_the_credential_wins_over_netrc_that_requests_looks_at(
    home: Path, server: LoopbackServer, session: requests.Session
) -> None:
    write_netrc(home, LOCALHOST)
    session.get(server.url, auth=GraceDBAuth(username="a", password="b"))
    assert server.authorizations == [basic("a", "b")]


# Arguments that do not go together


@pytest.mark.parametrize("arguments", [{"username": SECRET}, {"password": SECRET}])
@pytest.mark.parametrize("others", [{}, {"force_noauth": True}, {"token": "file"}])
def test_username_and_password_go_together(
    arguments: dict[str, Any], others: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="username and password go together") as caught:
        GraceDBAuth(**arguments, **others)
    assert SECRET not in everything_in(caught.value)


def test_force_noauth_excludes_fail_if_noauth() -> None:
    with pytest.raises(ValueError, match="force_noauth and fail_if_noauth"):
        GraceDBAuth(force_noauth=True, fail_if_noauth=True)


@pytest.mark.parametrize("url", ["", "gracedb.ligo.org", "/api/", "https://", "https://a:b/"])
def test_what_is_no_url_is_a_value_error(url: str) -> None:
    with pytest.raises(ValueError):
        GraceDBAuth(url, username="a", password="b")


def test_an_empty_username_and_password_are_sent() -> None:
    assert sent(GraceDBAuth(username="", password="")) == basic("", "")


@pytest.mark.parametrize("url", ["gracedb.ligo.org:443/api", "localhost:8000", "ftp://x/"])
def test_a_url_of_another_scheme_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="https://"):
        GraceDBAuth(url, force_noauth=False, username="user", password="password")


# fail_if_noauth


@pytest.mark.parametrize("url", [None, AT_LOCALHOST])
def test_fail_if_noauth_is_a_value_error_at_once_if_there_is_nothing_to_look_at(
    url: str | None,
) -> None:
    with pytest.raises(ValueError, match="no credential found"):
        GraceDBAuth(url, fail_if_noauth=True)


def test_fail_if_noauth_is_a_value_error_at_once_if_netrc_has_nothing_for_the_url(
    home: Path,
) -> None:
    write_netrc(home, LOCALHOST)
    with pytest.raises(ValueError, match="no credential found"):
        GraceDBAuth("https://gracedb.invalid/", fail_if_noauth=True)


def test_fail_if_noauth_without_url_is_a_value_error_of_the_request_that_netrc_has_nothing_for(
    home: Path, server: LoopbackServer, session: requests.Session
) -> None:
    write_netrc(home, "machine gracedb.invalid login a password b")
    session.auth = GraceDBAuth(fail_if_noauth=True)
    with pytest.raises(ValueError, match="no credential found"):
        session.get(server.url)
    assert server.connections == 0
    assert sent(session.auth, "https://gracedb.invalid/") == basic("a", "b")


def test_fail_if_noauth_with_url_lets_requests_to_other_origins_pass_without_credential(
    home: Path,
) -> None:
    write_netrc(home, LOCALHOST)
    auth = GraceDBAuth(AT_LOCALHOST, fail_if_noauth=True)
    assert sent(auth, "https://gracedb.invalid/") is None


def test_fail_if_noauth_is_content_with_a_header_of_the_user(home: Path) -> None:
    write_netrc(home, "machine gracedb.invalid login a password b")
    request = requests.Request("GET", AT_LOCALHOST, {"Authorization": "own"})
    request.auth = GraceDBAuth(fail_if_noauth=True)
    assert request.prepare().headers["Authorization"] == "own"


@pytest.mark.parametrize("url", [None, AT_LOCALHOST])
@pytest.mark.parametrize("source", ["token", "username", "discovered", "netrc"])
def test_fail_if_noauth_is_content_with_any_credential(
    source: str, url: str | None, everywhere: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if source != "token":
        del everywhere["token"]
    if source in ("discovered", "netrc"):
        everywhere.clear()
    if source == "netrc":
        monkeypatch.delenv("BEARER_TOKEN")
    assert sent(GraceDBAuth(url, fail_if_noauth=True, **everywhere)) is not None


# One origin only


@pytest.fixture(params=["token", "username", "discovered", "netrc"])
def bound(
    request: pytest.FixtureRequest, everywhere: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> GraceDBAuth:
    """Auth of each kind for https://localhost/."""
    if request.param == "token":
        return GraceDBAuth(AT_LOCALHOST, token=everywhere["token"])
    if request.param == "username":
        return GraceDBAuth(AT_LOCALHOST, username="albert", password="einstein")
    if request.param == "netrc":
        monkeypatch.delenv("BEARER_TOKEN")
    return GraceDBAuth(AT_LOCALHOST)


@pytest.mark.parametrize(
    "url", ["https://localhost/", "https://localhost:443/api/", "HTTPS://LocalHost", AT_LOCALHOST]
)
def test_the_credential_goes_to_the_origin_of_the_url(url: str, bound: GraceDBAuth) -> None:
    assert sent(bound, url) is not None


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/",
        "https://localhost:8443/",
        "https://127.0.0.1/",
        "https://www.localhost/",
        "https://localhost.gracedb.invalid/",
        "https://localhost@gracedb.invalid/",
        "https://gracedb.invalid/https://localhost/",
        "https://gracedb.invalid\\@localhost/",
        "http://gracedb.invalid/",
    ],
)
def test_the_credential_goes_to_no_other_origin(url: str, bound: GraceDBAuth) -> None:
    assert sent(bound, url) is None


def test_without_url_the_credential_goes_to_any_https_origin(
    token_file: Path, bearer: str
) -> None:
    auth = GraceDBAuth(token=token_file)
    assert sent(auth, "https://localhost/") == bearer
    assert sent(auth, "https://gracedb.invalid/") == bearer


# Pickles


@pytest.mark.parametrize("arguments", [
    {"username": "a", "password": "b"}, {"force_noauth": True}, {"url": AT_LOCALHOST}, {}
])
def test_auth_of_any_kind_works_in_another_process(arguments: dict[str, Any], home: Path) -> None:
    write_netrc(home, LOCALHOST)
    auth = GraceDBAuth(**arguments)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert pool.submit(sent, auth).result() == sent(auth)


def test_a_pickle_stays_bound_to_its_origin(bound: GraceDBAuth) -> None:
    auth = pickle.loads(pickle.dumps(bound))
    assert sent(auth) == sent(bound)
    assert sent(auth, "https://gracedb.invalid/") is None


def test_a_pickle_keeps_fail_if_noauth(home: Path) -> None:
    write_netrc(home, LOCALHOST)
    auth = pickle.loads(pickle.dumps(GraceDBAuth(fail_if_noauth=True)))
    with pytest.raises(ValueError, match="no credential found"):
        sent(auth, "https://gracedb.invalid/")


def test_a_response_can_be_pickled(
    token_file: Path, server: LoopbackServer, session: requests.Session
) -> None:
    auth = GraceDBAuth(token=token_file, auth_reload=True)
    response = session.get(server.url, auth=auth)
    token_file.unlink()
    assert pickle.loads(pickle.dumps(response)).status_code == 200


# No authentication


@pytest.fixture(params=[NoAuth, lambda: GraceDBAuth(force_noauth=True)], ids=["NoAuth", "forced"])
def no_auth(request: pytest.FixtureRequest, everywhere: dict[str, Any]) -> AuthBase:
    """The two ways to ask for no credential, while there are some everywhere."""
    auth: AuthBase = request.param()
    return auth


def test_no_auth_keeps_netrc_out(
    no_auth: AuthBase, server: LoopbackServer, session: requests.Session
) -> None:
    session.get(server.url)
    session.get(server.url, auth=no_auth)
    session.auth = no_auth
    session.get(server.url)
    assert server.authorizations == [NETRC, None, None]


def test_no_auth_for_a_request_wins_over_the_auth_of_the_session(
    no_auth: AuthBase, server: LoopbackServer, session: requests.Session
) -> None:
    session.auth = GraceDBAuth(username="a", password="b")
    session.get(server.url, auth=no_auth)
    assert server.authorizations == [None]


def test_no_auth_takes_the_header_of_the_session_away(
    no_auth: AuthBase, server: LoopbackServer, session: requests.Session
) -> None:
    session.headers["Authorization"] = "of the session"
    session.get(server.url, auth=no_auth)
    assert server.authorizations == [None]


def test_no_auth_takes_the_credential_in_the_url_away(
    no_auth: AuthBase, server: LoopbackServer, session: requests.Session
) -> None:
    session.get(server.url.replace("//", "//user:password@"), auth=no_auth)
    assert server.authorizations == [None]


def test_no_auth_keeps_netrc_out_of_every_hop(
    no_auth: AuthBase,
    server: LoopbackServer,
    other_server: LoopbackServer,
    session: requests.Session,
) -> None:
    server.script = [redirect("/elsewhere"), redirect(other_server.url)]
    other_server.script = [redirect("/elsewhere"), redirect(server.url)]
    session.get(server.url, auth=no_auth)
    assert server.authorizations == [None] * 3
    assert other_server.authorizations == [None] * 2


def test_no_auth_takes_a_rejection_as_final(
    no_auth: AuthBase, server: LoopbackServer, session: requests.Session
) -> None:
    server.script = [Answer(401)]
    with pytest.raises(requests.HTTPError, match="401"):
        session.get(server.url, auth=no_auth)
    assert len(server.requests) == 1


def test_an_auth_object_without_a_credential_shows_that() -> None:
    assert repr(NoAuth()) == "<NoAuth>"
    assert repr(GraceDBAuth(force_noauth=True)) == "<GraceDBAuth <NoAuth>>"
