"""BasicAuth and NetrcAuth: a user name and a password, given or in the netrc file."""

from __future__ import annotations

import base64
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from requests_gracedb import BasicAuth, GraceDBAuth, NetrcAuth
from tests.conftest import NOBODY, basic, everything_in, write_netrc
from tests.loopback_server import LoopbackServer
from tests.unit.credentials import AT_LOCALHOST, LOCALHOST, NETRC, SECRET, sent


# Basic authentication


def test_username_and_password_arrive(
    server: LoopbackServer, session: requests.Session
) -> None:
    session.get(server.url, auth=GraceDBAuth(username="albert", password="pass:word with space"))
    assert server.authorizations == [basic("albert", "pass:word with space")]


@pytest.mark.parametrize(
    ("username", "password", "encoding"),
    [
        pytest.param("andré", "naïve", "latin-1", id="latin-1"),
        pytest.param("ÿ", "", "latin-1", id="last of latin-1"),
        pytest.param("ł", "naïve", "utf-8", id="username not latin-1"),
        pytest.param("andré", "€uro", "utf-8", id="password not latin-1"),
        pytest.param("albert", "🐈", "utf-8", id="outside the BMP"),
    ],
)
def test_what_latin_1_has_is_sent_as_latin_1_and_anything_else_as_utf_8(
    username: str, password: str, encoding: str
) -> None:
    expected = base64.b64encode(f"{username}:{password}".encode(encoding)).decode()
    assert sent(GraceDBAuth(username=username, password=password)) == f"Basic {expected}"


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("s3cret:", "s3cret"),
        ("s3cret\n", "s3cret"),
        ("s3cret", "s3cret\n"),
        ("s3cret\0", "s3cret"),
        ("s3cret", "\x7fs3cret"),
        ("s3cret", "s3cret\x1f"),
        ("s3cret\ud800", "s3cret"),
        ("s3cret", "s3cret\udcff"),
    ],
)
def test_what_basic_authentication_cannot_express_is_a_value_error_that_does_not_show_it(
    username: str, password: str
) -> None:
    with pytest.raises(ValueError, match="RFC 7617") as caught:
        GraceDBAuth(username=username, password=password)
    assert SECRET not in everything_in(caught.value)


def test_username_and_password_do_not_show() -> None:
    representation = repr(GraceDBAuth(username=SECRET, password=SECRET))
    assert representation == "<GraceDBAuth <BasicAuth>>"


# The netrc file


@pytest.fixture(params=[NetrcAuth, GraceDBAuth])
def netrc_auth(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """The two ways to use netrc."""
    kind: Callable[..., Any] = request.param
    return kind


def test_netrc_in_the_home_directory_is_used(home: Path, netrc_auth: Callable[..., Any]) -> None:
    write_netrc(home, LOCALHOST)
    assert sent(netrc_auth()) == NETRC
    assert sent(netrc_auth(AT_LOCALHOST)) == NETRC


def test_the_netrc_variable_names_another_file(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    netrc_auth: Callable[..., Any],
) -> None:
    write_netrc(home, "machine localhost login wrong password wrong")
    monkeypatch.setenv("NETRC", str(write_netrc(tmp_path, LOCALHOST)))
    assert sent(netrc_auth()) == NETRC


def test_a_tilde_in_the_netrc_variable_is_the_home_directory(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_netrc(home, LOCALHOST).rename(home / "other")
    monkeypatch.setenv("NETRC", "~/other")
    assert sent(NetrcAuth()) == NETRC


def test_netrc_arrives(home: Path, server: LoopbackServer, session: requests.Session) -> None:
    write_netrc(home, LOCALHOST)
    session.trust_env = False
    session.get(server.url, auth=NetrcAuth(server.url))
    session.auth = NetrcAuth()
    session.get(server.url)
    assert server.authorizations == [NETRC, NETRC]


def test_netrc_without_url_has_a_credential_for_each_host(home: Path) -> None:
    write_netrc(home, LOCALHOST, "machine gracedb.invalid login a password b")
    auth = NetrcAuth()
    assert sent(auth, "https://localhost/") == NETRC
    assert sent(auth, "https://gracedb.invalid/") == basic("a", "b")
    assert sent(auth, "https://other.invalid/") is None


def test_netrc_with_url_has_no_credential_for_another_host(
    home: Path, netrc_auth: Callable[..., Any]
) -> None:
    write_netrc(home, LOCALHOST, "machine gracedb.invalid login a password b")
    auth = netrc_auth(AT_LOCALHOST)
    assert sent(auth, "https://localhost/") == NETRC
    assert sent(auth, "https://gracedb.invalid/") is None
    assert "gracedb.invalid" not in repr(auth)


def test_the_default_entry_of_netrc_is_for_hosts_without_one(home: Path) -> None:
    write_netrc(home, LOCALHOST, "default login a password b")
    assert sent(NetrcAuth(), "https://gracedb.invalid/") == basic("a", "b")
    assert sent(NetrcAuth("https://gracedb.invalid/"), "https://gracedb.invalid/") == (
        basic("a", "b")
    )
    assert sent(NetrcAuth()) == NETRC


def test_the_case_of_a_host_in_netrc_does_not_matter(home: Path) -> None:
    write_netrc(home, "machine LocalHost login netrc password s3cret")
    assert sent(NetrcAuth()) == NETRC
    assert sent(NetrcAuth("https://LOCALHOST/")) == NETRC


def test_an_account_in_netrc_stands_in_for_a_login(home: Path) -> None:
    write_netrc(home, "machine localhost account netrc password s3cret")
    assert sent(NetrcAuth()) == NETRC


# The netrc module of Python 3.10 takes an entry for broken that lacks something.
whole_entries_only = pytest.mark.skipif(sys.version_info < (3, 11), reason="needs Python 3.11")


@whole_entries_only
def test_an_entry_of_netrc_may_lack_the_password(home: Path) -> None:
    write_netrc(home, "machine localhost login netrc")
    assert sent(NetrcAuth()) == basic("netrc", "")


@pytest.mark.parametrize(
    "entries",
    [(), ("# a comment",), pytest.param(("machine localhost",), marks=whole_entries_only)],
)
def test_netrc_may_have_nothing_to_say(entries: tuple[str, ...], home: Path) -> None:
    write_netrc(home, *entries)
    auth = NetrcAuth()
    assert sent(auth) is None
    assert auth.hosts == frozenset()


def test_a_missing_netrc_file_is_no_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sent(NetrcAuth()) is None
    monkeypatch.setenv("NETRC", "/nowhere")
    assert sent(NetrcAuth()) is None


def test_a_netrc_that_is_the_null_device_is_no_credential(
    home: Path, monkeypatch: pytest.MonkeyPatch, netrc_auth: Callable[..., Any]
) -> None:
    write_netrc(home, LOCALHOST)
    monkeypatch.setenv("NETRC", "/dev/null")
    assert sent(netrc_auth()) is None


def test_netrc_is_read_once(home: Path) -> None:
    path = write_netrc(home, LOCALHOST)
    auth = NetrcAuth()
    path.unlink()
    assert sent(auth) == NETRC


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644])
def test_netrc_that_is_open_to_others_is_refused(
    mode: int, home: Path, netrc_auth: Callable[..., Any]
) -> None:
    path = write_netrc(home, LOCALHOST)
    path.chmod(mode)
    with pytest.raises(PermissionError, match=f"run chmod 600 {path}") as caught:
        netrc_auth()
    assert str(path) in str(caught.value)
    assert SECRET not in everything_in(caught.value)


def test_netrc_of_another_user_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, netrc_auth: Callable[..., Any]
) -> None:
    path = write_netrc(home, LOCALHOST)
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    with pytest.raises(PermissionError, match="another user") as caught:
        netrc_auth()
    assert str(path) in str(caught.value)


def test_netrc_that_is_a_directory_is_an_os_error_that_names_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETRC", str(home))
    with pytest.raises(OSError, match=f"{home} is not a regular file"):
        NetrcAuth()


def test_netrc_that_is_a_pipe_is_an_error_at_once(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(home / "pipe", 0o600)
    monkeypatch.setenv("NETRC", str(home / "pipe"))
    with pytest.raises(OSError, match="pipe is not a regular file"):
        NetrcAuth()


def test_a_home_that_is_no_directory_has_no_netrc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/dev/null")
    assert NetrcAuth().hosts == frozenset()


@pytest.mark.parametrize("password", [b"password", None])
def test_a_password_that_is_no_str_is_a_type_error(password: Any) -> None:
    with pytest.raises(TypeError, match=f"password must be str, not {type(password).__name__}"):
        BasicAuth("user", password)


def test_a_user_name_that_is_no_str_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="user name must be str, not bytes"):
        BasicAuth(b"user", "password")  # type: ignore[arg-type]


def test_netrc_that_is_not_needed_may_be_open_to_others(home: Path) -> None:
    write_netrc(home, LOCALHOST).chmod(0o644)
    assert sent(GraceDBAuth(username="a", password="b")) == basic("a", "b")
    assert sent(GraceDBAuth(force_noauth=True)) is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(
            b"machine localhost\nlogin s3cret s3cret s3cret",
            "near line 2",
            id="a word too many",
        ),
        pytest.param(b"\n\ns3cret", "near line 3", id="no machine"),
        pytest.param(
            b"\nmachine localhost login s3cret password s3cret\xff",
            "because it is not UTF-8",
            id="not UTF-8",
        ),
    ],
)
def test_broken_netrc_is_a_value_error_that_names_file_and_problem_and_shows_none_of_it(
    content: bytes, problem: str, home: Path, netrc_auth: Callable[..., Any]
) -> None:
    path = write_netrc(home)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path} is broken {problem}:") as caught:
        netrc_auth()
    assert SECRET not in everything_in(caught.value)


def test_a_netrc_login_that_cannot_be_sent_is_a_value_error_that_does_not_show_it(
    home: Path,
) -> None:
    write_netrc(home, "machine localhost login s3cret:s3cret password s3cret")
    auth = NetrcAuth()
    with pytest.raises(ValueError, match="RFC 7617") as caught:
        sent(auth)
    assert SECRET not in everything_in(caught.value)


def test_the_representation_of_netrc_tells_file_and_hosts(home: Path) -> None:
    path = write_netrc(home, LOCALHOST, "machine gracedb.invalid login a password s3cret")
    assert repr(NetrcAuth()) == f"<NetrcAuth {path}, gracedb.invalid, localhost>"
    assert repr(GraceDBAuth()) == f"<GraceDBAuth {NetrcAuth()!r}>"


def test_the_representation_of_netrc_tells_that_there_is_no_host(home: Path) -> None:
    assert repr(NetrcAuth()) == f"<NetrcAuth {home}/.netrc, no host>"


# Pickles


def test_a_pickle_of_netrc_holds_no_password(home: Path, netrc_auth: Callable[..., Any]) -> None:
    write_netrc(home, LOCALHOST)
    assert SECRET.encode() not in pickle.dumps(netrc_auth(AT_LOCALHOST))
    assert SECRET.encode() not in pickle.dumps(netrc_auth())


def test_netrc_is_read_where_the_pickle_is_loaded(
    home: Path, netrc_auth: Callable[..., Any]
) -> None:
    write_netrc(home, LOCALHOST)
    pickled = pickle.dumps(netrc_auth(AT_LOCALHOST))
    write_netrc(home, "machine localhost login new password new", "default login a password b")
    auth = pickle.loads(pickled)
    assert sent(auth) == basic("new", "new")
    assert sent(auth, "https://gracedb.invalid/") is None
