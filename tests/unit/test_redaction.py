"""Secrets do not show in the message of an error, in whatever encoding and wherever they are."""

from __future__ import annotations

import base64
import html
import json
import quopri
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import requests

from requests_gracedb import ErrorAdapter, GraceDBAdapter, GraceDBAuth, SciTokenAuth
from requests_gracedb.redaction import Redaction
from tests.conftest import basic, make_token, mounted, write_token
from tests.loopback_server import Answer, Handler, LoopbackServer, Script, redirect

SECRETS = [
    make_token(b"\xfb\xff\xfe" * 10, name="a user"),
    "correct horse battery staple",
    'a"b\\c/d&e<f>g%20h=3Di+j',
    "100%",
    "pässwörd-ß",
    "abc/def",
]

ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "percent": lambda secret: quote(secret, safe=""),
    "percent, in lower case": lambda secret: "".join(f"%{byte:02x}" for byte in secret.encode()),
    "percent, in ISO-8859-1": lambda secret: quote(secret.encode("latin-1"), safe=""),
    "form": quote_plus,
    "HTML": html.escape,
    "HTML, decimal": lambda secret: "".join(f"&#{ord(character)};" for character in secret),
    "HTML, hexadecimal": lambda secret: "".join(f"&#X{ord(c):04x};" for c in secret),
    "quoted-printable": lambda secret: quopri.encodestring(secret.encode()).decode("latin-1"),
    "quoted-printable, all": lambda secret: "".join(f"={byte:02X}" for byte in secret.encode()),
    "JSON": lambda secret: json.dumps(secret)[1:-1],
    "JSON of JavaScript": lambda secret: json.dumps(secret)[1:-1].replace("/", "\\/"),
    "JSON, all": lambda secret: "".join(f"\\u{ord(character):04X}" for character in secret),
    "Python": lambda secret: "".join(f"\\x{byte:02x}" for byte in secret.encode()),
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64, URL-safe": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
    "in lines": lambda secret: "\r\n ".join([secret[:3], secret[3:]]),
    "with control characters": lambda secret: "\0\x1b".join(secret),
}


@pytest.mark.parametrize("secret", SECRETS, ids=range(len(SECRETS)))
@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("around", ["Who is {}?", "token={}&next=1", "password={}", "{}"])
def test_a_secret_is_taken_out_of_a_text(name: str, around: str, secret: str) -> None:
    text = around.format(ENCODINGS[name](secret))
    cleaned = Redaction([secret])(text)
    assert "***" in cleaned
    assert cleaned.count("*") + 8 >= len(cleaned) - len(around.format(""))


@pytest.mark.parametrize("before", ["", "B", "Be", "Bearer "])
@pytest.mark.parametrize("after", ["", "!", "!!"])
def test_a_secret_is_taken_out_of_what_is_longer_in_base64(before: str, after: str) -> None:
    encoded = base64.b64encode(f"{before}s3cr3t-enough{after}".encode()).decode()
    cleaned = Redaction(["s3cr3t-enough"])(f"It was {encoded}.")
    assert "***" in cleaned
    assert len(cleaned) < len("It was .***") + 18


def test_what_is_around_a_secret_stays() -> None:
    text = "100% of ab%63 &amp; more: s%33cr%33t, s3cr3t\r\nand s3cr&#51;t."
    assert Redaction(["s3cr3t"])(text) == "100% of ab%63 &amp; more: ***, *** and ***."


def test_several_secrets_are_taken_out_and_so_is_one_within_another() -> None:
    assert Redaction(["abc", "abcdef", ""])("abcdef %61bc abc") == "*** *** ***"


def test_without_secrets_a_text_becomes_one_line_without_control_characters() -> None:
    assert Redaction([])(" a\r\n\tb\x1b[2J\0\u202ec ") == "a b[2Jc"


# Of a request


@pytest.fixture
def session(ca_bundle: str) -> Iterator[requests.Session]:
    with mounted(ErrorAdapter(), ca_bundle) as session:
        yield session


def with_reason(reason: str) -> Script:
    def send(handler: Handler) -> None:
        line = f"HTTP/1.1 403 {reason}\r\nContent-Length: 0\r\n\r\n"
        handler.wfile.write(line.encode())

    return send


def message(session: requests.Session, url: str, **kwargs: object) -> str:
    with pytest.raises(requests.HTTPError) as caught:
        session.get(url, **kwargs)  # type: ignore[arg-type]
    text = str(caught.value)
    assert text.isprintable()
    return text


@pytest.mark.parametrize("name", [name for name in ENCODINGS if name != "in lines"])
def test_a_token_in_the_reason_phrase_is_not_shown(
    name: str, session: requests.Session, server: LoopbackServer
) -> None:
    token = make_token(name="a user")
    server.script = [with_reason("Who is " + ENCODINGS[name](token).replace("=\n", ""))]
    text = message(session, server.url, headers={"Authorization": f"Bearer {token}"})
    assert text == f"403 Client Error: Who is *** for url: {server.url}/"


def test_control_characters_of_the_reason_phrase_are_not_shown(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [with_reason("No\x1b[2J\x07 way")]
    assert message(session, server.url).startswith("403 Client Error: No[2J way for url: ")


def test_a_token_in_a_location_is_not_shown(
    server: LoopbackServer, other_server: LoopbackServer, token_file: Path
) -> None:
    token = token_file.read_text()
    server.script = [redirect(f"{other_server.url}/{quote(token)}/?token={token}")]
    other_server.script = [Answer(404)]
    with mounted(GraceDBAdapter()) as session:
        session.auth = GraceDBAuth(server.url, token=token_file)
        text = message(session, server.url)
    assert text.endswith(f" for url: {other_server.url}/***/?token=***")


def test_the_token_before_a_renewal_is_not_shown(server: LoopbackServer, tmp_path: Path) -> None:
    old, new = make_token(name="old"), make_token(name="new")
    path = write_token(tmp_path / "token", old)
    server.script = [Answer(401), Answer(403, {}, f"Not {old}, nor {new}.".encode())]
    with mounted(GraceDBAdapter()) as session:
        session.auth = SciTokenAuth(path, auth_reload=True)
        write_token(path, new)
        assert ": Not ***, nor ***." in message(session, server.url)


def test_a_token_before_its_renewal_is_not_shown_after_a_redirect(
    server: LoopbackServer, other_server: LoopbackServer, tmp_path: Path
) -> None:
    old, new = make_token(name="old"), make_token(name="new")
    path = write_token(tmp_path / "token", old)
    server.script = [Answer(401), redirect(other_server.url)]
    other_server.script = [Answer(404, {}, f"Not {old}, nor {new}.".encode())]
    with mounted(GraceDBAdapter()) as session:
        session.auth = SciTokenAuth(path, auth_reload=True)
        write_token(path, new)
        assert message(session, server.url).endswith(": Not ***, nor ***.")


def test_a_password_is_not_shown_and_neither_are_the_pair_and_the_header(
    session: requests.Session, server: LoopbackServer
) -> None:
    header = basic("user", "s3cr3t")
    server.script = [Answer(403, {}, f"s3cr3t, user:s3cr3t, {header}, s%33cr3t".encode())]
    text = message(session, server.url, auth=("user", "s3cr3t"))
    assert text.endswith(": ***, ***, Basic ***, ***")


@pytest.mark.parametrize(
    "headers, echo",
    [
        ({"Proxy-Authorization": basic("user", "s3cr3t")}, "s3cr3t"),
        ({"Cookie": "theme=dark; session=0123456789abcdef"}, "0123456789abcdef"),
        ({"Authorization": "s3cr3t"}, "s3cr3t"),
        ({"Authorization": b"Bearer s3cr3t"}, "s3cr3t"),
    ],
    ids=["proxy", "cookie", "no scheme", "bytes"],
)
def test_the_secrets_of_other_headers_are_not_shown(
    headers: dict[str, str], echo: str, session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(400, {}, f"What is {echo}? A dark secret.".encode())]
    text = message(session, server.url, headers=headers)
    assert text.endswith(": What is ***? A dark secret.")


def test_the_password_of_a_url_is_not_shown(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(404, {}, b"s3cr3t")]
    url = server.url.replace("://", "://user:s3cr3t@")
    assert message(session, url).endswith(f" for url: {server.url}/: ***")


def test_the_password_of_a_proxy_is_not_shown(
    session: requests.Session, server: LoopbackServer
) -> None:
    server.script = [Answer(407, {}, b"s3cr3t")]
    proxies = {"http": server.url.replace("://", "://user:s3cr3t@")}
    assert message(session, "http://gracedb.invalid/", proxies=proxies).endswith(": ***")


def test_a_secret_that_a_limit_would_have_cut_is_not_shown_in_part(
    session: requests.Session, server: LoopbackServer
) -> None:
    token = make_token(name="a user")
    for before in (490, 3990):
        server.script = [Answer(404, {}, b" " * (before - 490) + b"x" * 490 + token.encode())]
        text = message(session, server.url, headers={"Authorization": f"Bearer {token}"})
        assert text.endswith("x***")
