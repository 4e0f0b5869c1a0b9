"""What requests promises of redirects and cookies holds with every adapter."""

from __future__ import annotations

import io
from typing import Any

import pytest
import requests

from tests.contract.conftest import where_a_body_may_get_lost, where_a_status_is_the_point
from tests.loopback_server import Answer, LoopbackServer, redirect

pytestmark = pytest.mark.usefixtures("unmeasured")


# Redirects


@where_a_body_may_get_lost
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
    status: int, method: str, expected: str, any_session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [redirect(f"{server.url}/there", status)]
    response = any_session.request(method, server.url, allow_redirects=True)
    assert response.url == f"{server.url}/there"
    assert [received.method for received in server.requests] == [method, expected]


@where_a_body_may_get_lost
@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_becomes_get_has_no_body(
    status: int, any_session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [redirect("/there", status)]
    any_session.post(server.url, data={"group": "Test"})
    assert [received.body for received in server.requests] == [b"group=Test", b""]
    assert server.requests[1].headers["Content-Type"] is None


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("data", [b"0123", io.BytesIO(b"..0123")], ids=["bytes", "file"])
def test_a_redirect_that_keeps_the_method_keeps_the_body(
    data: Any, status: int, any_session: requests.Session, server: LoopbackServer
) -> None:
    if isinstance(data, io.BytesIO):
        data.seek(2)
    server.script = [redirect("/there", status), redirect("/and/there", status)]
    any_session.post(server.url, data=data)
    assert [received.body for received in server.requests] == [b"0123"] * 3


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_of_a_form_keeps_it(
    status: int, any_session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [redirect("/there", status)]
    any_session.post(server.url, files={"eventFile": ("coinc.xml", b"<LIGO_LW/>")})
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
    location: str, expected: str, any_session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [redirect(location)]
    any_session.get(f"{server.url}/api/events")
    assert server.requests[1].target == expected


def test_a_redirect_keeps_the_fragment(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [redirect("/there")]
    assert any_session.get(f"{server.url}/#part").url == f"{server.url}/there#part"


def test_a_redirect_may_lead_to_another_server(
    any_session: requests.Session, server: LoopbackServer, other_server: LoopbackServer
) -> None:
    server.script = [redirect(f"{other_server.url}/there")]
    assert any_session.get(server.url, auth=("user", "password")).url == f"{other_server.url}/there"
    assert other_server.authorizations == [None]


def test_a_redirect_may_lead_to_https(
    any_session: requests.Session, server: LoopbackServer, tls_server: LoopbackServer
) -> None:
    server.script = [redirect(tls_server.url)]
    any_session.get(server.url)
    assert len(tls_server.requests) == 1


def test_a_redirect_that_is_not_followed_is_the_response(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [redirect("/there")]
    response = any_session.get(server.url, allow_redirects=False)
    assert response.is_redirect
    assert response.next is not None
    assert any_session.send(response.next).url == f"{server.url}/there"


def test_redirects_can_be_followed_one_by_one(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [redirect("/one"), redirect("/two")]
    prepared = any_session.prepare_request(requests.Request("GET", server.url))
    first = any_session.send(prepared, allow_redirects=False)
    steps = list(any_session.resolve_redirects(first, prepared))
    assert [step.url for step in steps] == [f"{server.url}/one", f"{server.url}/two"]


def test_the_history_holds_the_redirects(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [redirect("/one", 301), redirect("/two", 307)]
    history = any_session.get(server.url).history
    assert [step.status_code for step in history] == [301, 307]
    assert [step.url for step in history] == [f"{server.url}/", f"{server.url}/one"]


def test_without_redirects_the_history_is_empty(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    assert any_session.get(server.url).history == []


# Cookies


def test_a_cookie_is_kept_for_the_next_request(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(200, {"Set-Cookie": "name=value"})]
    assert any_session.get(server.url).cookies == {"name": "value"}
    any_session.get(server.url)
    assert server.requests[1].headers["Cookie"] == "name=value"


def test_a_cookie_of_a_redirect_is_sent_at_once(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(302, {"Set-Cookie": "name=value", "Location": "/there"})]
    any_session.get(server.url)
    assert server.requests[1].headers["Cookie"] == "name=value"
    assert dict(any_session.cookies) == {"name": "value"}


def test_a_cookie_of_the_request_is_not_kept(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    any_session.get(server.url, cookies={"name": "value"})
    any_session.get(server.url)
    assert [received.headers["Cookie"] for received in server.requests] == ["name=value", None]


def test_a_cookie_can_be_deleted(any_session: requests.Session, server: LoopbackServer) -> None:
    server.script = [
        Answer(200, {"Set-Cookie": "name=value"}),
        Answer(200, {"Set-Cookie": "name=; Max-Age=0"}),
    ]
    for _ in range(3):
        any_session.get(server.url)
    assert [received.headers["Cookie"] for received in server.requests] == [
        None,
        "name=value",
        None,
    ]


@where_a_status_is_the_point
def test_the_cookie_of_an_error_is_kept(
    any_session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(404, {"Set-Cookie": "name=value"})]
    any_session.get(server.url)
    assert dict(any_session.cookies) == {"name": "value"}
