"""A credential and the origin that it is meant for."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import requests

from requests_gracedb import GraceDBAuth, InsecureTransportError, SciTokenAuth
from requests_gracedb.credential import CredentialAuth, Origin
from tests.loopback_server import Answer, LoopbackServer, redirect


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


@pytest.mark.parametrize(
    "url",
    [
        "https://gracedb.ligo.org/",
        "http://localhost:8000/",
        "http://LOCALHOST/",
        "http://gracedb.localhost/",
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
def test_a_credential_may_not_go_anywhere_else(url: str) -> None:
    with pytest.raises(InsecureTransportError, match="use https") as caught:
        requests.Request("GET", url, auth=Fixed()).prepare()
    assert "credential," not in str(caught.value)


def test_without_a_credential_http_is_fine() -> None:
    auth = GraceDBAuth("https://gracedb.ligo.org/", force_noauth=True)
    request = requests.Request("GET", "http://gracedb.ligo.org/", auth=auth).prepare()
    assert "Authorization" not in request.headers


def test_a_credential_in_clear_text_is_an_error_that_value_error_covers() -> None:
    assert issubclass(InsecureTransportError, ValueError)


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


def test_a_redirect_that_the_user_follows_keeps_the_credential(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [redirect(f"{server.url}/a")]
    response = session.get(server.url, auth=Fixed(), allow_redirects=False)
    assert response.next is not None
    session.send(response.next)
    assert server.authorizations == ["Fixed credential"] * 2


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


class Fixed(CredentialAuth):
    """The smallest auth there is."""

    def authorization(self, origin: Origin) -> str:
        return "Fixed credential"
