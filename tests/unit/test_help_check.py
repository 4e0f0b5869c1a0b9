"""requests-gracedb --check: the server tells whom it takes us for."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from requests_gracedb import help
from requests_gracedb.help import main
from tests.conftest import make_token, write_token
from tests.loopback_server import (
    Answer,
    Handler,
    LoopbackServer,
    Received,
    Script,
    drop,
    redirect,
    silence,
)

TOKEN = make_token(sub="albert")
NOBODY = "Problem: the server treats us as anonymous"
REFUSED = "Problem: the server refuses the credential, or treats us as anonymous"

Pages = dict[str, Script]


def page(content: Any, status: int = 200) -> Answer:
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(content).encode())


@pytest.fixture(autouse=True)
def discovered(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A token that is found, and less patience than a user has."""
    monkeypatch.setattr(help, "_PATIENCE", 0.3)
    return write_token(home / f"bt_u{os.geteuid()}", TOKEN)


@pytest.fixture
def pages(server: LoopbackServer) -> Pages:
    """The pages of a GraceDB that tells whom it takes us for."""
    links = {"user-info": f"{server.url}/api/user-info/", "events": f"{server.url}/api/events/"}
    pages: Pages = {
        "/api/": page({"links": links}),
        "/api/user-info/": page({"username": "albert.einstein@ligo.org"}),
        "/api/superevents/": page([]),
    }

    def answer(received: Received) -> Script:
        return pages.get(received.target, Answer(404))

    server.answer = answer
    return pages


@pytest.fixture
def old_pages(server: LoopbackServer, pages: Pages) -> Pages:
    """Those of one that does not."""
    pages["/api/"] = page({"links": {"events": f"{server.url}/api/events/"}})
    pages["/api/events/?count=1"] = page({"events": []})
    return pages


Check = Callable[[str], tuple[int, str]]


@pytest.fixture
def check(server: LoopbackServer, capsys: pytest.CaptureFixture[str]) -> Iterator[Check]:
    """Check a page; get the status and what was printed."""

    def check(path: str) -> tuple[int, str]:
        status = main([f"{server.url}{path}", "--check"])
        return status, capsys.readouterr().out

    yield check


@pytest.mark.parametrize("path", ["/api/", "/api/superevents/", "/"])
def test_the_user_is_printed(path: str, check: Check, pages: Pages) -> None:
    pages["/"] = page({})
    status, output = check(path)
    assert status == 0
    assert '{"username": "albert.einstein@ligo.org"}' in output


@pytest.mark.parametrize("user", [{"username": None}, {"username": ""}, {}, []])
def test_a_server_that_knows_no_user_takes_us_for_nobody(
    user: Any, check: Check, pages: Pages
) -> None:
    pages["/api/user-info/"] = page(user)
    status, output = check("/api/")
    assert (status, NOBODY in output) == (1, True)


def test_without_user_info_a_page_that_needs_a_credential_is_asked_for(
    check: Check, old_pages: Pages, server: LoopbackServer
) -> None:
    status, output = check("/api/superevents/")
    assert status == 0
    assert f"GET {server.url}/api/events/: 200" in output


@pytest.mark.parametrize("refusal", [401, 403])
def test_a_server_that_refuses_that_page_refuses_the_credential(
    refusal: int, check: Check, old_pages: Pages
) -> None:
    old_pages["/api/events/?count=1"] = page({"detail": "Credentials were not provided."}, refusal)
    status, output = check("/api/superevents/")
    assert (status, REFUSED in output) == (1, True)
    assert "Credentials were not provided." in output


@pytest.mark.parametrize(
    "root", [Answer(404), page([]), page({"links": []}), page({"links": {"events": 1}}), Answer()]
)
def test_of_another_service_it_says_that_a_public_page_proves_nothing(
    root: Answer, check: Check, pages: Pages
) -> None:
    pages["/api/"] = root
    status, output = check("/api/superevents/")
    assert status == 0
    assert "That proves nothing: the page may be public." in output


@pytest.mark.parametrize("refusal", [401, 403])
def test_a_root_that_refuses_us_refuses_the_credential(
    refusal: int, check: Check, pages: Pages
) -> None:
    pages["/"], pages["/api/"] = page({}), Answer(refusal)
    status, output = check("/")
    assert (status, REFUSED in output) == (1, True)


def test_without_a_credential_a_refusal_is_that_of_anybody(
    check: Check, pages: Pages, discovered: Path
) -> None:
    discovered.unlink()
    pages["/"], pages["/api/"] = page({}), Answer(403)
    status, output = check("/")
    assert (status, "403 Client Error" in output, "Problem: no credential" in output) == (1, 1, 1)


def test_no_link_to_another_server_is_followed(
    check: Check, pages: Pages, other_server: LoopbackServer
) -> None:
    pages["/api/"] = page({"links": {"user-info": other_server.url, "events": other_server.url}})
    check("/api/")
    assert other_server.requests == []


def test_an_error_is_printed(check: Check, pages: Pages) -> None:
    status, output = check("/api/elsewhere")
    assert status == 1
    assert "404 Client Error" in output
    assert "Problem: the check failed" in output


def test_a_server_that_is_down_is_asked_once(check: Check, server: LoopbackServer) -> None:
    server.answer = lambda received: Answer(503)
    status, output = check("/api/")
    assert (status, len(server.requests)) == (1, 1)


def test_a_server_that_says_nothing_is_given_up_soon(check: Check, server: LoopbackServer) -> None:
    server.script = [silence]
    status, output = check("/api/")
    assert (status, "Read timed out" in output) == (1, True)


def test_a_page_that_drips_is_given_up_soon(
    check: Check, pages: Pages, server: LoopbackServer
) -> None:
    gone = threading.Event()

    def drip(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        try:
            while True:
                handler.wfile.write(b"x")
                time.sleep(0.02)
        except OSError:
            gone.set()

    pages["/api/superevents/"] = drip
    check("/api/superevents/")
    assert gone.wait(60)


def test_a_port_where_nobody_listens_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        assert main([url, "--check"]) == 1
    assert "Connection refused" in capsys.readouterr().out


def test_without_a_credential_the_server_is_asked_all_the_same(
    check: Check, pages: Pages, server: LoopbackServer, discovered: Path
) -> None:
    discovered.unlink()
    status, output = check("/api/")
    assert (status, "Problem: no credential" in output) == (1, True)
    assert set(server.authorizations) == {None}


def test_a_credential_that_cannot_be_used_is_told_once(
    check: Check, pages: Pages, discovered: Path
) -> None:
    discovered.write_text("")
    status, output = check("/api/")
    assert (status, "is empty" in output, "Problem: " in output) == (1, True, True)


def test_no_escape_of_the_server_is_printed(check: Check, pages: Pages) -> None:
    def red(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 \x1b[31mOK\r\nContent-Length: 0\r\n\r\n")

    pages["/api/superevents/"] = red
    pages["/api/user-info/"] = page({"username": "\x1b[31m\x9b"})
    _, output = check("/api/superevents/")
    assert "\x1b" not in output and "\x9b" not in output


def test_no_token_that_the_server_echoes_is_printed(check: Check, pages: Pages) -> None:
    def echo(handler: Handler) -> None:
        line = f"HTTP/1.1 200 {handler.headers['Authorization']}\r\nContent-Length: 0\r\n\r\n"
        handler.wfile.write(line.encode())

    pages["/api/superevents/"] = echo
    pages["/api/user-info/"] = page({"username": f"owner of {TOKEN}"})
    _, output = check("/api/superevents/")
    assert TOKEN not in output
    assert "owner of ***" in output


def test_neither_user_nor_query_of_the_url_is_printed(
    server: LoopbackServer, pages: Pages, capsys: pytest.CaptureFixture[str]
) -> None:
    pages["/api/superevents/?key=s3cr3t"] = page({})
    url = server.url.replace("://", "://user:s3cr3t@")
    for query in ("key=s3cr3t", "key=s3cr3t ä", "key=[s3cr3t]"):
        for script in (pages["/api/superevents/?key=s3cr3t"], silence, redirect("/?s3cr3t"), drop):
            server.script = [script]
            main([f"{url}/api/superevents/?{query}", "--check"])
    assert "s3cr3t" not in capsys.readouterr().out
