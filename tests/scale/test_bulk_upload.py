"""Every file arrives once, whatever happens to the workers, and the token stays with them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import requests

from requests_gracedb import GraceDBAdapter, SciTokenAuth
from requests_gracedb.testing import GraceDBServer
from tests.conftest import TOP, make_token, write_token
from tests.loopback_server import Answer, LoopbackServer, Received

FILES = 200
LIMIT = 60  # seconds for anything that has to happen


class Relay:
    """What goes on between a client and a server, which can be overheard and held up."""

    def __init__(self, port: int) -> None:
        self.overheard = bytearray()
        self.answers = threading.Event()
        self.answers.set()
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def close(self) -> None:
        self.answers.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _accept(self) -> None:
        with self._listener, ThreadPoolExecutor(64) as connections:
            while True:
                try:
                    client = self._listener.accept()[0]
                except OSError:
                    return  # It is closed.
                connections.submit(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._to)) as server:
            for connection in client, server:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            there = threading.Thread(target=self._pass_on, args=(client, server))
            there.start()
            self._pass_on(server, client, self.answers)
            there.join()

    def _pass_on(
        self, source: socket.socket, target: socket.socket, gate: threading.Event | None = None
    ) -> None:
        try:
            while piece := source.recv(65536):
                self.overheard += piece
                if gate is not None:
                    gate.wait()
                target.sendall(piece)
        except OSError:
            pass  # Whoever was there has gone.
        for connection in source, target:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@dataclass
class Bulk:
    """A GraceDB to upload to, and what a user has."""

    gracedb: GraceDBServer
    directory: Path
    settings: dict[str, str]

    @contextmanager
    def session(self) -> Iterator[requests.Session]:
        with requests.Session() as session:
            session.trust_env = False
            session.verify = self.gracedb.ca_bundle
            session.mount(self.gracedb.url, GraceDBAdapter())
            session.auth = SciTokenAuth(self.settings["BEARER_TOKEN_FILE"])
            yield session

    def names(self) -> Counter[str]:
        """How often each file is there."""
        with self.session() as session:
            events = session.get(f"{self.gracedb.url}events/?count=1000").json()["events"]
            files = [session.get(event["links"]["files"]).json() for event in events]
        return Counter(name for names in files for name in names if "," not in name)

    def count(self) -> int:
        """How many events there are."""
        with self.session() as session:
            count: int = session.get(f"{self.gracedb.url}events/?count=1").json()["numRows"]
            return count

    def command(self, url: str | None = None, *options: str) -> list[str]:
        return example(self.directory, url or self.gracedb.url, *options)


def example(directory: Path, url: str, *options: str) -> list[str]:
    command = [sys.executable, "-m", "examples.bulk_upload", "--url", url]
    command += ["--settle", "0", "--cached", "0"]
    return [*command, *options, str(directory)]


@contextmanager
def started(command: list[str], settings: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a command, and end whatever is left of it."""
    process = subprocess.Popen(
        command,
        cwd=TOP,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            if is_any_left(process):
                os.killpg(process.pid, signal.SIGKILL)


def is_any_left(process: subprocess.Popen[str]) -> bool:
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def finished(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Wait until a process ends by itself."""
    output, errors = process.communicate(timeout=LIMIT)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def wait_until(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + LIMIT
    while not happened():
        assert time.monotonic() < until, f"waited for {LIMIT} seconds in vain"
        time.sleep(0.02)


def make_files(directory: Path, number: int) -> Path:
    directory.mkdir()
    for index in range(number):
        (directory / f"event-{index}.xml").write_text(f"<LIGO_LW>{index}</LIGO_LW>")
    return directory


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes of a local cluster."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


@pytest.fixture(scope="module")
def bulk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bulk]:
    """A GraceDB with nothing in it, a directory of files, and a token."""
    directory = make_files(tmp_path_factory.mktemp("bulk") / "events", FILES)
    with GraceDBServer(throttle=None, count_cache=0) as gracedb:
        token_file = write_token(directory.parent / "token", gracedb.token(audience="ANY"))
        settings = {
            "BEARER_TOKEN_FILE": str(token_file), "REQUESTS_CA_BUNDLE": gracedb.ca_bundle
        }
        yield Bulk(gracedb, directory, settings)


@pytest.fixture(scope="module")
def killed(bulk: Bulk) -> subprocess.CompletedProcess[str]:
    """A run of which a worker is killed half way, after the server has got its file."""
    with ExitStack() as stack:
        relay = Relay(int(bulk.gracedb.url.split(":")[2].split("/")[0]))
        stack.callback(relay.close)
        command = bulk.command(f"https://localhost:{relay.port}/api/")
        process = stack.enter_context(started(command, bulk.settings))
        wait_until(lambda: bulk.count() >= FILES // 2 or process.poll() is not None)
        relay.answers.clear()
        before = -1
        while before != (before := bulk.count()):
            time.sleep(1)  # Both workers now wait for an answer.
        workers(process)[0].kill()
        relay.answers.set()
        result = finished(process)
        wait_until(lambda: not is_any_left(process))
        return result


def test_all_files_arrive_although_a_worker_dies(
    bulk: Bulk, killed: subprocess.CompletedProcess[str]
) -> None:
    assert bulk.names().keys() == {path.name for path in bulk.directory.iterdir()}


def test_no_file_arrives_twice_although_a_worker_dies(
    bulk: Bulk, killed: subprocess.CompletedProcess[str]
) -> None:
    assert set(bulk.names().values()) == {1}


def test_a_run_of_which_a_worker_dies_succeeds(killed: subprocess.CompletedProcess[str]) -> None:
    assert (killed.returncode, killed.stdout) == (0, f"already there: 0\nuploaded: {FILES}\n")


def test_a_bar_shows_the_progress(killed: subprocess.CompletedProcess[str]) -> None:
    assert f"100%|██████████| {FILES}/{FILES} [" in killed.stderr


def test_a_second_run_uploads_nothing(
    bulk: Bulk, killed: subprocess.CompletedProcess[str]
) -> None:
    with started(bulk.command(), bulk.settings) as process:
        result = finished(process)
    assert (result.returncode, result.stdout) == (0, f"already there: {FILES}\nuploaded: 0\n")
    assert bulk.count() == FILES


@pytest.fixture(scope="module")
def refused(bulk: Bulk) -> subprocess.CompletedProcess[str]:
    """A run with one file that is fine, one that the server refuses, and one of an odd name."""
    directory = make_files(bulk.directory.with_name("odd"), 1)
    (directory / "event-0.xml").rename(directory / "fine.xml")
    (directory / "empty.xml").touch()
    (directory / "a&b.xml").touch()
    command = example(directory, bulk.gracedb.url, "--pipeline", "spiir", "--workers", "1")
    with started(command, bulk.settings) as process:
        return finished(process)


def test_a_file_that_is_refused_does_not_keep_the_others_back(
    refused: subprocess.CompletedProcess[str]
) -> None:
    assert refused.stdout == "already there: 0\nuploaded: 1\n"


def test_a_file_that_is_refused_is_reported_and_why(
    refused: subprocess.CompletedProcess[str]
) -> None:
    assert refused.stderr.splitlines()[-3] == "failed: 2"
    assert refused.stderr.splitlines()[-2].startswith("empty.xml: 400 ")
    assert "The submitted file is empty." in refused.stderr.splitlines()[-2]


def test_a_file_with_a_name_that_may_not_last_is_reported(
    refused: subprocess.CompletedProcess[str]
) -> None:
    assert refused.stderr.splitlines()[-1] == "a&b.xml: rename it, or GraceDB will"


def test_a_failure_is_the_exit_status(refused: subprocess.CompletedProcess[str]) -> None:
    assert refused.returncode == 1


def test_a_directory_that_is_not_there_is_one_readable_line(tmp_path: Path) -> None:
    with started(example(tmp_path / "nowhere", "https://localhost/"), {}) as process:
        result = finished(process)
    assert result.returncode == 1
    assert "No such file or directory" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.fixture
def failing_server(server: LoopbackServer) -> LoopbackServer:
    """A GraceDB with nothing in it that fails whenever there is something to upload."""
    nothing = json.dumps({"events": [], "links": {}}).encode()

    def answer(received: Received) -> Answer:
        return Answer(200, {}, nothing) if received.method == "GET" else Answer(500)

    server.answer = answer
    return server


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[Relay]]]:
    """A cluster whose only worker has a token, and all that is said in it."""
    token_file = write_token(tmp_path / "bearer", make_token(sub="worker"))
    ports = free_port(), free_port()
    with ExitStack() as stack:
        relays = [Relay(port) for port in ports]
        for relay in relays:
            stack.callback(relay.close)
        address = f"tcp://127.0.0.1:{relays[0].port}"
        scheduler = ["--host", "127.0.0.1", "--port", str(ports[0]), "--no-dashboard"]
        worker = [
            address, "--no-nanny", "--no-dashboard", "--nthreads", "1",
            "--listen-address", f"tcp://127.0.0.1:{ports[1]}",
            "--contact-address", f"tcp://127.0.0.1:{relays[1].port}",
            "--local-directory", str(tmp_path),
        ]
        module = [sys.executable, "-m", "distributed.cli.dask_"]
        for name, options, port in ("scheduler", scheduler, 0), ("worker", worker, 1):
            command = [*module[:2], module[2] + name, *options]
            stack.enter_context(started(command, {"BEARER_TOKEN_FILE": str(token_file)}))
            wait_until(lambda: is_listening(ports[port]))
        yield address, relays


def test_the_token_is_read_on_the_worker_and_stays_there(
    cluster: tuple[str, list[Relay]], failing_server: LoopbackServer, tmp_path: Path
) -> None:
    address, relays = cluster
    directory = make_files(tmp_path / "events", 2)
    command = example(directory, f"{failing_server.url}/api/", "--scheduler", address)
    with started(command, {}) as process:
        result = finished(process)
    assert "event-0.xml and 1 more: HTTPError: 500 " in result.stderr
    token = make_token(sub="worker")
    assert failing_server.authorizations[-1] == f"Bearer {token}"
    for relay in relays:
        assert relay.overheard
        assert token.encode() not in relay.overheard
