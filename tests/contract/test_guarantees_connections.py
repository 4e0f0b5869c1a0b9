"""What requests promises of proxies and TLS holds with every adapter."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import trustme
from urllib3.exceptions import InsecureRequestWarning

from tests.loopback_server import Answer, Handler, LoopbackServer, ProxyServer

pytestmark = pytest.mark.usefixtures("unmeasured")


@pytest.fixture
def proxy() -> Iterator[ProxyServer]:
    """A proxy."""
    with ProxyServer() as proxy:
        yield proxy


# Proxies


def test_http_goes_through_a_proxy(
    any_session: requests.Session, server: LoopbackServer, proxy: ProxyServer
) -> None:
    response = any_session.post(f"{server.url}/api/", data=b"body", proxies={"http": proxy.url})
    assert response.status_code == 200
    assert [line for line, _ in proxy.requests] == [f"POST {server.url}/api/ HTTP/1.1"]
    assert [(received.target, received.body) for received in server.requests] == [
        ("/api/", b"body")
    ]


def test_https_goes_through_a_tunnel(
    any_session: requests.Session, tls_server: LoopbackServer, proxy: ProxyServer
) -> None:
    any_session.proxies = {"https": proxy.url}
    for _ in range(2):
        assert any_session.post(f"{tls_server.url}/api/", data=b"body").status_code == 200
    ((line, _),) = proxy.requests
    assert line.startswith(f"CONNECT localhost:{tls_server.port} ")
    assert [received.target for received in tls_server.requests] == ["/api/"] * 2


def test_the_certificate_is_verified_through_a_tunnel(
    any_session: requests.Session, tls_server: LoopbackServer, proxy: ProxyServer
) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        any_session.get(tls_server.url, verify=True, proxies={"https": proxy.url})
    assert not tls_server.requests


@pytest.mark.parametrize("kind", ["server", "tls_server"])
def test_the_password_of_a_proxy_goes_to_the_proxy_only(
    kind: str, any_session: requests.Session, request: pytest.FixtureRequest, proxy: ProxyServer
) -> None:
    server: LoopbackServer = request.getfixturevalue(kind)
    url = proxy.url.replace("http://", "http://user:password@")
    any_session.get(server.url, proxies={"http": url, "https": url})
    assert proxy.requests[0][1]["Proxy-Authorization"] == "Basic dXNlcjpwYXNzd29yZA=="
    assert server.requests[0].authorization is None
    if kind == "tls_server":
        assert server.requests[0].headers["Proxy-Authorization"] is None


def test_the_environment_may_name_a_proxy(
    any_session: requests.Session,
    server: LoopbackServer,
    proxy: ProxyServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", proxy.url)
    any_session.get(server.url)
    monkeypatch.setenv("no_proxy", "localhost")
    any_session.get(server.url)
    assert len(server.requests) == 2
    assert len(proxy.requests) == 1


# TLS, from request to request


def test_verify_may_change_from_request_to_request(
    any_session: requests.Session, tls_server: LoopbackServer, ca_bundle: str
) -> None:
    for _ in range(2):
        assert any_session.get(tls_server.url, verify=ca_bundle).ok
        with pytest.raises(requests.exceptions.SSLError):
            any_session.get(tls_server.url, verify=True)
        with pytest.warns(InsecureRequestWarning):
            assert any_session.get(tls_server.url, verify=False).ok
    assert len(tls_server.requests) == 4


def test_verify_of_the_session_holds_where_the_request_has_none(
    any_session: requests.Session, tls_server: LoopbackServer
) -> None:
    any_session.verify = True
    with pytest.raises(requests.exceptions.SSLError):
        any_session.get(tls_server.url)


def test_the_environment_may_name_a_bundle(
    any_session: requests.Session,
    tls_server: LoopbackServer,
    ca_bundle: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    any_session.verify = True
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ca_bundle)
    assert any_session.get(tls_server.url).ok


@pytest.fixture
def asking_server(authority: trustme.CA) -> Iterator[LoopbackServer]:
    """A server that asks for a certificate, and answers with the name in it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL

    def answer(handler: Handler) -> None:
        certificate = handler.request.getpeercert() or {}
        ((_, name),) = certificate.get("subjectAltName", [("", "nobody")])
        handler.write(Answer(200, body=name.encode()))

    with LoopbackServer(context) as server:
        server.answer = lambda received: answer
        yield server


def test_cert_may_change_from_request_to_request(
    any_session: requests.Session,
    asking_server: LoopbackServer,
    authority: trustme.CA,
    tmp_path: Path,
) -> None:
    one = certificate_file(tmp_path / "one.pem", authority, "one@example.org")
    two = certificate_file(tmp_path / "two.pem", authority, "two@example.org")
    for _ in range(2):
        assert any_session.get(asking_server.url).text == "nobody"
        assert any_session.get(asking_server.url, cert=one).text == "one@example.org"
        assert any_session.get(asking_server.url, cert=two).text == "two@example.org"


def test_cert_may_be_that_of_the_session(
    any_session: requests.Session,
    asking_server: LoopbackServer,
    authority: trustme.CA,
    tmp_path: Path,
) -> None:
    any_session.cert = certificate_file(tmp_path / "one.pem", authority, "one@example.org")
    assert any_session.get(asking_server.url).text == "one@example.org"


def certificate_file(path: Path, authority: trustme.CA, name: str) -> str:
    authority.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(path))
    return str(path)
