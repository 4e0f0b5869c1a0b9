"""Each file arrives once, whatever goes wrong, and what the example says about it is short."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest
import requests

from requests_gracedb.testing import GraceDBServer
from requests_gracedb.testing.faults import KINDS

TOP = Path(__file__).parent.parent.parent
FILES = 500
LIMIT = 120  # seconds for anything that has to happen


def make_files(directory: Path, number: int) -> Path:
    directory.mkdir()
    for index in range(number):
        (directory / f"event-{index}.xml").write_text(f"<LIGO_LW>{index}</LIGO_LW>")
    return directory


@contextmanager
def upload(
    server: GraceDBServer, directory: Path, *options: str
) -> Iterator[subprocess.Popen[str]]:
    """Run the example, and end whatever is left of it."""
    token_file = directory.with_name("token")
    token_file.touch(mode=0o600)
    token_file.write_text(server.token())
    command = [sys.executable, "-m", "examples.bulk_upload", "--url", server.url, *options]
    settings = {"BEARER_TOKEN_FILE": str(token_file), "REQUESTS_CA_BUNDLE": server.ca_bundle}
    process = subprocess.Popen(
        [*command, "--settle", "0.5", "--cached", "1.5", str(directory)],
        cwd=TOP, env={**os.environ, **settings}, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # The tests may run in the background of a shell, which has its jobs ignore interrupts.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    with process:
        try:
            yield process
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # It has ended by itself, with all that it had started.


@contextmanager
def reading(server: GraceDBServer) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.verify = server.ca_bundle
        session.headers["Authorization"] = f"Bearer {server.token()}"
        yield session


def kill_a_worker(server: GraceDBServer, process: subprocess.Popen[str]) -> None:
    """Wait until half of the files have arrived, and kill a worker."""
    until = time.monotonic() + LIMIT
    with reading(server) as session:
        while count(session, server) < FILES // 2 and process.poll() is None:
            assert time.monotonic() < until, f"waited for {LIMIT} seconds in vain"
            time.sleep(0.1)
    children = psutil.Process(process.pid).children(recursive=True)
    workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    workers[0].kill()


def count(session: requests.Session, server: GraceDBServer) -> int:
    """How many events there are; none if there is a fault in the way."""
    try:
        number: int = session.get(f"{server.url}events/?count=1").json()["numRows"]
        return number
    except (requests.RequestException, KeyError):
        return 0


def names(server: GraceDBServer) -> Counter[str]:
    """How often each file is there."""
    with reading(server) as session:
        events = session.get(f"{server.url}events/?count=1000&query=Test").json()["events"]
        files = [session.get(event["links"]["files"]).json() for event in events]
    return Counter(name for names in files for name in names if "," not in name)


@pytest.mark.parametrize("knows_content, chance", [(True, 0.006), (False, 0.002)])
def test_each_file_arrives_once_with_every_fault_at_random_and_a_worker_killed(
    tmp_path: Path, knows_content: bool, chance: float
) -> None:
    directory = make_files(tmp_path / "events", FILES)
    with GraceDBServer(throttle=None, count_cache=1, content_id=knows_content) as server:
        with ExitStack() as faults:
            for name in KINDS:
                faults.enter_context(server.fault(name, times=None, chance=chance, seconds=0.1))
            with upload(server, directory) as process:
                kill_a_worker(server, process)
                process.communicate(timeout=LIMIT)
        # A file that had too many faults is for the next run, as the first has said.
        with upload(server, directory) as process:
            process.communicate(timeout=LIMIT)
        assert process.returncode == 0
        assert names(server) == {f"event-{index}.xml": 1 for index in range(FILES)}


def test_a_hundred_equal_errors_are_one_line_with_a_number(tmp_path: Path) -> None:
    directory = make_files(tmp_path / "events", 100)
    with GraceDBServer(throttle=None) as server:
        server.add_user("albert.einstein@ligo.org", permissions=())
        with upload(server, directory) as process:
            errors = process.communicate(timeout=LIMIT)[1]
    report = errors[errors.index("failed: 100\n"):]
    assert report.count("\n") == 2
    assert "event-0.xml and 99 more: 403 Client Error" in report


def test_an_interrupt_says_what_to_do_next_and_nothing_else(tmp_path: Path) -> None:
    directory = make_files(tmp_path / "events", FILES)
    with GraceDBServer(throttle=None) as server, upload(server, directory) as process:
        with reading(server) as session:
            until = time.monotonic() + LIMIT
            while session.get(f"{server.url}events/T0010").status_code != 200:
                assert time.monotonic() < until, f"waited for {LIMIT} seconds in vain"
                time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        errors = process.communicate(timeout=LIMIT)[1]
    assert process.returncode == 1
    said = errors.replace("\r", "\n").splitlines()
    assert [line for line in said if line and "uploading" not in line] == [
        "searching again in 2 s: results may be cached",
        "interrupted: run it again to upload the rest; what has arrived is not sent twice",
    ]
