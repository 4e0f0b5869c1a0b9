"""Secrets in the wrong place: no message, no object and no traceback shows one."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from traceback import TracebackException, walk_tb
from typing import Any

import pytest
import requests

from requests_gracedb import BasicAuth, GraceDBAuth, NetrcAuth, SciTokenAuth, Session
from requests_gracedb.credential import Secret
from requests_gracedb.credential import shown as shown_url
from requests_gracedb.help import info, main
from tests.conftest import make_token, write_netrc, write_token
from tests.loopback_server import LoopbackServer

SECRET = "s3cr3t"
TOKEN = make_token(sub=SECRET)
PARTS = [SECRET, TOKEN, *TOKEN.split(".")]


def no_secret_in(text: str) -> bool:
    return not any(part in text for part in PARTS)


def with_locals(error: BaseException) -> str:
    """What a tool shows that prints the variables of each frame: those of the package."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    ours = [frame for frame in frames if "requests_gracedb/" in frame.f_code.co_filename]
    values = [value for frame in ours for value in frame.f_locals.values()]
    assert values
    return " ".join(map(shown, [error, *values]))


def shown(value: object) -> str:
    try:
        return repr(value)
    except AttributeError:  # It is not yet whole.
        return repr(vars(value))


# A token in place of a file name


NAMES = [
    TOKEN, f"/tmp/{TOKEN}", f"Bearer {TOKEN}", f" '{TOKEN}'", f"Authorization: Bearer {SECRET}",
    f"{SECRET * 50}", f"{SECRET}-{'x' * 24}_",
]
KINDS = ["token", "in a directory", "header", "quoted", "whole header", "too long", "opaque"]


@pytest.mark.parametrize("name", NAMES, ids=KINDS)
@pytest.mark.parametrize("auth_class", [SciTokenAuth, lambda token: GraceDBAuth(token=token)])
def test_a_token_in_place_of_a_file_name_is_told_and_not_shown(
    name: str, auth_class: Callable[[str], Any]
) -> None:
    with pytest.raises(ValueError, match="looks like a token, not the name of a file") as caught:
        auth_class(name)
    error: BaseException | None = caught.value
    while error is not None:
        assert no_secret_in(f"{error!r} {error.args!r} {error}")
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("name", NAMES, ids=KINDS)
def test_a_token_in_the_variable_for_a_file_name_is_told_and_not_shown(
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BEARER_TOKEN_FILE", name)
    facts = GraceDBAuth("https://gracedb.ligo.org/").describe()
    main(["https://gracedb.ligo.org/"])
    for text in (str(facts), caplog.text, capsys.readouterr().out):
        assert "looks like a token, not the name of a file" in text
        assert no_secret_in(text)


def test_a_file_that_is_named_like_a_token_is_read(tmp_path: Path) -> None:
    path = write_token(tmp_path / TOKEN, "opaque")
    auth = SciTokenAuth(str(path))
    assert auth.authorization(None) == "Bearer opaque"  # type: ignore[arg-type]


def test_a_name_with_a_nul_in_it_is_an_error() -> None:
    with pytest.raises(OSError, match="cannot be read"):
        SciTokenAuth("a\0b")


# URLs


URL = f"https://user:{SECRET}@gracedb.ligo.org/api/?key={SECRET}"


def test_neither_user_nor_query_of_a_url_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert info(URL)["url"] == "https://gracedb.ligo.org/api/"
    main([URL])
    assert no_secret_in(capsys.readouterr().out)


def test_neither_user_nor_query_of_a_url_is_kept() -> None:
    for auth in (GraceDBAuth(URL), NetrcAuth(URL)):
        assert no_secret_in(str(vars(auth)))


def test_what_is_shown_of_a_url_is_where_the_request_goes() -> None:
    assert shown_url("https://user:s3cr3t@here\\@there/") == "https://here/%5C@there/"


@pytest.mark.parametrize("url", [SECRET, f"ftp://user:{SECRET}@host/", f"https://:{SECRET}@:x/"])
def test_a_url_of_another_kind_is_refused_unseen(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([url])
    assert no_secret_in(capsys.readouterr().err)


# Objects and tracebacks


@pytest.fixture(
    params=[
        lambda path: SciTokenAuth(path),
        lambda path: SciTokenAuth(TOKEN.encode()),
        lambda path: GraceDBAuth(token=path),
        lambda path: BasicAuth("user", SECRET),
        lambda path: GraceDBAuth(username="user", password=SECRET),
        lambda path: NetrcAuth(),
    ],
    ids=["token file", "token", "GraceDBAuth of a file", "BasicAuth", "GraceDBAuth", "NetrcAuth"],
)
def auth(request: pytest.FixtureRequest, tmp_path: Path, home: Path) -> Any:
    """Every kind of auth object, each with a secret in it."""
    write_netrc(home, f"machine localhost login user password {SECRET}")
    return request.param(write_token(tmp_path / "token", TOKEN))


def test_the_attributes_of_an_auth_show_no_secret(auth: Any) -> None:
    assert no_secret_in(str(vars(auth)))
    if isinstance(auth, GraceDBAuth):
        assert no_secret_in(str(vars(auth._source)))


def test_the_attributes_of_what_guards_a_request_show_no_secret(
    auth: Any, server: LoopbackServer
) -> None:
    request = auth(requests.Request("GET", server.url).prepare())
    assert "Authorization" in request.headers
    for hook in request.hooks["response"]:
        assert no_secret_in(f"{vars(hook)} {hook!r}")


def test_a_header_is_a_plain_str_that_any_tool_can_store(auth: Any, server: LoopbackServer) -> None:
    request = auth(requests.Request("GET", server.url).prepare())
    assert type(request.headers["Authorization"]) is str


def wrong(value: object) -> Any:
    """Pass something of a type that is not allowed."""
    return value


@pytest.mark.parametrize(
    "fail",
    [
        lambda path: GraceDBAuth(username=f"user:{SECRET}"[:4] + ":", password=SECRET),
        lambda path: GraceDBAuth(password=SECRET),
        lambda path: BasicAuth("user", f"{SECRET}\n"),
        lambda path: GraceDBAuth(token=f"{SECRET} {SECRET}".encode()),
        lambda path: SciTokenAuth(f"{SECRET} {SECRET}".encode()),
        lambda path: SciTokenAuth(write_token(path, f"{SECRET} {SECRET}")),
        lambda path: GraceDBAuth("ftp://host/", token=TOKEN.encode()),
        lambda path: GraceDBAuth(token=TOKEN.encode(), force_noauth=True, fail_if_noauth=True),
        lambda path: Session(token=TOKEN.encode(), username="user"),
        lambda path: Session(password=SECRET),
        lambda path: Session(username="user", password=wrong(SECRET.encode())),
        lambda path: GraceDBAuth(username=wrong(b"user"), password=SECRET),
        lambda path: BasicAuth("user", wrong(SECRET.encode())),
        lambda path: GraceDBAuth(token=wrong(bytearray(TOKEN.encode()))),
        lambda path: GraceDBAuth(f"https://user:{SECRET}@host/", fail_if_noauth=True),
        lambda path: NetrcAuth(f"ftp://user:{SECRET}@host/"),
    ],
    ids=[
        "user name", "no user name", "password", "bytes", "bytes alone", "file", "URL",
        "contradiction", "Session with a token", "Session with a password",
        "Session with a password as bytes", "user name as bytes", "password as bytes",
        "token as bytearray", "URL with a password", "netrc for a URL with a password",
    ],
)
def test_the_variables_of_our_frames_show_no_secret(
    fail: Callable[[Path], object], tmp_path: Path
) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        fail(tmp_path / "token")
    assert no_secret_in(with_locals(caught.value))


def test_a_broken_netrc_shows_nothing_in_the_variables_of_our_frames(home: Path) -> None:
    write_netrc(home, f"machine localhost login user password {SECRET} {SECRET}")
    with pytest.raises(ValueError, match="is broken near line") as caught:
        NetrcAuth()
    assert no_secret_in(with_locals(caught.value))


def test_an_auth_that_is_not_yet_whole_has_a_representation(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        GraceDBAuth(token=tmp_path / "nowhere")
    TracebackException.from_exception(caught.value, capture_locals=True)


# Secret


def test_a_secret_does_not_show() -> None:
    assert repr(Secret(SECRET)) == "'***'"
    assert repr([Secret(SECRET)]) == "['***']"


def test_a_secret_is_equal_to_the_text_that_it_is() -> None:
    assert Secret("ä") == "ä" == Secret("ä")
    assert Secret("a") != "b"
    assert Secret("a") != b"a"


def test_a_part_of_a_secret_does_not_show() -> None:
    assert repr(Secret(SECRET)[:3]) == "'***'"


def test_a_secret_has_no_hash() -> None:
    with pytest.raises(TypeError):
        hash(Secret(SECRET))


def test_a_secret_pickles() -> None:
    assert pickle.loads(pickle.dumps(Secret(SECRET))) == SECRET
