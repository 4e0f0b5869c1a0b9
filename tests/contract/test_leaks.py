"""Whatever files, servers and names look like: a credential arrives where it belongs."""

from __future__ import annotations

import os
import pickle
import re
import stat
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import requests
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from requests_gracedb import FormData, GraceDBAdapter, GraceDBAuth, NetrcAuth, SciTokenAuth
from requests_gracedb.credential import Origin
from tests.conftest import basic, everything_in, make_token, write_netrc, write_token
from tests.loopback_server import Answer, LoopbackServer, Received, redirect

pytestmark = pytest.mark.usefixtures("unmeasured")

# One session and one home directory serve all examples of a test: neither keeps anything of them.
settings.register_profile(
    "leaks", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
leaks = settings.get_profile("leaks")

SECRET = "s3cr3t"
TOKEN = make_token(sub="somebody")


class Hosts:
    """Three origins on two servers: another port is another origin, and so is another name."""

    def __init__(self, server: LoopbackServer, other_server: LoopbackServer) -> None:
        self.servers = server, other_server
        self.urls = (
            server.url,
            other_server.url,
            server.url.replace("localhost", "127.0.0.1"),
        )

    def visit(self, session: requests.Session, chain: list[tuple[int, int]]) -> list[Received]:
        """Follow a chain of redirects from host to host, and tell what arrived."""
        urls = [f"{self.urls[host]}/{number}" for number, (host, _) in enumerate(chain)]
        statuses = [status for _, status in chain]

        def answer(received: Received) -> Answer:
            number = int(received.target.strip("/"))
            if number + 1 < len(urls):
                return redirect(urls[number + 1], statuses[number])
            return Answer(statuses[number] if statuses[number] == 401 else 200)

        for server in self.servers:
            server.requests.clear()
            server.answer = answer
        try:
            session.post(urls[0], data=FormData({"a": "b"}))
        except requests.HTTPError as error:
            assert SECRET not in str(error) and TOKEN not in str(error)
        return [received for server in self.servers for received in server.requests]


@pytest.fixture
def hosts(server: LoopbackServer, other_server: LoopbackServer) -> Hosts:
    return Hosts(server, other_server)


@pytest.fixture
def netrc(home: Path) -> Path:
    """A netrc with an entry for every host: requests adds it wherever it can."""
    return write_netrc(
        home,
        f"machine localhost login user password {SECRET}",
        f"machine 127.0.0.1 login other password {SECRET}",
    )


def credential_for(host: int) -> str:
    return basic("other" if host == 2 else "user", SECRET)


chains = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from([301, 302, 303, 307, 308])), min_size=1, max_size=6
)


@leaks
@given(
    chain=chains,
    kind=st.sampled_from(["token", "basic", "netrc", "none"]),
    only=st.sampled_from([None, 0, 1, 2]),
    per_request=st.booleans(),
    refused=st.booleans(),
)
def test_the_right_credential_arrives_at_the_right_origin_and_nowhere_else(
    hosts: Hosts,
    netrc: Path,
    session: requests.Session,
    token_file: Path,
    chain: list[tuple[int, int]],
    kind: str,
    only: int | None,
    per_request: bool,
    refused: bool,
) -> None:
    if refused:
        chain = [*chain, (chain[-1][0], 401)]
    write_token(token_file, TOKEN)
    session.auth = GraceDBAuth(
        None if only is None else hosts.urls[only],
        token=token_file if kind == "token" else None,
        username="user" if kind == "basic" else None,
        password=SECRET if kind == "basic" else None,
        force_noauth=kind == "none",
        auth_reload=True,
    )
    renewed = make_token(sub="somebody", jti="renewed")
    write_token(token_file, renewed)
    first = chain[0][0]
    expected = {
        "token": {f"Bearer {TOKEN}", f"Bearer {renewed}"},
        "basic": {basic("user", SECRET)},
        "netrc": {credential_for(first)},
        "none": {None},
    }[kind]
    gets_any = only in (None, first)
    for received in hosts.visit(session, chain):
        if gets_any and f"http://{received.headers['Host']}" == hosts.urls[first]:
            assert received.authorization in expected
        else:
            assert received.authorization is None


@leaks
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode()))
@example(TOKEN.encode())
@example(f" {TOKEN}\n".encode())
@example(f"{TOKEN}\r\nX-Injected: yes".encode())
@example(f"{TOKEN}\0".encode())
@example("tökén".encode("latin-1"))
@example(b"a" * (64 * 1024 + 1))
def test_a_token_file_is_sent_as_it_is_or_refused_unseen(
    server: LoopbackServer, session: requests.Session, token_file: Path, content: bytes
) -> None:
    write_token(token_file, content)
    server.requests.clear()
    try:
        auth = SciTokenAuth(token_file)
    except ValueError as error:
        assert str(token_file) in str(error)
        shown = everything_in(error).encode("utf-8", "surrogatepass")
        assert not any(word in shown for word in content.split() if len(word) > 8)
        return
    session.get(server.url, auth=auth)
    assert re.fullmatch(rb"[A-Za-z0-9._~+/-]+=*", content.strip())
    assert server.authorizations == [f"Bearer {content.strip().decode()}"]


words = st.sampled_from(
    ["machine", "default", "login", "account", "password", "macdef", "localhost", SECRET, "#", '"']
)
texts = st.lists(words | st.text(max_size=8), max_size=20).flatmap(
    lambda parts: st.lists(
        st.sampled_from([" ", "\n", "\t"]), min_size=len(parts), max_size=len(parts)
    ).map(lambda spaces: "".join(map("".join, zip(parts, spaces))))
)


@leaks
@given(content=texts | st.text(max_size=100))
@example(f"machine localhost login user password {SECRET}")
@example(f"machine localhost {SECRET}")
@example(f"machine localhost login a:b password {SECRET}")
@example(f"machine localhost login user password {SECRET}\x07")
@example(f"default login user password {SECRET}")
def test_a_netrc_is_sent_as_it_is_or_refused_unseen(
    server: LoopbackServer, session: requests.Session, home: Path, content: str
) -> None:
    path = write_netrc(home)
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    server.requests.clear()
    try:
        auth = NetrcAuth(server.url)
        session.get(server.url, auth=auth)
    except ValueError as error:
        assert SECRET not in everything_in(error)
        return
    [authorization] = server.authorizations
    if authorization is not None:
        _, _, pair = authorization.partition("Basic ")
        username, _, password = b64decode(pair).decode("latin-1").partition(":")
        decoded = b64decode(pair)
        written = content.encode()
        for part in decoded.split(b":", 1):
            assert part.decode("latin-1").encode() in written or part in written
        assert not re.search("[\0-\x1f]", username + password)


@leaks
@given(name=st.text(max_size=30), filename=st.text(max_size=30), value=st.text(max_size=30))
@example('a"\r\nX-Injected: yes\r\n\r\n', 'b"\r\nX-Injected: yes\r\n\r\n', "c")
@example("data:text/html\r\nX-Injected: yes,", "data:text/html\r\nX-Injected: yes,", "c")
@example("a", "b", "c\r\nX-Injected: yes")
@example("\ud800", "\udcff", "c")
def test_no_name_breaks_a_header_of_a_form(name: str, filename: str, value: str) -> None:
    try:
        form = FormData(files={name: (filename, b"content", None, {"X-Part": value})})
    except ValueError:
        assert "\0" in name + filename or re.search("[\0-\x08\n-\x1f\x7f\ud800-\udfff]", value)
        return
    header, _, rest = bytes(form).partition(b"\r\n\r\n")
    assert rest.startswith(b"content\r\n--")
    assert [line.partition(b":")[0] for line in header.split(b"\r\n")[1:]] == [
        b"Content-Disposition",
        b"Content-Type",
        b"X-Part",
    ]
    assert b"\r" not in header.replace(b"\r\n", b"") and b"\0" not in header


@leaks
@given(product=st.text(max_size=30))
@example("a\r\nX-Injected: yes")
def test_no_product_breaks_the_user_agent(server: LoopbackServer, product: str) -> None:
    try:
        adapter = GraceDBAdapter(user_agent=product)
    except ValueError:
        return
    server.requests.clear()
    with requests.Session() as session:
        session.mount("http://", adapter)
        session.get(server.url)
    assert server.requests[0].headers["User-Agent"].startswith(product.strip())
    assert server.requests[0].headers["X-Injected"] is None


@leaks
@given(token=st.text(min_size=1, max_size=30).filter(lambda text: "\0" not in text))
@example(f"{TOKEN}\nX-Injected: yes")
def test_a_token_in_the_environment_is_sent_as_it_is_or_refused_unseen(
    server: LoopbackServer, session: requests.Session, token: str
) -> None:
    server.requests.clear()
    try:
        with patch.dict(os.environ, {"BEARER_TOKEN": token}):
            session.get(server.url, auth=GraceDBAuth(server.url))
    except UnicodeEncodeError:
        return  # The environment cannot hold it.
    except ValueError as error:
        assert "BEARER_TOKEN" in str(error)
        return
    assert server.authorizations == [f"Bearer {token.strip()}"]


@pytest.fixture(params=["token", "basic", "netrc", "discovered"])
def auth(
    request: pytest.FixtureRequest, home: Path, token_file: Path, netrc: Path
) -> Iterator[GraceDBAuth]:
    """Every kind of credential, each with the secret in it."""
    write_token(token_file, make_token(sub=SECRET, exp=0))
    if request.param == "token":
        yield GraceDBAuth(token=token_file, auth_reload=True)
    elif request.param == "basic":
        yield GraceDBAuth(username="user", password=SECRET)
    elif request.param == "netrc":
        yield GraceDBAuth()
    else:
        token_file.rename(home / f"bt_u{os.geteuid()}")
        yield GraceDBAuth(auth_reload=True)


def test_no_secret_is_in_what_an_auth_says_of_itself(auth: GraceDBAuth) -> None:
    shown = f"{auth!r} {auth} {auth.describe()} {auth._source!r}"
    assert_no_secret(shown.replace(f"'subject': '{SECRET}'", ""))


@pytest.mark.parametrize("status", [401, 403, 500])
def test_no_secret_is_in_logs_and_exceptions(
    auth: GraceDBAuth,
    server: LoopbackServer,
    session: requests.Session,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    caplog.set_level(0)
    server.answer = lambda received: Answer(
        status, {"Content-Type": "text/plain"}, (received.authorization or "").encode()
    )
    with pytest.raises(requests.HTTPError) as caught:
        session.get(server.url, auth=auth)
    assert_no_secret(everything_in(caught.value))
    assert_no_secret(caplog.text)


@pytest.mark.parametrize("auth", ["token", "netrc", "discovered"], indirect=True)
def test_no_secret_is_in_the_pickle_of_an_auth_that_reads_a_file(auth: GraceDBAuth) -> None:
    assert_no_secret(pickle.dumps(auth).decode("latin-1"))


def test_only_the_owner_can_read_what_the_tests_write(token_file: Path, netrc: Path) -> None:
    assert {stat.S_IMODE(path.stat().st_mode) for path in (token_file, netrc)} == {0o600}


def test_an_origin_is_that_of_the_connection(session: requests.Session) -> None:
    adapter = session.get_adapter("https://gracedb.ligo.org/")
    assert isinstance(adapter, GraceDBAdapter)
    for url in ("https://GraceDB.ligo.org/", "https://a@b:1/", "https://[::1]/", "http://x:80/"):
        request = requests.Request("GET", url).prepare()
        pool = adapter.get_connection_with_tls_context(request, True)
        origin = Origin.of(url)
        assert (pool.scheme, pool.host.strip("[]"), pool.port) == origin


def assert_no_secret(text: str) -> None:
    payload = make_token(sub=SECRET, exp=0).split(".")[1]
    for secret in (SECRET, TOKEN, payload, basic("user", SECRET).removeprefix("Basic ")):
        assert secret not in text
