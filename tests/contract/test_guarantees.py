"""What requests promises holds with each of the adapters, and with all of them in one."""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import trustme
from requests.adapters import HTTPAdapter
from requests.auth import HTTPDigestAuth
from urllib3.exceptions import InsecureRequestWarning

from requests_gracedb import (
    AuthAdapter,
    ErrorAdapter,
    FileAdapter,
    GraceDBAdapter,
    ConnectionAdapter,
    RetryAdapter,
    TimeoutAdapter,
    UserAgentAdapter,
    retry,
)
from tests.loopback_server import (
    Answer,
    Handler,
    LoopbackServer,
    ProxyServer,
    drop,
    half_a_body,
    redirect,
    silence,
)

pytestmark = pytest.mark.usefixtures("unmeasured")

WITHOUT_ERRORS = [
    HTTPAdapter,
    AuthAdapter,
    FileAdapter,
    UserAgentAdapter,
    RetryAdapter,
    TimeoutAdapter,
    ConnectionAdapter,
]
ADAPTERS = [*WITHOUT_ERRORS, ErrorAdapter, GraceDBAdapter]

where_a_status_is_the_point = pytest.mark.parametrize("session", WITHOUT_ERRORS, indirect=True)


@pytest.fixture(params=ADAPTERS)
def session(
    request: pytest.FixtureRequest, ca_bundle: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[requests.Session]:
    """A session with one adapter on everything, which does not wait between two attempts."""
    monkeypatch.setattr(retry, "time", SimpleNamespace(sleep=lambda seconds: None))
    with requests.Session() as session:
        session.verify = ca_bundle
        adapter = request.param()
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        yield session


@pytest.fixture
def proxy() -> Iterator[ProxyServer]:
    """A proxy."""
    with ProxyServer() as proxy:
        yield proxy


# Exceptions


def test_a_refused_connection_is_a_connection_error(session: requests.Session) -> None:
    with socket.socket() as unheard:  # bound, but it does not listen
        unheard.bind(("127.0.0.1", 0))
        with pytest.raises(requests.ConnectionError) as caught:
            session.get(f"http://127.0.0.1:{unheard.getsockname()[1]}/")
    assert caught.type is requests.ConnectionError


def test_a_connection_that_takes_too_long_is_a_connect_timeout(session: requests.Session) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        with socket.create_connection(address):  # Nobody else can get in.
            with pytest.raises(requests.ConnectTimeout) as caught:
                session.post(f"http://127.0.0.1:{address[1]}/", timeout=(0.05, 60))
    assert caught.type is requests.ConnectTimeout


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_answer_that_takes_too_long_is_a_read_timeout(
    method: str, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [silence]
    with pytest.raises(requests.ReadTimeout) as caught:
        session.request(method, server.url, timeout=(60, 0.1))
    assert caught.type is requests.ReadTimeout


def test_a_body_that_takes_too_long_is_a_connection_error(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(200, {"Content-Length": "10"}, b"half ")]
    with pytest.raises(requests.ConnectionError, match="Read timed out"):
        session.get(server.url, timeout=(60, 0.1))


def test_a_dropped_connection_is_a_connection_error(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.answer = lambda received: drop
    with pytest.raises(requests.ConnectionError) as caught:
        session.get(server.url)
    assert caught.type is requests.ConnectionError
    assert caught.value.request.url == f"{server.url}/"


def test_an_unknown_authority_is_an_ssl_error(
    session: requests.Session, tls_server: LoopbackServer
) -> None:
    with pytest.raises(requests.exceptions.SSLError) as caught:
        session.get(tls_server.url, verify=True)
    assert caught.type is requests.exceptions.SSLError


def bad_chunk(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\nX\r\n")
    handler.drop()


@pytest.mark.parametrize("script", [half_a_body, bad_chunk])
@pytest.mark.parametrize("stream", [False, True])
def test_a_body_that_breaks_off_is_a_chunked_encoding_error(
    script: Callable[[Handler], None],
    stream: bool,
    session: requests.Session,
    server: LoopbackServer,
) -> None:
    server.script = [script]
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.post(server.url, stream=stream).content


def test_a_body_that_cannot_be_decoded_is_a_content_decoding_error(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(200, {"Content-Encoding": "gzip"}, b"plain")]
    with pytest.raises(requests.exceptions.ContentDecodingError):
        session.get(server.url)


def test_redirects_without_end_are_too_many(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.answer = lambda received: redirect("/")
    session.max_redirects = 3
    with pytest.raises(requests.TooManyRedirects) as caught:
        session.get(server.url)
    assert len(caught.value.response.history) == 3
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    "url, exception",
    [
        ("http://", requests.exceptions.InvalidURL),
        ("http://*.example.org/", requests.exceptions.InvalidURL),
        ("localhost/", requests.exceptions.MissingSchema),
        ("ftp://localhost/", requests.exceptions.InvalidSchema),
    ],
)
def test_a_url_that_makes_no_sense_is_an_error(
    url: str, exception: type[Exception], session: requests.Session
) -> None:
    with pytest.raises(exception):
        session.get(url)


def test_a_proxy_that_is_not_there_is_a_proxy_error(session: requests.Session) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        proxies = {"http": f"http://127.0.0.1:{unheard.getsockname()[1]}"}
        with pytest.raises(requests.exceptions.ProxyError):
            session.get("http://gracedb.invalid/", proxies=proxies)


def test_a_bundle_that_is_not_there_is_an_os_error(
    session: requests.Session, tls_server: LoopbackServer, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match="invalid path"):
        session.get(tls_server.url, verify=str(tmp_path / "missing.pem"))


@where_a_status_is_the_point
@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_an_error_is_a_response(
    status: int, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(status, body=b"why")]
    response = session.get(server.url)
    assert (response.status_code, response.ok, response.text) == (status, False, "why")
    with pytest.raises(requests.HTTPError):
        response.raise_for_status()


# Redirects


@pytest.mark.parametrize(
    "status, method, expected",
    [
        (301, "GET", "GET"),
        (301, "HEAD", "HEAD"),
        (301, "POST", "GET"),
        (301, "PUT", "PUT"),
        (302, "GET", "GET"),
        (302, "HEAD", "HEAD"),
        (302, "POST", "GET"),
        (302, "PUT", "GET"),
        (303, "GET", "GET"),
        (303, "HEAD", "HEAD"),
        (303, "POST", "GET"),
        (303, "DELETE", "GET"),
        (307, "GET", "GET"),
        (307, "POST", "POST"),
        (307, "PUT", "PUT"),
        (308, "HEAD", "HEAD"),
        (308, "POST", "POST"),
        (308, "PATCH", "PATCH"),
    ],
)
def test_a_redirect_has_the_method_that_belongs_to_it(
    status: int, method: str, expected: str, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [redirect(f"{server.url}/there", status)]
    response = session.request(method, server.url, allow_redirects=True)
    assert response.url == f"{server.url}/there"
    assert [received.method for received in server.requests] == [method, expected]


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_becomes_get_has_no_body(
    status: int, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [redirect("/there", status)]
    session.post(server.url, data={"group": "Test"})
    assert [received.body for received in server.requests] == [b"group=Test", b""]
    assert server.requests[1].headers["Content-Type"] is None


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("data", [b"0123", io.BytesIO(b"..0123")], ids=["bytes", "file"])
def test_a_redirect_that_keeps_the_method_keeps_the_body(
    data: Any, status: int, session: requests.Session, server: LoopbackServer
) -> None:
    if isinstance(data, io.BytesIO):
        data.seek(2)
    server.script = [redirect("/there", status), redirect("/and/there", status)]
    session.post(server.url, data=data)
    assert [received.body for received in server.requests] == [b"0123"] * 3


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_of_a_form_keeps_it(
    status: int, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [redirect("/there", status)]
    session.post(server.url, files={"eventFile": ("coinc.xml", b"<LIGO_LW/>")})
    first, second = server.requests
    assert first.body == second.body
    assert first.headers["Content-Type"] == second.headers["Content-Type"]


@pytest.mark.parametrize(
    "location, expected",
    [
        ("there", "/api/there"),
        ("/there", "/there"),
        ("../there", "/there"),
        ("?page=2", "/api/events?page=2"),
        ("/a b", "/a%20b"),
    ],
)
def test_a_redirect_may_be_relative(
    location: str, expected: str, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [redirect(location)]
    session.get(f"{server.url}/api/events")
    assert server.requests[1].target == expected


def test_a_redirect_keeps_the_fragment(session: requests.Session, server: LoopbackServer) -> None:
    server.script = [redirect("/there")]
    assert session.get(f"{server.url}/#part").url == f"{server.url}/there#part"


def test_a_redirect_may_lead_to_another_server(
    session: requests.Session, server: LoopbackServer, other_server: LoopbackServer
) -> None:
    server.script = [redirect(f"{other_server.url}/there")]
    assert session.get(server.url, auth=("user", "password")).url == f"{other_server.url}/there"
    assert other_server.authorizations == [None]


def test_a_redirect_may_lead_to_https(
    session: requests.Session, server: LoopbackServer, tls_server: LoopbackServer
) -> None:
    server.script = [redirect(tls_server.url)]
    session.get(server.url)
    assert len(tls_server.requests) == 1


def test_a_redirect_that_is_not_followed_is_the_response(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [redirect("/there")]
    response = session.get(server.url, allow_redirects=False)
    assert response.is_redirect
    assert response.next is not None
    assert session.send(response.next).url == f"{server.url}/there"


def test_redirects_can_be_followed_one_by_one(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [redirect("/one"), redirect("/two")]
    prepared = session.prepare_request(requests.Request("GET", server.url))
    first = session.send(prepared, allow_redirects=False)
    steps = list(session.resolve_redirects(first, prepared))
    assert [step.url for step in steps] == [f"{server.url}/one", f"{server.url}/two"]


def test_the_history_holds_the_redirects(session: requests.Session, server: LoopbackServer) -> None:
    server.script = [redirect("/one", 301), redirect("/two", 307)]
    history = session.get(server.url).history
    assert [step.status_code for step in history] == [301, 307]
    assert [step.url for step in history] == [f"{server.url}/", f"{server.url}/one"]


def test_without_redirects_the_history_is_empty(
    session: requests.Session, server: LoopbackServer
) -> None:
    assert session.get(server.url).history == []


# Cookies


def test_a_cookie_is_kept_for_the_next_request(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(200, {"Set-Cookie": "name=value"})]
    assert session.get(server.url).cookies == {"name": "value"}
    session.get(server.url)
    assert server.requests[1].headers["Cookie"] == "name=value"


def test_a_cookie_of_a_redirect_is_sent_at_once(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(302, {"Set-Cookie": "name=value", "Location": "/there"})]
    session.get(server.url)
    assert server.requests[1].headers["Cookie"] == "name=value"
    assert dict(session.cookies) == {"name": "value"}


def test_a_cookie_of_the_request_is_not_kept(
    session: requests.Session, server: LoopbackServer
) -> None:
    session.get(server.url, cookies={"name": "value"})
    session.get(server.url)
    assert [received.headers["Cookie"] for received in server.requests] == ["name=value", None]


def test_a_cookie_can_be_deleted(session: requests.Session, server: LoopbackServer) -> None:
    server.script = [
        Answer(200, {"Set-Cookie": "name=value"}),
        Answer(200, {"Set-Cookie": "name=; Max-Age=0"}),
    ]
    for _ in range(3):
        session.get(server.url)
    assert [received.headers["Cookie"] for received in server.requests] == [
        None,
        "name=value",
        None,
    ]


@where_a_status_is_the_point
def test_the_cookie_of_an_error_is_kept(session: requests.Session, server: LoopbackServer) -> None:
    server.script = [Answer(404, {"Set-Cookie": "name=value"})]
    session.get(server.url)
    assert dict(session.cookies) == {"name": "value"}


# Bodies in pieces


def test_a_streamed_response_is_read_when_it_is_asked_for(
    session: requests.Session, server: LoopbackServer
) -> None:
    body = bytes(range(256)) * 1024
    server.script = [Answer(200, body=body)]
    with session.get(server.url, stream=True) as response:
        assert not response._content_consumed
        assert b"".join(response.iter_content(1000)) == body


def test_a_streamed_response_has_lines(session: requests.Session, server: LoopbackServer) -> None:
    server.script = [Answer(200, body=b"one\ntwo\r\nthree")]
    with session.get(server.url, stream=True) as response:
        assert list(response.iter_lines()) == [b"one", b"two", b"three"]


def test_a_streamed_response_has_a_raw_file(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(200, body=b"0123")]
    with session.get(server.url, stream=True) as response:
        assert response.raw.read(2) == b"01"
        assert response.raw.read() == b"23"


def test_a_streamed_response_has_its_connection_until_it_is_read(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.answer = lambda received: Answer(200, body=b"0123")
    response = session.get(server.url, stream=True)
    session.get(server.url)
    assert server.connections == 2
    assert response.content == b"0123"
    for _ in range(3):
        session.get(server.url)
    assert server.connections == 2


def test_connections_stay_open(session: requests.Session, server: LoopbackServer) -> None:
    for method in ("GET", "POST", "HEAD", "DELETE", "GET"):
        session.request(method, server.url)
    assert server.connections == 1


def test_a_body_without_a_length_is_sent_in_chunks(
    session: requests.Session, server: LoopbackServer
) -> None:
    session.post(server.url, data=(piece for piece in (b"01", b"23")))
    (received,) = server.requests
    assert received.headers["Transfer-Encoding"] == "chunked"
    assert received.headers["Content-Length"] is None
    assert received.body == b"0123"


def chunked(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in (b"01", b"23", b""):
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_in_chunks_is_read_whole(
    stream: bool, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [chunked]
    assert session.get(server.url, stream=stream).content == b"0123"
    session.get(server.url)
    assert server.connections == 1


def test_a_response_in_chunks_can_be_streamed(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [chunked]
    with session.get(server.url, stream=True) as response:
        assert b"".join(response.iter_content(None)) == b"0123"


# Proxies


def test_http_goes_through_a_proxy(
    session: requests.Session, server: LoopbackServer, proxy: ProxyServer
) -> None:
    response = session.post(f"{server.url}/api/", data=b"body", proxies={"http": proxy.url})
    assert response.status_code == 200
    assert [line for line, _ in proxy.requests] == [f"POST {server.url}/api/ HTTP/1.1"]
    assert [(received.target, received.body) for received in server.requests] == [
        ("/api/", b"body")
    ]


def test_https_goes_through_a_tunnel(
    session: requests.Session, tls_server: LoopbackServer, proxy: ProxyServer
) -> None:
    session.proxies = {"https": proxy.url}
    for _ in range(2):
        assert session.post(f"{tls_server.url}/api/", data=b"body").status_code == 200
    ((line, _),) = proxy.requests
    assert line.startswith(f"CONNECT localhost:{tls_server.port} ")
    assert [received.target for received in tls_server.requests] == ["/api/"] * 2


def test_the_certificate_is_verified_through_a_tunnel(
    session: requests.Session, tls_server: LoopbackServer, proxy: ProxyServer
) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        session.get(tls_server.url, verify=True, proxies={"https": proxy.url})
    assert not tls_server.requests


@pytest.mark.parametrize("kind", ["server", "tls_server"])
def test_the_password_of_a_proxy_goes_to_the_proxy_only(
    kind: str, session: requests.Session, request: pytest.FixtureRequest, proxy: ProxyServer
) -> None:
    server: LoopbackServer = request.getfixturevalue(kind)
    url = proxy.url.replace("http://", "http://user:password@")
    session.get(server.url, proxies={"http": url, "https": url})
    assert proxy.requests[0][1]["Proxy-Authorization"] == "Basic dXNlcjpwYXNzd29yZA=="
    assert server.requests[0].authorization is None
    if kind == "tls_server":
        assert server.requests[0].headers["Proxy-Authorization"] is None


def test_the_environment_may_name_a_proxy(
    session: requests.Session,
    server: LoopbackServer,
    proxy: ProxyServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", proxy.url)
    session.get(server.url)
    monkeypatch.setenv("no_proxy", "localhost")
    session.get(server.url)
    assert len(server.requests) == 2
    assert len(proxy.requests) == 1


# TLS, from request to request


def test_verify_may_change_from_request_to_request(
    session: requests.Session, tls_server: LoopbackServer, ca_bundle: str
) -> None:
    for _ in range(2):
        assert session.get(tls_server.url, verify=ca_bundle).ok
        with pytest.raises(requests.exceptions.SSLError):
            session.get(tls_server.url, verify=True)
        with pytest.warns(InsecureRequestWarning):
            assert session.get(tls_server.url, verify=False).ok
    assert len(tls_server.requests) == 4


def test_verify_of_the_session_holds_where_the_request_has_none(
    session: requests.Session, tls_server: LoopbackServer
) -> None:
    session.verify = True
    with pytest.raises(requests.exceptions.SSLError):
        session.get(tls_server.url)


def test_the_environment_may_name_a_bundle(
    session: requests.Session,
    tls_server: LoopbackServer,
    ca_bundle: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session.verify = True
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ca_bundle)
    assert session.get(tls_server.url).ok


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
    session: requests.Session, asking_server: LoopbackServer, authority: trustme.CA, tmp_path: Path
) -> None:
    one = certificate_file(tmp_path / "one.pem", authority, "one@example.org")
    two = certificate_file(tmp_path / "two.pem", authority, "two@example.org")
    for _ in range(2):
        assert session.get(asking_server.url).text == "nobody"
        assert session.get(asking_server.url, cert=one).text == "one@example.org"
        assert session.get(asking_server.url, cert=two).text == "two@example.org"


def test_cert_may_be_that_of_the_session(
    session: requests.Session, asking_server: LoopbackServer, authority: trustme.CA, tmp_path: Path
) -> None:
    session.cert = certificate_file(tmp_path / "one.pem", authority, "one@example.org")
    assert session.get(asking_server.url).text == "one@example.org"


def certificate_file(path: Path, authority: trustme.CA, name: str) -> str:
    authority.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(path))
    return str(path)


# Authentication by challenge and response


CHALLENGE = Answer(
    401, {"WWW-Authenticate": 'Digest realm="GraceDB", nonce="abc", qop="auth"'}, b"Who are you?"
)


@pytest.mark.parametrize("data", [None, b"body", io.BytesIO(b"body")], ids=["-", "bytes", "file"])
def test_a_challenge_is_answered(
    data: Any, session: requests.Session, server: LoopbackServer
) -> None:
    if isinstance(data, io.BytesIO):
        data.seek(0)
    server.script = [CHALLENGE]
    response = session.post(server.url, data=data, auth=HTTPDigestAuth("user", "password"))
    assert response.status_code == 200
    assert [step.status_code for step in response.history] == [401]
    first, second = server.requests
    assert first.authorization is None
    assert str(second.authorization).startswith('Digest username="user", realm="GraceDB"')
    assert first.body == second.body
    assert server.connections == 1


def test_a_challenge_is_remembered(session: requests.Session, server: LoopbackServer) -> None:
    server.script = [CHALLENGE]
    session.auth = HTTPDigestAuth("user", "password")
    session.get(server.url)
    session.get(server.url)
    assert len(server.requests) == 3
    assert "nc=00000002" in str(server.authorizations[2])


@where_a_status_is_the_point
def test_a_wrong_answer_to_a_challenge_is_given_once(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.answer = lambda received: CHALLENGE
    response = session.get(server.url, auth=HTTPDigestAuth("user", "wrong"))
    assert response.status_code == 401
    assert len(server.requests) == 2


# Hooks of the user's own


def test_a_hook_of_the_request_sees_the_response(
    session: requests.Session, server: LoopbackServer
) -> None:
    seen: list[tuple[int, Any]] = []

    def see(response: requests.Response, **kwargs: Any) -> None:
        seen.append((response.status_code, kwargs["stream"]))

    session.get(server.url, hooks={"response": see})
    session.get(server.url)
    assert seen == [(200, False)]


def test_a_hook_of_the_session_sees_every_response_of_every_request(
    session: requests.Session, server: LoopbackServer
) -> None:
    seen: list[str] = []

    def see(response: requests.Response, **kwargs: Any) -> None:
        seen.append(response.url.removeprefix(server.url))

    session.hooks["response"].append(see)
    server.script = [redirect("/one")]
    session.get(server.url)
    session.get(f"{server.url}/two")
    assert seen == ["/", "/one", "/two"]
    assert session.hooks == {"response": [see]}


def test_a_hook_may_put_another_response_in_place(
    session: requests.Session, server: LoopbackServer
) -> None:
    other = requests.Response()
    other._content, other.status_code, other.url = b"other", 200, server.url
    other.request = requests.Request("GET", server.url).prepare()
    other.raw = io.BytesIO()
    assert session.get(server.url, hooks={"response": lambda response, **_: other}) is other


def test_hooks_run_in_order(session: requests.Session, server: LoopbackServer) -> None:
    order: list[int] = []
    hooks = [lambda response, number=number, **_: order.append(number) for number in range(3)]
    session.get(server.url, hooks={"response": hooks})
    assert order == [0, 1, 2]


def test_a_hook_sees_an_error(session: requests.Session, server: LoopbackServer) -> None:
    server.script = [Answer(404)]
    seen: list[int] = []

    def see(response: requests.Response, **kwargs: Any) -> None:
        seen.append(response.status_code)

    try:
        session.get(server.url, hooks={"response": see})
    except requests.HTTPError:
        pass
    assert seen == [404]


def test_the_exception_of_a_hook_reaches_the_caller(
    session: requests.Session, server: LoopbackServer
) -> None:
    def fail(response: requests.Response, **kwargs: Any) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        session.get(server.url, hooks={"response": fail})


# The rest


def test_elapsed_is_the_time_until_the_answer(
    session: requests.Session, server: LoopbackServer
) -> None:
    def answer(handler: Handler) -> None:
        time.sleep(0.05)
        handler.write(Answer(200))

    server.script = [answer]
    assert session.get(server.url).elapsed >= timedelta(seconds=0.05)


def test_elapsed_does_not_count_the_body(session: requests.Session, server: LoopbackServer) -> None:
    body_sent_at = []

    def answer(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        time.sleep(0.3)
        body_sent_at.append(time.perf_counter())
        handler.wfile.write(b"body")

    server.script = [answer]
    start = time.perf_counter()
    response = session.get(server.url)
    assert start + response.elapsed.total_seconds() < body_sent_at[0]


def test_a_prepared_request_can_be_sent_any_number_of_times(
    session: requests.Session, server: LoopbackServer
) -> None:
    prepared = session.prepare_request(requests.Request("POST", server.url, data={"a": "b"}))
    for _ in range(3):
        assert session.send(prepared).status_code == 200
    first, *others = [(received.body, received.headers.items()) for received in server.requests]
    assert others == [first, first]
    assert len(prepared.hooks["response"]) <= 1


def test_a_response_knows_its_request(session: requests.Session, server: LoopbackServer) -> None:
    response = session.put(f"{server.url}/api/", data=b"body", headers={"X-Name": "value"})
    assert (response.request.method, response.request.body) == ("PUT", b"body")
    assert response.request.headers["X-Name"] == "value"


def test_a_header_may_be_taken_out(session: requests.Session, server: LoopbackServer) -> None:
    session.get(server.url, headers={"Accept": None})
    assert server.requests[0].headers["Accept"] is None


def test_a_closed_session_can_be_used_again(
    session: requests.Session, server: LoopbackServer
) -> None:
    session.get(server.url)
    session.close()
    assert session.get(server.url).ok
    assert server.connections == 2
