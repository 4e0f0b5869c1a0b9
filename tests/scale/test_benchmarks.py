"""The benchmarks measure what they say, as far as they need no extra but that of the tests."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from benchmarks import __main__ as program
from benchmarks import bench as bench_module
from benchmarks import report, servers
from benchmarks.bench import Bench, new_environment, interleave
from benchmarks.clients import CLIENTS, Curl, GraceDB, Requests, Toolbelt
from benchmarks.rows import OURS, ROWS, Row

HERE = [GraceDB.name, Requests.name, Toolbelt.name]
NO_CURL = pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
ROW = Row("row", "work", "unit", "higher", lambda *_: 0, 0, [OURS, "peer"], {"peer": 2, OURS: 5})


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    directory = tmp_path_factory.mktemp("benchmarks")
    with ExitStack() as stack:
        urls = servers.start(stack, directory)
        yield Bench(stack, directory, urls, sys.executable, quick=True)


@pytest.fixture
def get(bench: Bench) -> Any:
    """What gets a page of the server without any of the clients."""
    def get(path: str) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(bench.urls["http"] + path)

    return get


def run_of(**samples: list[float]) -> dict[str, Any]:
    """A run with one row."""
    return {"rows": {"row": {OURS: samples["ours"], "peer": samples["peer"]}}}


def made_up_run(value: float) -> dict[str, Any]:
    """A run with every row, in which all clients are as good as each other."""
    rows = {row.name: {name: [value] for name in row.clients} for row in ROWS.values()}
    return {"rows": rows, "machine": {"Processor": "abacus"}, "seconds": 60}


# The clients and their jobs.


@pytest.mark.parametrize("name", [*HERE, pytest.param(Curl.name, marks=NO_CURL)])
def test_a_client_delivers_the_file(name: str, bench: Bench) -> None:
    bench.check([name, GraceDB.name])


def test_a_file_that_does_not_arrive_is_an_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "run", lambda name, *_, **__: name)
    with pytest.raises(RuntimeError, match="not every client delivers"):
        bench.check(HERE)


def test_a_client_that_fails_is_an_error(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RuntimeError, match="MultipartEncoder has failed at upload"):
        bench.run_fresh(Toolbelt.name, "upload", path="/none")
    assert "FileNotFoundError" in capfd.readouterr().err


@pytest.mark.parametrize("action", ["get", "upload", "upload_bytes"])
def test_an_action_is_timed(action: str, bench: Bench) -> None:
    argument = {"get": "/", "upload": bench.file(1000), "upload_bytes": 1000}[action]
    options = {"action": action, "argument": argument, "times": 3, "threads": 2}
    assert bench.run(GraceDB.name, "repeat", **options) > 0


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="Linux tells, others do not")
def test_the_memory_that_an_upload_adds_is_measured(bench: Bench) -> None:
    options = {"action": "upload", "argument": bench.file(16 * bench_module.MIB)}
    # requests holds the file and the form, and nothing else is that large.
    assert bench.run_fresh(Requests.name, "growth", **options)[0] == pytest.approx(32, abs=4)


def test_the_time_of_a_new_process_has_its_start_in_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_slowly(name: str) -> Any:
        time.sleep(0.5)
        return start(name)

    start = bench._start
    monkeypatch.setattr(bench, "_start", start_slowly)
    assert bench.run_fresh(GraceDB.name, "upload", path=bench.file(1000))[1] > 0.5


@pytest.mark.parametrize("path, number", [("/missing", 1), ("/close", 3)])
def test_connections_are_counted(path: str, number: int, bench: Bench) -> None:
    assert bench.run(GraceDB.name, "connections", path=path, times=3) == number


def test_imports_are_timed(bench: Bench) -> None:
    assert bench.import_(GraceDB.name) > 0


def test_files_have_the_size_that_was_asked_for(bench: Bench) -> None:
    large = 1025 * bench_module.MIB
    assert len(set(Path(bench.file(1000)).read_bytes())) > 100
    assert os.stat(bench.file(large)).st_size == large
    assert os.stat(bench.file(large)).st_blocks < 100


# The server and the relay.


def test_a_page_is_missing_and_an_answer_is_json(get: Any) -> None:
    assert (get("/").status_code, get("/missing").status_code) == (200, 404)
    assert get("/missing").headers["Content-Type"] == "application/json"


def test_the_server_says_for_how_long_it_keeps_a_connection(get: Any) -> None:
    assert get("/idle/2").headers["Keep-Alive"] == "timeout=2"
    assert "Keep-Alive" not in get("/idle/0.3").headers
    assert get("/close").headers["Connection"] == "close"


def test_an_upload_finds_that_the_server_has_closed_the_connection(bench: Bench) -> None:
    options = {"path": bench.file(1000), "to": "/idle/0.1", "pauses": [0, 1]}
    over_the_old, over_a_new = bench.run(GraceDB.name, "upload_after", "far", **options)
    # A new connection takes two round trips more, one of TCP and one of TLS.
    assert 0.04 < over_the_old
    assert 0.12 < over_a_new


def test_a_forgetful_relay_drops_what_comes_too_late(bench: Bench) -> None:
    options = {"path": bench.file(1000), "to": "/idle/9", "pauses": [0, servers.FORGET + 0.3]}
    settings = {"read_timeout": 1}
    in_time, late = bench.run(Requests.name, "upload_after", "forgetful", settings, **options)
    assert in_time is not None and late is None


# Turns.


def test_clients_take_turns_and_the_first_of_four_rounds_does_not_count(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_module, "time", SimpleNamespace(monotonic=count().__next__))
    calls: list[str] = []
    samples = interleave(lambda name: calls.append(name) or len(calls), "ABC", seconds=4)
    assert "".join(calls) == "ABCBCACABABC"
    assert samples == {"A": [6, 8, 10], "B": [4, 9, 11], "C": [5, 7, 12]}


@pytest.mark.parametrize("at_once", [False, True])
def test_there_is_one_round_at_least(at_once: bool) -> None:
    assert interleave(str.lower, "AB", 0, at_once) == {"A": ["a"], "B": ["b"]}


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_a_row_compares_us_with_clients_that_there_are(row: Row) -> None:
    assert row.clients[0] == OURS
    assert set(row.limits) <= set(row.clients) <= set(CLIENTS)
    assert row.better in ("higher", "lower")


@pytest.mark.parametrize("name", ["small", "timeouts", "get-cpu-no-env", "missing", "far-small"])
def test_a_row_is_measured(name: str, bench: Bench) -> None:
    assert ROWS[name].turn(bench, GraceDB.name) > 0


# Figures.


def test_a_ratio_is_that_of_the_same_round() -> None:
    run = run_of(ours=[2, 9, 8], peer=[1, 3, 2])
    assert report.figure([run], ROW, "peer", is_ratio=True)[:3] == (3, 2.5, 3.5)


def test_a_figure_is_the_median_of_the_runs_and_their_range() -> None:
    runs = [run_of(ours=[1, 2, 3], peer=[]), run_of(ours=[9], peer=[]), run_of(ours=[4], peer=[])]
    assert report.figure(runs, ROW, OURS) == (4, 2, 4, 2, 9)
    assert report.figure(runs, ROW, "peer") is None


@pytest.mark.parametrize(
    "ours, verdict, is_lost", [(6, "≥ 2: met", False), (2, "≥ 2: missed", True)]
)
def test_the_ratio_decides_whether_a_limit_is_met(
    ours: float, verdict: str, is_lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(ours=[ours], peer=[3])
    assert list(report.figures([run], ROW))[1][-1] == verdict
    monkeypatch.setattr(report, "ROWS", {"row": ROW})
    assert list(report.lost([run])) == (["work, unit: 2.00; peer 0.67"] if is_lost else [])


def test_what_was_measured_is_printed() -> None:
    lines = list(report.text([run_of(ours=[6], peer=[3])], ROW))
    assert lines[0] == "row: work, unit, higher is better"
    assert lines[2].split() == ["peer", "3.00", "3.00–3.00", "2.00", "2.00–2.00", "≥", "2:", "met"]


def test_the_page_has_every_row_and_client() -> None:
    page = report.page([made_up_run(3), made_up_run(5)])
    assert all(row.work in page for row in ROWS.values())
    assert all(f"``{client.usage}``" in page for client in CLIENTS.values())
    assert "medians of 2 runs" in page and "abacus" in page and "3.00–5.00" in page
    assert "\nNowhere.\n" in page


def test_a_page_is_written_from_saved_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "docs").mkdir()
    (tmp_path / "run").write_text(json.dumps(made_up_run(1)))
    monkeypatch.setattr(servers, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--write", str(tmp_path / "run")])
    program.main()
    assert sorted(path.name for path in (tmp_path / "docs").iterdir()) == [
        "benchmarks-memory.svg", "benchmarks-throughput.svg", "benchmarks.rst"
    ]


@pytest.mark.parametrize(
    "arguments, problem",
    [(["--rows", "none"], "invalid choice: 'none'"),
     (["--rows", "small", "--write"], "--write needs all rows")],
)
def test_what_makes_no_sense_is_refused(
    arguments: list[str], problem: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    with pytest.raises(SystemExit):
        program.main()
    assert problem in capsys.readouterr().err


def test_clients_see_no_settings_of_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("https_proxy", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "NETRC", "BEARER_TOKEN"):
        monkeypatch.setenv(name, "x")
    environment = new_environment(tmp_path)
    assert "x" not in environment.values()
    assert environment["HOME"] == str(tmp_path)
    assert len(environment) == 30
