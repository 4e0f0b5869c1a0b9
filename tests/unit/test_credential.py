"""A credential and the origin that it is meant for, on the first request and on every redirect."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from requests_gracedb import GraceDBAuth, InsecureTransportError, NetrcAuth, NoAuth, SciTokenAuth
from requests_gracedb.credential import CredentialAuth, Origin
from tests.conftest import basic, everything_in, make_token, write_netrc, write_token
from tests.loopback_server import Answer, LoopbackServer, redirect
from tests.unit.credentials import LOCALHOST, NETRC, SECRET, sent


class Fixed(CredentialAuth):
    """The smallest auth there is."""

    def authorization(self, origin: Origin) -> str:
        return "Fixed credential"


# Origins


@pytest.mark.parametrize(
    "url, origin",
    [
        ("https://gracedb.ligo.org/api/", "https://gracedb.ligo.org:443"),
        ("https://gracedb.ligo.org", "https://gracedb.ligo.org:443"),
        ("HTTPS://GraceDB.LIGO.org:443/", "https://gracedb.ligo.org:443"),
        ("https://gracedb.ligo.org:8443/", "https://gracedb.ligo.org:8443"),
        ("http://gracedb.ligo.org/", "http://gracedb.ligo.org:80"),
        ("https://user:password@gracedb.ligo.org/", "https://gracedb.ligo.org:443"),
        ("https://gracedb.ligo.org@evil.example/", "https://evil.example:443"),
        ("https://evil.example\\@gracedb.ligo.org/", "https://evil.example:443"),
        ("https://MÜNCHEN.example/", "https://xn--mnchen-3ya.example:443"),
        ("https://[::1]:8443/", "https://[::1]:8443"),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: str) -> None:
    assert str(Origin.of(url)) == origin


@pytest.mark.parametrize("url", ["gracedb.ligo.org", "/api/", "https://", "https://*.ligo.org/"])
def test_what_is_no_url_has_no_origin(url: str) -> None:
    with pytest.raises(ValueError):
        Origin.of(url)


# Clear text


@pytest.mark.parametrize(
    "url",
    [
        "https://gracedb.ligo.org/",
        "http://localhost:8000/",
        "http://LOCALHOST/",
        "http://127.0.0.1/",
        "http://127.1.2.3:8000/",
        "http://[::1]/",
    ],
)
def test_a_credential_may_go_over_tls_and_to_loopback(url: str) -> None:
    request = requests.Request("GET", url, auth=Fixed()).prepare()
    assert request.headers["Authorization"] == "Fixed credential"


@pytest.mark.parametrize(
    "url",
    [
        "http://gracedb.ligo.org/",
        "http://localhost.example/",
        "http://notlocalhost/",
        "http://128.0.0.1/",
        "http://127.0.0.1.example/",
        "http://127.1/",
        "http://[::2]/",
        "http://0.0.0.0/",
    ],
)
def test_a_credential_may_not_go_over_plain_http_to_another_host(url: str) -> None:
    with pytest.raises(InsecureTransportError, match="use https") as caught:
        requests.Request("GET", url, auth=Fixed()).prepare()
    assert "credential," not in str(caught.value)


def test_a_request_without_credential_may_go_over_plain_http_where_the_url_is_https() -> None:
    auth = GraceDBAuth("https://gracedb.ligo.org/", force_noauth=True)
    request = requests.Request("GET", "http://gracedb.ligo.org/", auth=auth).prepare()
    assert "Authorization" not in request.headers


def test_a_credential_in_clear_text_is_an_error_that_value_error_covers() -> None:
    assert issubclass(InsecureTransportError, ValueError)


@pytest.fixture(
    params=[
        lambda path: GraceDBAuth(token=path),
        lambda path: GraceDBAuth("http://gracedb.invalid/", token=path),
        lambda path: GraceDBAuth(username="a", password=SECRET),
        lambda path: GraceDBAuth(),
        lambda path: NetrcAuth(),
        lambda path: SciTokenAuth(path),
    ],
    ids=["token", "url and token", "username", "GraceDBAuth netrc", "NetrcAuth", "SciTokenAuth"],
)
def unbound(request: pytest.FixtureRequest, home: Path, tmp_path: Path) -> AuthBase:
    """Auth of each kind for http://gracedb.invalid/."""
    write_netrc(home, "default login netrc password s3cret")
    auth = request.param(write_token(tmp_path / "token", SECRET))
    assert isinstance(auth, AuthBase)
    return auth


def test_no_credential_goes_over_plain_http_to_a_host_that_is_not_loopback(
    unbound: AuthBase, session: requests.Session
) -> None:
    with pytest.raises(InsecureTransportError, match="use https") as caught:
        session.get("http://gracedb.invalid/", auth=unbound)
    assert "http://gracedb.invalid:80" in str(caught.value)
    assert SECRET not in everything_in(caught.value)


@pytest.mark.parametrize("host", [
    "localhost", "127.0.0.1", "127.1.2.3", "[::1]", "LOCALHOST"
])
def test_a_credential_goes_over_plain_http_to_loopback(host: str) -> None:
    auth = GraceDBAuth(username="a", password="b")
    assert sent(auth, f"http://{host}:8000/") == basic("a", "b")


@pytest.mark.parametrize("host", [
    "localhost.invalid", "notlocalhost", "128.0.0.1", "127.0.0.1.invalid", "0.0.0.0", "[::2]",
    "127.0.0.1@gracedb.invalid",
])
def test_a_host_with_a_name_like_loopback_is_not_loopback(host: str) -> None:
    with pytest.raises(InsecureTransportError):
        sent(GraceDBAuth(username="a", password="b"), f"http://{host}/")


@pytest.mark.parametrize("auth", [NoAuth(), GraceDBAuth(force_noauth=True)])
def test_a_request_without_credential_may_go_over_plain_http(auth: AuthBase) -> None:
    assert sent(auth, "http://gracedb.invalid/") is None


@pytest.mark.parametrize("scheme", ["http", "all"])
def test_a_credential_does_not_go_to_a_proxy_in_clear_text(
    session: requests.Session, server: LoopbackServer, other_server: LoopbackServer, scheme: str
) -> None:
    auth = GraceDBAuth(username="user", password="password")
    with pytest.raises(InsecureTransportError, match="no_proxy"):
        session.get(server.url, auth=auth, proxies={scheme: other_server.url})
    assert other_server.requests == []


def test_a_request_without_credential_may_go_to_a_proxy_in_clear_text(
    session: requests.Session, server: LoopbackServer, other_server: LoopbackServer
) -> None:
    session.get(server.url, auth=NoAuth(), proxies={"http": other_server.url})
    assert other_server.authorizations == [None]


# Redirects


@pytest.fixture
def auth(home: Path, token_file: Path) -> GraceDBAuth:
    """Auth for any origin, while netrc has a credential for the host, too."""
    write_netrc(home, LOCALHOST)
    return GraceDBAuth(token=token_file)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_the_same_origin_keeps_the_credential(
    status: int, auth: AuthBase, bearer: str, server: LoopbackServer, session: requests.Session
) -> None:
    server.script = [redirect("/elsewhere", status), redirect(f"{server.url}/again", status)]
    session.get(server.url, auth=auth)
    assert server.authorizations == [bearer] * 3


def test_without_the_adapter_a_redirect_has_the_credential_of_netrc(
    auth: AuthBase, bearer: str, server: LoopbackServer, session: requests.Session
) -> None:
    session.mount("http://", HTTPAdapter())
    server.script = [redirect("/elsewhere")]
    session.get(server.url, auth=auth)
    assert server.authorizations == [bearer, NETRC]


def test_a_redirect_to_another_origin_gets_nothing(
    auth: AuthBase,
    bearer: str,
    server: LoopbackServer,
    other_server: LoopbackServer,
    session: requests.Session,
) -> None:
    server.script = [redirect(other_server.url)]
    session.get(server.url, auth=auth)
    assert server.authorizations == [bearer]
    assert other_server.authorizations == [None]


def test_a_redirect_to_another_scheme_gets_nothing(
    auth: AuthBase,
    server: LoopbackServer,
    tls_server: LoopbackServer,
    session: requests.Session,
) -> None:
    server.script = [redirect(tls_server.url)]
    session.get(server.url, auth=auth)
    tls_server.script = [redirect(server.url)]
    session.get(tls_server.url, auth=auth)
    assert tls_server.authorizations[0] is None
    assert server.authorizations[1] is None


def test_a_redirect_to_another_name_of_the_host_gets_nothing(
    auth: AuthBase, bearer: str, server: LoopbackServer, session: requests.Session
) -> None:
    server.script = [redirect(f"http://127.0.0.1:{server.port}/")]
    session.get(server.url, auth=auth)
    assert server.authorizations == [bearer, None]


def test_a_redirect_back_gets_the_credential_again(
    auth: AuthBase,
    bearer: str,
    server: LoopbackServer,
    other_server: LoopbackServer,
    session: requests.Session,
) -> None:
    server.script = [redirect("/elsewhere"), redirect(other_server.url)]
    other_server.script = [redirect(server.url)]
    session.get(server.url, auth=auth)
    assert server.authorizations == [bearer] * 3
    assert other_server.authorizations == [None]


def test_a_redirect_to_the_origin_of_the_url_from_another_one_gets_nothing(
    home: Path,
    token_file: Path,
    server: LoopbackServer,
    other_server: LoopbackServer,
    session: requests.Session,
) -> None:
    write_netrc(home, LOCALHOST)
    session.auth = GraceDBAuth(server.url, token=token_file)
    other_server.script = [redirect(server.url)]
    session.get(other_server.url)
    assert other_server.authorizations == [None]
    assert server.authorizations == [None]


@pytest.mark.parametrize("make", [
    lambda: GraceDBAuth(username="a", password="b"), lambda: NetrcAuth(), lambda: GraceDBAuth()
])
def test_a_user_name_and_password_stay_at_their_origin(
    make: Callable[[], AuthBase],
    home: Path,
    server: LoopbackServer,
    other_server: LoopbackServer,
    session: requests.Session,
) -> None:
    write_netrc(home, LOCALHOST)
    server.script = [redirect("/elsewhere"), redirect(other_server.url)]
    session.get(server.url, auth=make())
    assert None not in server.authorizations
    assert len(set(server.authorizations)) == 1
    assert other_server.authorizations == [None]


def test_a_redirect_that_is_followed_by_hand_to_another_origin_gets_nothing(
    auth: AuthBase,
    bearer: str,
    server: LoopbackServer,
    other_server: LoopbackServer,
    session: requests.Session,
) -> None:
    server.script = [redirect("/elsewhere"), redirect(other_server.url)]
    response = session.get(server.url, auth=auth, allow_redirects=False)
    while response.next is not None:
        response = session.send(response.next, allow_redirects=False)
    assert server.authorizations == [bearer, bearer]
    assert other_server.authorizations == [None]


def test_a_redirect_that_is_followed_by_hand_keeps_the_credential(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [redirect(f"{server.url}/a")]
    response = session.get(server.url, auth=Fixed(), allow_redirects=False)
    assert response.next is not None
    session.send(response.next)
    assert server.authorizations == ["Fixed credential"] * 2


def test_the_redirect_of_one_request_does_not_touch_the_next_one(
    auth: AuthBase,
    bearer: str,
    server: LoopbackServer,
    other_server: LoopbackServer,
    session: requests.Session,
) -> None:
    session.auth = auth
    server.script = [redirect(other_server.url)]
    session.get(server.url)
    session.get(other_server.url)
    session.get(server.url)
    assert server.authorizations == [bearer, bearer]
    assert other_server.authorizations == [None, bearer]


def test_the_adapter_leaves_requests_with_other_auth_alone(
    home: Path, server: LoopbackServer, session: requests.Session
) -> None:
    write_netrc(home, LOCALHOST)
    server.script = [redirect("/elsewhere")]
    session.get(server.url, auth=("a", "b"))
    assert server.authorizations == [basic("a", "b"), NETRC]


def test_a_request_whose_url_was_changed_loses_the_credential(
    session: requests.Session, server: LoopbackServer, other_server: LoopbackServer
) -> None:
    auth = GraceDBAuth(username="user", password="password")
    request = session.prepare_request(requests.Request("GET", server.url, auth=auth))
    request.url = f"{other_server.url}/"
    session.send(request)
    assert other_server.authorizations == [None]


def test_a_pickled_request_whose_url_was_changed_loses_the_credential(
    session: requests.Session, server: LoopbackServer, other_server: LoopbackServer
) -> None:
    auth = GraceDBAuth(username="user", password="password")
    request = session.prepare_request(requests.Request("GET", server.url, auth=auth))
    request = pickle.loads(pickle.dumps(request))
    request.url = f"{other_server.url}/"
    session.send(request)
    assert other_server.authorizations == [None]


# Headers of the user's own


def test_a_header_that_the_user_sets_on_a_prepared_request_stays(
    auth: AuthBase, server: LoopbackServer, session: requests.Session
) -> None:
    request = session.prepare_request(requests.Request("GET", server.url, auth=auth))
    request.headers["Authorization"] = "own"
    session.send(request)
    assert server.authorizations == ["own"]


def test_the_credential_takes_the_place_of_a_header_of_the_session(
    auth: AuthBase, bearer: str, server: LoopbackServer, session: requests.Session
) -> None:
    session.headers["Authorization"] = "of the session"
    session.get(server.url, auth=auth)
    assert server.authorizations == [bearer]


def test_a_header_of_the_user_stays_where_there_is_no_credential(
    server: LoopbackServer, other_server: LoopbackServer, session: requests.Session
) -> None:
    server.script = [redirect("/elsewhere"), redirect(other_server.url)]
    session.get(server.url, auth=GraceDBAuth(), headers={"Authorization": "own"})
    assert server.authorizations == ["own", "own"]
    assert other_server.authorizations == [None]


def test_after_a_redirect_a_request_can_be_sent_again_with_a_header_of_the_users_own(
    session: requests.Session, server: LoopbackServer
) -> None:
    auth = GraceDBAuth(username="user", password="password")
    request = session.prepare_request(requests.Request("GET", server.url, auth=auth))
    server.script = [redirect("/elsewhere")]
    session.send(request)
    request.headers["Authorization"] = "Mine"
    session.send(request)
    assert server.authorizations[-1] == "Mine"


def test_a_credential_that_the_user_sets_afterwards_is_sent(
    session: requests.Session, server: LoopbackServer
) -> None:
    request = session.prepare_request(requests.Request("GET", server.url, auth=Fixed()))
    request.headers["Authorization"] = "Mine"
    session.send(request)
    assert server.authorizations == ["Mine"]


def test_a_header_of_the_users_own_survives_an_auth_that_has_nothing_for_the_server(
    session: requests.Session, server: LoopbackServer, token_file: Path
) -> None:
    server.script = [redirect(f"{server.url}/a")]
    session.auth = GraceDBAuth("https://gracedb.ligo.org/", token=token_file)
    session.get(server.url, headers={"Authorization": "Mine"})
    assert server.authorizations == ["Mine", "Mine"]


# Responses


def test_a_hook_of_the_user_sees_the_answer_to_the_new_token(
    token_file: Path, server: LoopbackServer, session: requests.Session
) -> None:
    statuses: list[int] = []
    auth = GraceDBAuth(token=token_file, auth_reload=True)
    write_token(token_file, make_token(name="second"))
    server.script = [Answer(401)]
    session.get(
        server.url,
        auth=auth,
        hooks={"response": lambda response, **kwargs: statuses.append(response.status_code)},
    )
    assert statuses == [200]


def test_a_credential_that_stays_what_it_is_is_not_sent_again_after_401(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(401)]
    with pytest.raises(requests.HTTPError, match="401"):
        session.get(server.url, auth=Fixed())
    assert server.authorizations == ["Fixed credential"]


def test_a_response_pickles_without_the_auth(
    session: requests.Session, server: LoopbackServer, token_file: Path
) -> None:
    response = session.get(server.url, auth=SciTokenAuth(token_file, auth_reload=True))
    pickled = pickle.dumps(response)
    token_file.unlink()
    assert pickle.loads(pickled).status_code == 200
