"""The benchmarks measure what they say, as far as they need no extra but that of the tests."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest

from benchmarks import measure, report
from benchmarks.clients import (
    CLIENTS, Curl, Form, HttpClient, HttpClientLargeBlocks, Raw, Requests, Target,
)
from benchmarks.measure import Bench, Comparison, Limit, Results, Settings, Summary
from benchmarks.servers import Server, digest
from benchmarks.workers import Worker, clean_environment, write_token

HERE = [Form.name, Raw.name, Requests.name, HttpClient.name, HttpClientLargeBlocks.name]
NO_CURL = pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
CONTENT = os.urandom(300_000)
TINY = Settings(
    rounds=1, size=measure.MIB, sizes=(1000,), size_rounds=1, memory_sizes=(1000,),
    memory_rounds=1,
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("benchmarks")
    write_token(path / "token")
    (path / "file.bin").write_bytes(CONTENT)
    return path


@pytest.fixture(scope="module")
def server(directory: Path) -> Iterator[Server]:
    with Server(directory) as server:
        yield server


@pytest.fixture
def bench(server: Server, directory: Path) -> Bench:
    token_file = str(directory / "token")
    bench = Bench(TINY, server, directory, token_file, sys.executable, lambda *_: lambda: None)
    bench.names = [Form.name, Raw.name, HttpClient.name]
    return bench


def start(name: str, server: Server, directory: Path, scheme: str = "https") -> Worker:
    url = server.https if scheme == "https" else server.http
    target = Target(url, server.ca_bundle, str(directory / "token"))
    return Worker(name, target, directory, sys.executable)


@pytest.mark.parametrize("name", [*HERE, pytest.param(Curl.name, marks=NO_CURL)])
def test_a_client_delivers_the_file(name: str, server: Server, directory: Path) -> None:
    worker = start(name, server, directory)
    arrived = worker.run("digest", path=str(directory / "file.bin"))
    worker.close()
    assert arrived == hashlib.sha256(CONTENT).hexdigest()


def test_jobs_tell_what_they_measured(server: Server, directory: Path) -> None:
    worker = start(Form.name, server, directory, "http")
    path = str(directory / "file.bin")
    assert worker.run("time_uploads", path=path, times=2) > 0
    assert worker.run("time_uploads_from_memory", size=1000) > 0
    assert worker.run("peak_growth_from_memory", size=1000) >= 0
    assert worker.run("time_threads", threads=2, times=2) > 0
    seconds, connections = worker.run("time_gets", path="/missing", times=3)
    assert seconds > 0 and connections == 1
    rounds = worker.run("cpu_of_gets", rounds=2, times=3)
    assert [len(seconds) for seconds in rounds] == [3, 3] and min(map(min, rounds)) > 0
    worker.close()


def test_a_client_that_fails_is_an_error(
    server: Server, directory: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    worker = start(HttpClient.name, server, directory)
    with pytest.raises(RuntimeError, match="http.client has failed at digest"):
        worker.run("digest", path=str(directory / "none"))
    assert "FileNotFoundError" in capfd.readouterr().err
    worker.close()


def test_a_file_that_does_not_arrive_is_an_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Worker, "run", lambda *args, **kwargs: "")
    with pytest.raises(RuntimeError, match="not every client delivers"):
        measure.check_deliveries(bench, Results())


def test_what_was_measured_is_on_the_page(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "environment", lambda load: {"Load": str(load)})
    results = Results(requests={"GET": {Form.name: [0.001]}})
    measure.large_uploads(bench, results)
    measure.memory(bench, results)
    page = "\n".join(report.lines(results, TINY, 0.5))
    assert set(results.throughput) == {"TLS", "plain http"}
    assert set(results.memory) == {1000}
    assert "1 MiB over TLS\n      - throughput ÷ that of http.client\n" in page
    assert "of 5 requirements are met" in page
    assert "   *  - Load\n      - 0.5\n" in page
    for client in CLIENTS.values():
        assert client.usage in page


def test_imports_are_timed(bench: Bench) -> None:
    assert bench.imports(sys.executable, "requests_gracedb") > bench.imports(sys.executable, "abc")


def test_files_are_full_or_sparse_and_do_not_stay(bench: Bench) -> None:
    with bench.file(1000) as path, bench.file(measure.MIB, is_sparse=True) as sparse:
        assert len(set(Path(path).read_bytes())) > 100
        assert Path(sparse).read_bytes() == bytes(measure.MIB)
    assert not os.path.exists(path)


def test_jobs_take_turns() -> None:
    calls: list[str] = []
    jobs = {name: lambda name=name: calls.append(name) or len(calls) for name in "ABC"}
    steps: list[None] = []
    results = measure.interleave(jobs, 2, lambda: steps.append(None))
    assert "".join(calls) == "ABCBCACAB"
    assert results == {"A": [6, 8], "B": [4, 9], "C": [5, 7]}
    assert len(steps) == 9


def test_ratios_are_of_the_same_round() -> None:
    assert measure.ratios([1, 6], [2, 3]) == [0.5, 2]
    with pytest.raises(ValueError):
        measure.ratios([1, 6], [2])


def test_a_summary_is_the_median_between_the_quartiles() -> None:
    assert Summary.of([3, 1, 2, 5, 4]) == (2, 3, 4)
    assert Summary.of([7]) == (7, 7, 7)


@pytest.mark.parametrize(
    "sign, value, is_met",
    [("≥", 2, True), ("≥", 2.1, False), ("≤", 2, True), ("≤", 1.9, False),
     ("level with", 2.1, True), ("level with", 2.2, False), ("level with", 3.1, False)],
)
def test_the_median_decides_whether_a_limit_is_met(sign: str, value: float, is_met: bool) -> None:
    limit = Limit(sign, value)
    assert limit.is_met(Summary(1, 2, 3)) is is_met
    verdict = report.row(Comparison("work", "figure", limit, [1, 1, 2, 3, 3]))
    assert verdict == [
        "work", "figure", f"{sign} {value}", "2.00", "1.00 – 3.00", "yes" if is_met else "**no**"
    ]


def test_a_comparison_may_have_no_requirement() -> None:
    comparison = Comparison("work", "figure", None, [123.4])
    assert report.row(comparison) == ["work", "figure", "", "123", "123 – 123", ""]


def test_a_table_keeps_its_cells_apart() -> None:
    assert list(report.table(["", ""], [["- a", ""]])) == [
        ".. list-table::", "", "   *  - - a", "      -", ""
    ]


@pytest.mark.parametrize(
    "content_type, body, content",
    [
        ("application/octet-stream", b"--b\r\n", b"--b\r\n"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n'
            b'--b\r\nContent-Disposition: form-data; name="f"; filename="g"\r\n\r\n\r\n\r\ny\r\n'
            b"--b--\r\n",
            b"\r\n\r\ny",
        ),
    ],
)
def test_a_digest_is_that_of_the_file(content_type: str, body: bytes, content: bytes) -> None:
    headers = Message()
    headers["Content-Type"] = content_type
    assert digest(headers, body) == hashlib.sha256(content).hexdigest()


def test_a_form_without_a_file_has_no_digest() -> None:
    headers = Message()
    headers["Content-Type"] = "multipart/form-data; boundary=b"
    body = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--b--'
    assert digest(headers, body) == ""


def test_clients_see_no_settings_of_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("https_proxy", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "NETRC", "BEARER_TOKEN"):
        monkeypatch.setenv(name, "x")
    environment = clean_environment(tmp_path)
    assert "x" not in environment.values()
    assert environment["HOME"] == str(tmp_path)
