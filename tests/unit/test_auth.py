"""GraceDBAuth and its sources: which credential is chosen, and which server gets it."""

from __future__ import annotations

import base64
import os
import pickle
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from requests_gracedb import GraceDBAuth, InsecureTransportError, NetrcAuth, NoAuth, SciTokenAuth
from tests.conftest import NOBODY, basic, make_token, write_netrc, write_token
from tests.loopback_server import Answer, LoopbackServer, redirect

SECRET = "s3cret"
LOCALHOST = "machine localhost login netrc password s3cret"
NETRC = basic("netrc", SECRET)
AT_LOCALHOST = "https://localhost/"


def sent(auth: AuthBase, url: str = AT_LOCALHOST) -> str | None:
    """Get the Authorization header that a request would have."""
    value = requests.Request("GET", url, auth=auth).prepare().headers.get("Authorization")
    assert value is None or isinstance(value, str)
    return value


def everything_in(error: BaseException | None) -> str:
    """Get all that an exception, and those chained to it, could show somebody."""
    if error is None:
        return ""
    own = f"{error!s} {error!r} {error.args} {vars(error)}"
    return own + everything_in(error.__cause__) + everything_in(error.__context__)


@pytest.fixture
def bearer(token_file: Path) -> str:
    """The header with the token of the token file."""
    return f"Bearer {token_file.read_text()}"


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


def test_netrc_comes_last(everywhere: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BEARER_TOKEN")
    assert sent(GraceDBAuth()) == NETRC


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
def test_a_url_that_is_none_is_a_value_error(url: str) -> None:
    with pytest.raises(ValueError):
        GraceDBAuth(url, username="a", password="b")


def test_an_empty_username_and_password_are_sent() -> None:
    assert sent(GraceDBAuth(username="", password="")) == basic("", "")


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


# Clear text


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
    "localhost", "www.localhost", "127.0.0.1", "127.1.2.3", "[::1]", "LOCALHOST"
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
    assert representation == "<GraceDBAuth <username and password>>"


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


def test_the_variable_names_another_netrc_file(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    netrc_auth: Callable[..., Any],
) -> None:
    write_netrc(home, "machine localhost login wrong password wrong")
    monkeypatch.setenv("NETRC", str(write_netrc(tmp_path, LOCALHOST)))
    assert sent(netrc_auth()) == NETRC


def test_a_tilde_in_the_variable_is_the_home_directory(
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


def test_without_url_each_request_gets_the_credential_for_its_host(home: Path) -> None:
    write_netrc(home, LOCALHOST, "machine gracedb.invalid login a password b")
    auth = NetrcAuth()
    assert sent(auth, "https://localhost/") == NETRC
    assert sent(auth, "https://gracedb.invalid/") == basic("a", "b")
    assert sent(auth, "https://other.invalid/") is None


def test_with_url_no_other_host_gets_a_credential(
    home: Path, netrc_auth: Callable[..., Any]
) -> None:
    write_netrc(home, LOCALHOST, "machine gracedb.invalid login a password b")
    auth = netrc_auth(AT_LOCALHOST)
    assert sent(auth, "https://localhost/") == NETRC
    assert sent(auth, "https://gracedb.invalid/") is None
    assert "gracedb.invalid" not in repr(auth)


def test_the_default_entry_is_for_hosts_that_have_none(home: Path) -> None:
    write_netrc(home, LOCALHOST, "default login a password b")
    assert sent(NetrcAuth(), "https://gracedb.invalid/") == basic("a", "b")
    assert sent(NetrcAuth("https://gracedb.invalid/"), "https://gracedb.invalid/") == (
        basic("a", "b")
    )
    assert sent(NetrcAuth()) == NETRC


def test_the_case_of_a_host_does_not_matter(home: Path) -> None:
    write_netrc(home, "machine LocalHost login netrc password s3cret")
    assert sent(NetrcAuth()) == NETRC
    assert sent(NetrcAuth("https://LOCALHOST/")) == NETRC


def test_an_account_stands_in_for_a_login(home: Path) -> None:
    write_netrc(home, "machine localhost account netrc password s3cret")
    assert sent(NetrcAuth()) == NETRC


# The netrc module of Python 3.10 takes an entry for broken that lacks something.
whole_entries_only = pytest.mark.skipif(sys.version_info < (3, 11), reason="needs Python 3.11")


@whole_entries_only
def test_an_entry_may_lack_the_password(home: Path) -> None:
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


def test_the_null_device_is_no_credential(
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
    assert caught.value.filename == str(path)
    assert SECRET not in everything_in(caught.value)


def test_netrc_of_another_user_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, netrc_auth: Callable[..., Any]
) -> None:
    path = write_netrc(home, LOCALHOST)
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    with pytest.raises(PermissionError, match="another user") as caught:
        netrc_auth()
    assert caught.value.filename == str(path)


def test_netrc_that_is_a_directory_is_an_os_error_that_names_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETRC", str(home))
    with pytest.raises(IsADirectoryError, match=str(home)):
        NetrcAuth()


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


def test_a_login_that_basic_authentication_cannot_express_is_a_value_error_that_does_not_show_it(
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
    session.post(server.url, auth=auth)
    assert server.authorizations == [bearer] * 3


def test_without_the_adapter_netrc_replaces_the_credential(
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
def test_credentials_of_other_kinds_stay_at_their_origin_too(
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


def test_a_redirect_that_is_followed_by_hand_keeps_to_the_same_rules(
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


def test_the_adapter_leaves_requests_with_other_auth_alone(
    home: Path, server: LoopbackServer, session: requests.Session
) -> None:
    write_netrc(home, LOCALHOST)
    server.script = [redirect("/elsewhere")]
    session.get(server.url, auth=("a", "b"))
    assert server.authorizations == [basic("a", "b"), NETRC]


def test_a_hook_of_the_user_is_called_as_well(
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


@pytest.mark.parametrize("scheme", ["http", "all"])
def test_a_credential_does_not_go_to_a_proxy_in_clear_text(
    session: requests.Session, server: LoopbackServer, other_server: LoopbackServer, scheme: str
) -> None:
    auth = GraceDBAuth(username="user", password="password")
    with pytest.raises(InsecureTransportError, match="no_proxy"):
        session.get(server.url, auth=auth, proxies={scheme: other_server.url})
    assert other_server.requests == []


def test_without_a_credential_a_proxy_is_fine(
    session: requests.Session, server: LoopbackServer, other_server: LoopbackServer
) -> None:
    session.get(server.url, auth=NoAuth(), proxies={"http": other_server.url})
    assert other_server.authorizations == [None]


def test_a_request_whose_url_was_changed_loses_the_credential(
    session: requests.Session, server: LoopbackServer, other_server: LoopbackServer
) -> None:
    auth = GraceDBAuth(username="user", password="password")
    request = session.prepare_request(requests.Request("GET", server.url, auth=auth))
    request.url = f"{other_server.url}/"
    session.send(request)
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


@pytest.mark.parametrize("url", ["gracedb.ligo.org:443/api", "localhost:8000", "ftp://x/"])
def test_a_url_of_another_scheme_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="https://"):
        GraceDBAuth(url, force_noauth=False, username="user", password="password")


def test_so_does_one_that_has_been_pickled(
    session: requests.Session, server: LoopbackServer, other_server: LoopbackServer
) -> None:
    auth = GraceDBAuth(username="user", password="password")
    request = session.prepare_request(requests.Request("GET", server.url, auth=auth))
    request = pickle.loads(pickle.dumps(request))
    request.url = f"{other_server.url}/"
    session.send(request)
    assert other_server.authorizations == [None]
