"""CredentialGuard: what a redirect does to a credential, in one thread and in many."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from requests_gracedb import GraceDBAdapter, GraceDBAuth, InsecureTransportError, NoAuth
from requests_gracedb.credential import Origin
from tests.conftest import basic, write_netrc
from tests.loopback_server import Answer, LoopbackServer, Received, redirect

FAR = "http://gracedb.invalid/"


@pytest.fixture
def https_session(tls_server: LoopbackServer, ca_bundle: str) -> Iterator[requests.Session]:
    """A session with an adapter for the https URL of a server only, as the README has it."""
    with requests.Session() as session:
        session.verify = ca_bundle
        session.mount(tls_server.url, GraceDBAdapter())
        yield session


# From https to http


@pytest.mark.parametrize(
    "make_auth",
    [
        lambda path: GraceDBAuth(token=path),
        lambda path: GraceDBAuth(username="user", password="password"),
        lambda path: NoAuth(),
    ],
    ids=["token", "password", "none"],
)
@pytest.mark.parametrize("entry", ["machine gracedb.invalid", "default"])
def test_a_redirect_that_would_show_the_password_of_netrc_is_not_followed(
    make_auth: Callable[[Path], Any],
    entry: str,
    https_session: requests.Session,
    tls_server: LoopbackServer,
    home: Path,
    token_file: Path,
) -> None:
    write_netrc(home, f"{entry} login user password password")
    tls_server.script = [redirect(FAR, 301)]
    with pytest.raises(InsecureTransportError) as caught:
        https_session.get(tls_server.url, auth=make_auth(token_file))
    assert str(Origin.of(tls_server.url)) in str(caught.value)
    assert "http://gracedb.invalid:80" in str(caught.value)


@pytest.mark.parametrize("scheme", ["HTTP", "ht\ttp", "\x01http", "\x1fhttp"])
def test_no_odd_spelling_of_http_is_followed(
    scheme: str, https_session: requests.Session, tls_server: LoopbackServer, home: Path
) -> None:
    write_netrc(home, "machine gracedb.invalid login user password password")
    tls_server.script = [redirect(f"{scheme}://gracedb.invalid/")]
    with pytest.raises(InsecureTransportError):
        https_session.get(tls_server.url, auth=NoAuth())


def test_no_second_redirect_is_followed_to_a_host_in_netrc(
    https_session: requests.Session, tls_server: LoopbackServer, server: LoopbackServer, home: Path
) -> None:
    write_netrc(home, "machine gracedb.invalid login user password password")
    tls_server.script = [redirect(server.url)]
    server.script = [redirect(FAR)]
    with pytest.raises(InsecureTransportError):
        https_session.get(tls_server.url, auth=NoAuth())


def test_a_redirect_to_no_url_is_what_requests_says_it_is(
    https_session: requests.Session, tls_server: LoopbackServer
) -> None:
    tls_server.script = [redirect("http://gracedb.invalid:99999/")]
    with pytest.raises(requests.exceptions.InvalidURL):
        https_session.get(tls_server.url, auth=NoAuth())


def test_the_redirect_is_not_followed_even_where_an_adapter_of_ours_is_mounted(
    https_session: requests.Session, tls_server: LoopbackServer, home: Path
) -> None:
    write_netrc(home, "machine gracedb.invalid login user password password")
    https_session.mount("http://", GraceDBAdapter())
    tls_server.script = [redirect(FAR)]
    with pytest.raises(InsecureTransportError):
        https_session.get(tls_server.url, auth=NoAuth())


def test_a_redirect_without_a_scheme_keeps_that_of_the_request(
    https_session: requests.Session, tls_server: LoopbackServer, home: Path
) -> None:
    write_netrc(home, "machine localhost login user password password")
    tls_server.script = [redirect(tls_server.url.removeprefix("https:"))]
    assert https_session.get(tls_server.url, auth=NoAuth()).ok


def test_a_redirect_to_http_of_which_netrc_knows_nothing_is_followed(
    https_session: requests.Session, tls_server: LoopbackServer, home: Path
) -> None:
    write_netrc(home, "machine elsewhere.invalid login user password password")
    tls_server.script = [redirect(FAR)]
    with pytest.raises(requests.ConnectionError, match="gracedb.invalid"):
        https_session.get(tls_server.url, auth=NoAuth())


def test_a_redirect_to_http_on_loopback_is_followed(
    https_session: requests.Session,
    tls_server: LoopbackServer,
    server: LoopbackServer,
    home: Path,
) -> None:
    write_netrc(home, "machine localhost login user password password")
    tls_server.script = [redirect(server.url)]
    https_session.mount("http://", GraceDBAdapter())
    assert https_session.get(tls_server.url, auth=NoAuth()).ok
    assert server.authorizations == [None]


# Loopback


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]", "LOCALHOST"])
def test_a_credential_may_go_to_loopback_in_clear_text(host: str) -> None:
    assert Origin.of(f"http://{host}:8000/").is_secure


@pytest.mark.parametrize(
    "host", ["gracedb.localhost", "localhost.example", "localhost.", "128.0.0.1", "[::2]"]
)
def test_a_credential_goes_nowhere_else_in_clear_text(host: str) -> None:
    assert not Origin.of(f"http://{host}:8000/").is_secure


# Threads


@pytest.fixture
def hops(server: LoopbackServer) -> LoopbackServer:
    """A server that redirects everything once, to itself."""

    def answer(received: Received) -> Answer:
        return Answer() if received.target == "/second" else redirect("/second")

    server.answer = answer
    return server


def test_one_prepared_request_may_be_sent_by_many_threads(
    hops: LoopbackServer, session: requests.Session, home: Path
) -> None:
    write_netrc(home, "machine localhost login netrc password password")
    auth = GraceDBAuth(username="user", password="password")
    prepared = session.prepare_request(requests.Request("GET", f"{hops.url}/first", auth=auth))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(session.send, [prepared] * 200))
    assert set(hops.authorizations) == {basic("user", "password")}
    assert len(hops.authorizations) == 400


@pytest.fixture
def prepared(
    hops: LoopbackServer, session: requests.Session, home: Path
) -> requests.PreparedRequest:
    """A request with a credential, to a host for which netrc has another."""
    write_netrc(home, "machine localhost login netrc password password")
    auth = GraceDBAuth(username="user", password="password")
    return session.prepare_request(requests.Request("GET", f"{hops.url}/first", auth=auth))


def test_a_redirect_that_another_thread_follows_keeps_the_credential(
    hops: LoopbackServer, session: requests.Session, prepared: requests.PreparedRequest
) -> None:
    following = session.send(prepared, allow_redirects=False).next
    with ThreadPoolExecutor(1) as pool:
        pool.submit(session.send, following).result()
    assert hops.authorizations == [basic("user", "password")] * 2


def test_a_redirect_that_is_followed_from_a_pickle_keeps_the_credential(
    hops: LoopbackServer, session: requests.Session, prepared: requests.PreparedRequest
) -> None:
    following = session.send(prepared, allow_redirects=False).next
    session.send(pickle.loads(pickle.dumps(following)))
    assert hops.authorizations == [basic("user", "password")] * 2


def test_a_request_that_a_hook_sends_in_between_does_not_change_the_credential(
    hops: LoopbackServer, session: requests.Session, prepared: requests.PreparedRequest
) -> None:
    def ping(response: requests.Response, **kwargs: Any) -> None:
        if response.is_redirect:
            requests.get(f"{hops.url}/second", auth=NoAuth())

    prepared.register_hook("response", ping)
    session.send(prepared)
    assert hops.authorizations == [basic("user", "password"), None, basic("user", "password")]


def test_a_header_that_the_user_sets_after_a_redirect_that_failed_is_kept(
    server: LoopbackServer, session: requests.Session
) -> None:
    auth = GraceDBAuth(username="user", password="password")
    prepared = session.prepare_request(requests.Request("GET", server.url, auth=auth))
    server.script = [redirect(FAR)]
    session.mount(FAR, HTTPAdapter())  # without retries
    with pytest.raises(requests.ConnectionError):
        session.send(prepared)
    prepared.headers["Authorization"] = "own"
    session.send(prepared)
    assert server.authorizations == [basic("user", "password"), "own"]


def test_a_copy_with_another_credential_leaves_the_original_alone(
    hops: LoopbackServer, session: requests.Session, prepared: requests.PreparedRequest
) -> None:
    GraceDBAuth(username="other", password="password")(copy := prepared.copy())
    session.send(prepared)
    session.send(copy)
    expected = [basic("user", "password")] * 2 + [basic("other", "password")] * 2
    assert hops.authorizations == expected


def test_a_request_without_hooks_is_sent(
    hops: LoopbackServer, session: requests.Session, prepared: requests.PreparedRequest
) -> None:
    prepared.hooks = {"response": []}
    assert session.send(prepared).ok


def test_a_request_that_is_sent_again_after_a_redirect_keeps_a_header_of_the_user(
    hops: LoopbackServer, session: requests.Session
) -> None:
    auth = GraceDBAuth(username="user", password="password")
    prepared = session.prepare_request(requests.Request("GET", f"{hops.url}/first", auth=auth))
    session.send(prepared, allow_redirects=False)
    prepared.headers["Authorization"] = "own"
    session.send(prepared, allow_redirects=False)
    assert hops.authorizations == [basic("user", "password"), "own"]


def test_a_response_to_a_redirect_pickles(hops: LoopbackServer, session: requests.Session) -> None:
    session.auth = GraceDBAuth(username="user", password="password")
    response = session.get(f"{hops.url}/first", allow_redirects=False)
    assert pickle.loads(pickle.dumps(response)).status_code == 302
