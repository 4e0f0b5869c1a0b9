"""What the tests share: an environment without credentials, and servers on loopback."""

from __future__ import annotations

import base64
import json
import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from coverage import Coverage
from requests.adapters import HTTPAdapter

from requests_gracedb import GraceDBAdapter, GraceDBRetry, retry, scitoken
from requests_gracedb.testing import GraceDBServer

from .loopback_server import LoopbackServer

TOP = Path(__file__).parent.parent

# An event file with everything in it that a form could stumble over.
CONTENT = b"<LIGO_LW>\r\n\r\n--\r\n\0\xff</LIGO_LW>\n"

# A user that nobody is.
NOBODY = 4_000_000_000

# Where the last token of discovery is, but for the tests, which leave the user's own alone.
TMP = scitoken._TMP


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of these tests."""
    parser.addoption(
        "--soak-seconds",
        type=float,
        help="how long each test under load lasts, rather than for a number of requests",
    )


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory, and none of the user's settings in the environment."""
    for name in list(os.environ):
        if name.upper().endswith(("_PROXY", "_CA_BUNDLE")) or name in (
            "BEARER_TOKEN",
            "BEARER_TOKEN_FILE",
            "NETRC",
            "SSL_CERT_DIR",
            "SSL_CERT_FILE",
            "XDG_RUNTIME_DIR",
            "_CONDOR_CREDS",
        ):
            monkeypatch.delenv(name)
    path = tmp_path / "home"
    path.mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path))
    tmp = tmp_path / "tmp"
    tmp.mkdir()
    monkeypatch.setattr(scitoken, "_TMP", str(tmp))
    return path


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file to verify the certificates of the servers with."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(scope="session")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    """What a server needs to speak TLS as localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    """A server that speaks http."""
    with LoopbackServer() as server:
        yield server


@pytest.fixture
def other_server() -> Iterator[LoopbackServer]:
    """Another origin."""
    with LoopbackServer() as server:
        yield server


@pytest.fixture
def tls_server(tls: ssl.SSLContext) -> Iterator[LoopbackServer]:
    """A server that speaks https."""
    with LoopbackServer(tls) as server:
        yield server


@pytest.fixture
def session(ca_bundle: str) -> Iterator[requests.Session]:
    """A plain session with a GraceDBAdapter on everything."""
    with mounted(GraceDBAdapter(), ca_bundle) as session:
        yield session


class Waits(list[float]):
    """What the retries have in place of the time module: nobody waits, and every wait is noted."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Callable[[], object]] = []

    def sleep(self, seconds: float) -> None:
        self.append(seconds)
        if self.events:
            self.events.pop(0)()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    """The waits between two attempts, and what is to happen during each of them."""
    waits = Waits()
    sleep = GraceDBRetry.sleep

    def noted_sleep(*args: Any) -> None:
        count = len(waits)
        sleep(*args)
        if len(waits) == count:
            waits.sleep(0)

    monkeypatch.setattr(retry, "time", waits)
    monkeypatch.setattr(GraceDBRetry, "sleep", noted_sleep)
    return waits


@pytest.fixture(scope="session")
def gracedb() -> Iterator[GraceDBServer]:
    """A GraceDB."""
    with GraceDBServer(throttle=None, count_cache=0) as server:
        yield server


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """A file with a token in it that does not expire."""
    return write_token(tmp_path / "token", make_token(name="first"))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are opened for a token."""
    names: list[str] = []
    system_open = os.open

    def recording_open(name: str, flags: int, *args: Any, **kwargs: Any) -> int:
        if not flags & os.O_CREAT:  # Those are the tests, which write.
            names.append(name)
        return system_open(name, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", recording_open)
    return names


@pytest.fixture
def event_file(tmp_path: Path) -> Path:
    """A file to upload."""
    path = tmp_path / "coinc.xml"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def unmeasured() -> Iterator[None]:
    """No measuring of coverage, for what other tests cover and many repetitions make long."""
    stopped = []
    # There is more than one: a worker of pytest-xdist begins as if it ran the tests by itself, and
    # to stop what measures now starts again what measured before.
    while measured := Coverage.current():
        measured.stop()
        stopped.append(measured)
    yield
    for measured in reversed(stopped):
        measured.start()


def mounted(adapter: HTTPAdapter, verify: bool | str = True) -> requests.Session:
    """Make a plain session with an adapter on everything."""
    session = requests.Session()
    session.verify = verify
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def write_token(path: Path, token: str | bytes) -> Path:
    """Write a file that nobody else can read."""
    path.touch(mode=0o600)
    path.write_bytes(token if isinstance(token, bytes) else token.encode())
    return path


def make_token(signature: bytes = b"signature", **claims: object) -> str:
    """Make a JSON Web Token that no server would accept."""
    header = json.dumps({"alg": "RS256", "typ": "JWT"}).encode()
    parts = header, json.dumps(claims).encode(), signature
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def write_netrc(home: Path, *entries: str) -> Path:
    """Write the netrc file of the user."""
    path = home / ".netrc"
    path.touch(mode=0o600)
    path.write_text("".join(f"{entry}\n" for entry in entries))
    return path


def basic(username: str, password: str) -> str:
    """Make the header of basic authentication."""
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


def everything_in(error: BaseException | None) -> str:
    """Get all that an exception, and those chained to it, could show somebody."""
    if error is None:
        return ""
    own = f"{error!s} {error!r} {error.args} {vars(error)}"
    return own + everything_in(error.__cause__) + everything_in(error.__context__)
