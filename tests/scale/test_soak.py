"""Nothing is lost and nothing is sent twice, for thousands of requests on a bad network."""

from __future__ import annotations

import gc
import io
import itertools
import logging
import os
import random
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from requests_gracedb import FormData, GraceDBAdapter, SciTokenAuth
from requests_gracedb.retry import GraceDBRetry
from tests.conftest import make_token, write_token
from tests.loopback_server import (
    Answer,
    Handler,
    LoopbackServer,
    Received,
    Script,
    drop,
    half_a_body,
    half_an_answer,
    reset,
)

pytestmark = pytest.mark.usefixtures("unmeasured")

THREADS = 8

TRANSIENT = [408, 502, 503, 504]
REFUSALS = [Answer(429), Answer(429, {"Retry-After": "0"}), Answer(503, {"Retry-After": "0"})]
FINAL = [400, 404, 409, 500]
BREAKS = [drop, reset, half_an_answer, half_a_body]


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """No log records, which keep exceptions and with them connections."""
    caplog.set_level(logging.CRITICAL)
    caplog.set_level(logging.CRITICAL, "urllib3")


@pytest.fixture
def seed() -> int:
    """What chance depends on; pytest shows it when a test fails."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    return seed


@pytest.fixture
def numbers(request: pytest.FixtureRequest) -> Callable[[int], Iterator[int]]:
    """A function for the numbers of so many requests, or of those for the time of the option."""
    seconds = request.config.getoption("--soak-seconds")
    if seconds is None:
        return lambda count: iter(range(count))
    end = time.monotonic() + seconds
    return lambda count: itertools.takewhile(lambda _: time.monotonic() < end, itertools.count())


class BadServer:
    """A server on a bad network, and what it knows of each request by its number."""

    def __init__(self, server: LoopbackServer, seed: int) -> None:
        self.url = server.url
        self.done: Counter[str] = Counter()
        self.last: dict[str, Script] = {}
        self.authorizations: set[str | None] = set()
        self.tokens: set[str] | None = None
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._faults: Counter[str] = Counter()
        self._server = server
        server.answer = self.answer
        server.greetings = Greetings(self._random)

    def answer(self, received: Received) -> Script:
        """Do what is asked, or refuse, or fail, before or after."""
        name = received.target.lstrip("/")
        with self._lock:
            # A soak is not there to fill the memory.
            self._server.requests.clear()
            self.authorizations.add(received.authorization)
            script = self._script(received, name)
            if script not in REFUSALS:
                self.done[name] += 1
            self.last[name] = script
        return script

    def _script(self, received: Received, name: str) -> Script:
        if self.tokens is not None and received.authorization not in self.tokens:
            return Answer(401)
        if self._random.random() < 0.7 or self._faults[name] == 3:
            echo = b"%b %d" % (name.encode(), zlib.crc32(received.body))
            return self._random.choice([Answer(200, body=echo)] * 9 + [answer_and_drop(echo)])
        self._faults[name] += 1
        statuses = [Answer(status, body=b"why") for status in TRANSIENT]
        if received.method == "POST":
            statuses += [Answer(status, body=b"why") for status in FINAL]
        return self._random.choice([*BREAKS * 3, *REFUSALS * 2, *statuses])


class Greetings(list[Callable[[socket.socket], None]]):
    """One new connection in ten is cut off before the server has read anything from it."""

    def __init__(self, random: random.Random) -> None:
        self._random = random

    def __bool__(self) -> bool:
        return True

    def pop(self, index: object = -1) -> Callable[[socket.socket], None]:
        if self._random.random() < 0.9:
            return lambda connection: None
        return self._random.choice([cut, cut_with_reset])


def cut(connection: socket.socket) -> None:
    connection.close()


def cut_with_reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def answer_and_drop(body: bytes) -> Script:
    """Answer, and close the connection without having said so."""

    def answer(handler: Handler) -> None:
        handler.write(Answer(200, body=body))
        handler.drop()

    return answer


@pytest.fixture
def bad_server(server: LoopbackServer, seed: int) -> BadServer:
    """A server on a bad network."""
    return BadServer(server, seed)


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """A session with everything, which waits for nothing between two attempts."""
    rule = GraceDBRetry(12, backoff_factor=0, backoff_jitter=0)
    with requests.Session() as session:
        # What hangs is a ReadTimeout, which no test of these expects.
        session.mount(
            "http://", GraceDBAdapter(max_retries=rule, pool_maxsize=THREADS, timeout=60)
        )
        yield session


def outcomes(
    session: requests.Session, server: BadServer, seed: int, numbers: Iterator[int]
) -> dict[str, str | int]:
    """Send many requests from many threads: for each, the status that the caller is told.

    For one that has ended in an exception without a response, it is the name of that.
    """
    lock = threading.Lock()
    found: dict[str, str | int] = {}

    def work() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            name, outcome = ask(session, server, number, random.Random(f"{seed} {number}"))
            found[name] = outcome

    with ThreadPoolExecutor(THREADS) as pool:
        for future in [pool.submit(work) for _ in range(THREADS)]:
            future.result()
    return found


def ask(
    session: requests.Session, server: BadServer, number: int, random: random.Random
) -> tuple[str, str | int]:
    name = f"{random.choice(['GET', 'POST'])}-{number}"
    content = random.randbytes(random.choice([0, 10, 1000, 100_000]))
    form = FormData({"name": name}, {"eventFile": ("coinc.xml", content)})
    body, data = random.choice([(content, content), (content, io.BytesIO(content)), (None, form)])
    if name.startswith("GET"):
        body, data = b"", b""
    try:
        response = session.request(name.split("-")[0], f"{server.url}/{name}", data=data)
    except requests.HTTPError as error:
        assert error.response.text == "why" or error.response.status_code in (401, 429, 503)
        return name, error.response.status_code
    except requests.RequestException as error:
        return name, type(error).__name__
    assert response.status_code == 200
    answered, checksum = response.text.split()
    assert answered == name
    expected = b"".join(form) if body is None else body
    assert int(checksum) == zlib.crc32(expected)
    return name, 200


def check(found: dict[str, str | int], server: BadServer) -> None:
    """Compare what each caller was told with what the server did."""
    for name, outcome in found.items():
        last, done = server.last.get(name), server.done[name]
        if name.startswith("GET"):
            assert outcome == 200, name
        else:
            assert done <= 1, name
            if isinstance(outcome, int):
                assert done == (last not in REFUSALS), name
                assert not isinstance(last, Answer) or last.status == outcome, name
            elif outcome == "ChunkedEncodingError":
                assert last is half_a_body, name
            else:
                assert outcome == "ConnectionError", name
                assert last in [None, drop, reset, half_an_answer, *REFUSALS], name


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_every_get_is_answered_and_every_post_arrives_once_at_most(
    session: requests.Session,
    bad_server: BadServer,
    seed: int,
    numbers: Callable[[int], Iterator[int]],
) -> None:
    found = outcomes(session, bad_server, seed, numbers(5000))
    check(found, bad_server)
    assert {200, "ConnectionError", "ChunkedEncodingError", *FINAL} <= set(found.values())


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="there is no /proc")
def test_no_file_stays_open(session: requests.Session, bad_server: BadServer, seed: int) -> None:
    gc.collect()
    before = open_files()
    outcomes(session, bad_server, seed, iter(range(500)))
    session.close()
    gc.collect()  # urllib3 closes connections when nobody refers to their pool any more.
    patience = 3000
    while open_files() > before and patience:  # The server takes a moment to notice.
        time.sleep(0.01)
        patience -= 1
    assert open_files() <= before


def renamed(path: Path, token: str, random: random.Random) -> None:
    """Renew a token as htgettoken does."""
    write_token(path.with_suffix(".new"), token).replace(path)


def rewritten(path: Path, token: str, random: random.Random) -> None:
    """Renew a token as a careless shell script does, which is interrupted now and then."""
    at = random.randrange(len(token))
    with path.open("w", buffering=1) as file:
        file.write(token[:at])
        file.flush()
        if random.random() < 0.5:
            time.sleep(0.02)
        file.write(token[at:])


@pytest.mark.parametrize("renew", [renamed, rewritten])
def test_a_token_that_is_renewed_all_the_time_is_always_whole(
    renew: Callable[[Path, str, random.Random], None],
    session: requests.Session,
    bad_server: BadServer,
    seed: int,
    numbers: Callable[[int], Iterator[int]],
    tmp_path: Path,
) -> None:
    chance = random.Random(seed)
    # It is read again all the time: it expires sooner than in 300 seconds.
    expiry = int(time.time()) + 299
    tokens = [
        make_token(chance.randbytes(64), exp=expiry, jti=f"{number}" * (number % 7 + 1))
        for number in range(50)
    ]
    path = write_token(tmp_path / "token", tokens[0])
    session.auth = SciTokenAuth(path, auth_reload=True)
    bad_server.tokens = {f"Bearer {token}" for token in tokens}
    finished = threading.Event()

    def rotate() -> None:
        for token in itertools.cycle(tokens):
            renew(path, token, chance)
            if finished.wait(0.005):
                return

    with ThreadPoolExecutor(1) as pool:
        rotation = pool.submit(rotate)
        try:
            found = outcomes(session, bad_server, seed, numbers(600))
        finally:
            finished.set()
        rotation.result()
    assert bad_server.authorizations <= bad_server.tokens
    assert len(bad_server.authorizations) > 10
    assert 401 not in found.values()
    check(found, bad_server)


def test_threads_that_are_rejected_at_the_same_time_read_the_file_once(
    server: LoopbackServer, token_file: Path, reads: list[str]
) -> None:
    threads = 16
    barrier = threading.Barrier(threads)
    old, new = token_file.read_text(), make_token(name="second")

    def answer(received: Received) -> Answer:
        if received.authorization == f"Bearer {new}":
            return Answer(200, body=received.body)
        barrier.wait(timeout=60)
        return Answer(401)

    server.answer = answer
    auth = SciTokenAuth(token_file, auth_reload=True)
    reads.clear()
    write_token(token_file, new)
    with requests.Session() as session, ThreadPoolExecutor(threads) as pool:
        session.mount("http://", GraceDBAdapter(pool_maxsize=threads))
        bodies = [b"%d" % number for number in range(threads)]
        answers = pool.map(lambda body: session.post(server.url, data=body, auth=auth), bodies)
        assert [answer.content for answer in answers] == bodies
    assert len(reads) == 1
    assert Counter(server.authorizations) == {f"Bearer {old}": threads, f"Bearer {new}": threads}
    assert server.connections == threads


def test_a_pool_that_blocks_opens_no_more_connections_than_it_may(server: LoopbackServer) -> None:
    threads, connections = 32, 16
    server.answer = lambda received: Answer(200, body=received.target.encode() + received.body)

    def work(thread: int) -> None:
        for number in range(20):
            path = f"/{thread}/{number}"
            method = "POST" if number % 2 else "GET"
            response = session.request(method, f"{server.url}{path}", data=path)
            assert response.text == path + path

    with requests.Session() as session, ThreadPoolExecutor(threads) as pool:
        session.mount("http://", GraceDBAdapter(pool_maxsize=connections, pool_block=True))
        for future in [pool.submit(work, thread) for thread in range(threads)]:
            future.result()
    assert len(server.requests) == threads * 20
    assert server.connections <= connections
    assert {received.connection for received in server.requests} == set(
        range(1, server.connections + 1)
    )
