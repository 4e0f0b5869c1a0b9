"""What is measured: the comparisons, and what is required of each.

Clients take turns, round by round, each in a process of its own. A ratio is that of two times of
the same round, so what slows the machine down for a while slows both.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from . import clients
from .clients import (
    Curl, Form, HttpClient, HttpClientLargeBlocks, Httpx, Legacy, Raw, Requests, Target, Toolbelt,
)
from .servers import ROOT, Server
from .workers import Worker, clean_environment

MIB = 1024 * 1024
FORM = Form.name
BUFFERED = Requests.name, Legacy.name  # They hold the whole body in memory.


class Summary(NamedTuple):
    """The middle of some figures, and the quartiles."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Summary:
        """Summarize figures.

        Parameters
        ----------
        samples : sequence of float

        Returns
        -------
        Summary
        """
        if len(samples) == 1:
            return cls(*samples, *samples, *samples)
        return cls(*statistics.quantiles(samples, n=4, method="inclusive"))


@dataclass(frozen=True)
class Limit:
    """What is required.

    Parameters
    ----------
    sign : str
        ``"≥"`` or ``"≤"``, of the median; or ``"level with"``, for which the upper quartile must be
        that, and the median at most 5 % less.
    value : float
    """

    sign: str
    value: float

    def is_met(self, summary: Summary) -> bool:
        """Tell whether figures are good enough.

        Parameters
        ----------
        summary : Summary

        Returns
        -------
        bool
        """
        if self.sign == "≤":
            return summary.median <= self.value
        if self.sign == "≥":
            return summary.median >= self.value
        return summary.high >= self.value and summary.median >= 0.95 * self.value


@dataclass(frozen=True)
class Comparison:
    """A line of the table of what is required.

    Parameters
    ----------
    work : str
        What was done.
    figure : str
        What the figures are.
    limit : Limit or None
        What is required of them.
    samples : sequence of float
    """

    work: str
    figure: str
    limit: Limit | None
    samples: Sequence[float]


Samples = dict[str, list[float]]


@dataclass
class Results:
    """All that was measured.

    Attributes
    ----------
    comparisons : list of Comparison
    throughput : dict
        Scheme to client to rounds, in MiB/s, for one size of file.
    sizes : dict
        Size to client to rounds, in seconds for an upload over TLS.
    memory : dict
        Size to client to runs, in bytes.
    requests : dict
        Kind of request to client to rounds, in seconds.
    """

    comparisons: list[Comparison] = field(default_factory=list)
    throughput: dict[str, Samples] = field(default_factory=dict)
    sizes: dict[int, Samples] = field(default_factory=dict)
    memory: dict[int, Samples] = field(default_factory=dict)
    requests: dict[str, Samples] = field(default_factory=dict)

    def compare(
        self, work: str, figure: str, limit: Limit | None, samples: Sequence[float]
    ) -> None:
        """Add a line to the table of what is required; see `Comparison`."""
        self.comparisons.append(Comparison(work, figure, limit, samples))


@dataclass(frozen=True)
class Settings:
    """How much to measure.

    Parameters
    ----------
    rounds : int
        How often each client has its turn.
    size : int
        Of a large file, in bytes.
    sizes : tuple of int
        Of the files for the plots.
    size_rounds : int
        How often each client has its turn with each of these.
    memory_sizes : tuple of int
        Of the files for which the memory is compared. The second and later ones are sparse,
        uploaded once, and not for clients that take as much memory.
    memory_rounds : int
    times : int
        How many small requests there are in a round.
    cpu_rounds, import_rounds : int
    """

    rounds: int = 11
    size: int = 256 * MIB
    sizes: tuple[int, ...] = (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1024 * MIB)
    size_rounds: int = 3
    memory_sizes: tuple[int, ...] = (256 * MIB, 4096 * MIB)
    memory_rounds: int = 3
    times: int = 300
    cpu_rounds: int = 100
    import_rounds: int = 60


QUICK = Settings(
    rounds=3,
    size=64 * MIB,
    sizes=(10_000, 10_000_000),
    size_rounds=2,
    memory_sizes=(256 * MIB,),
    memory_rounds=1,
    times=100,
    cpu_rounds=10,
    import_rounds=5,
)


class Progress(Protocol):
    """What shows how far it has come."""

    def __call__(self, description: str, total: int) -> Callable[[], object]:
        """Begin with something; the result is called after each of that many steps."""


class Bench:
    """The place where clients run.

    Parameters
    ----------
    settings : Settings
    server : Server
    directory : pathlib.Path
        For files to upload; empty. It serves as home directory, too.
    token_file, legacy_python : str
        See `clients.Target` and `workers.Worker`.
    progress : Progress
    """

    def __init__(
        self,
        settings: Settings,
        server: Server,
        directory: Path,
        token_file: str,
        legacy_python: str,
        progress: Progress,
    ) -> None:
        self.settings = settings
        self.progress = progress
        self.legacy_python = legacy_python
        self._directory = directory
        self._targets = {
            scheme: Target(url, server.ca_bundle, token_file)
            for scheme, url in (("https", server.https), ("http", server.http))
        }
        self.names = [name for name in clients.CLIENTS if name != Curl.name or shutil.which("curl")]

    @contextmanager
    def workers(self, names: Sequence[str], scheme: str = "https") -> Iterator[dict[str, Worker]]:
        """Run clients, those of the names that are available.

        Parameters
        ----------
        names : sequence of str
        scheme : str

        Yields
        ------
        dict
        """
        with ExitStack() as stack:
            workers = {}
            for name in names:
                if name in self.names:
                    workers[name] = self._worker(name, scheme)
                    stack.callback(workers[name].close)
            yield workers

    def run_fresh(self, name: str, job: str, **arguments: Any) -> Any:
        """Run a job in a process that has done nothing else; see `Worker.run`."""
        worker = self._worker(name, "https")
        try:
            return worker.run(job, **arguments)
        finally:
            worker.close()

    def interleave(
        self, description: str, rounds: int, jobs: Mapping[str, Callable[[], Any]]
    ) -> dict[str, list[Any]]:
        """Let jobs take turns; see `interleave`."""
        step = self.progress(description, len(jobs) * (rounds + 1))
        return interleave(jobs, rounds, step)

    @contextmanager
    def file(self, size: int, is_sparse: bool = False) -> Iterator[str]:
        """Make a file of random bytes, or of zeros that take no space.

        Parameters
        ----------
        size : int
        is_sparse : bool

        Yields
        ------
        str
            Its path.
        """
        path = self._directory / f"{size}.bin"
        with open(path, "wb") as file:
            while not is_sparse and file.tell() < size:
                file.write(os.urandom(min(size - file.tell(), MIB)))
            file.truncate(size)
        try:
            yield str(path)
        finally:
            path.unlink()

    def imports(self, python: str, module: str) -> float:
        """Import a module in a fresh interpreter.

        Parameters
        ----------
        python : str
            The path of the interpreter.
        module : str

        Returns
        -------
        float
            Seconds of CPU for the import.
        """
        clock = "time.process_time()"
        code = f"import time; start = {clock}; import {module}; print({clock} - start)"
        # Isolated, the other interpreter does not find the package that is here.
        isolated = [] if python == sys.executable else ["-I"]
        # Installed packages are compiled; what is in a source tree may not be allowed to stay so.
        environment = clean_environment(self._directory)
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = str(self._directory / "compiled")
        return float(subprocess.run(
            [python, *isolated, "-c", code],
            cwd=ROOT,
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
        ).stdout)

    def _worker(self, name: str, scheme: str) -> Worker:
        return Worker(name, self._targets[scheme], self._directory, self.legacy_python)


def run(bench: Bench) -> Results:
    """Make all comparisons.

    Parameters
    ----------
    bench : Bench

    Returns
    -------
    Results
    """
    results = Results()
    for measure in (
        check_deliveries, large_uploads, memory, small_uploads, from_memory, cpu, imports, errors,
        threads, sizes,
    ):
        measure(bench, results)
    return results


def interleave(
    jobs: Mapping[str, Callable[[], Any]], rounds: int, step: Callable[[], object]
) -> dict[str, list[Any]]:
    """Run each of some jobs once a round, and the first of a round last in the next one.

    Parameters
    ----------
    jobs : mapping
    rounds : int
        There is one more, which does not count: it fills caches.
    step : callable
        Called after each job.

    Returns
    -------
    dict
        For each job what it returned, round by round.
    """
    names = list(jobs)
    results: dict[str, list[Any]] = {name: [] for name in names}
    for _ in range(rounds + 1):
        for name in names:
            results[name].append(jobs[name]())
            step()
        names.append(names.pop(0))
    return {name: result[1:] for name, result in results.items()}


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Divide what belongs to the same round.

    Parameters
    ----------
    numerators, denominators : sequence of float

    Returns
    -------
    list of float
    """
    return [one / other for one, other in zip(numerators, denominators, strict=True)]


def check_deliveries(bench: Bench, results: Results) -> None:
    """Check that the file arrives whole with every client: no time counts otherwise.

    Parameters
    ----------
    bench : Bench
    results : Results

    Raises
    ------
    RuntimeError
        A client is used wrongly.
    """
    with bench.file(1_000_003) as path, bench.workers(bench.names) as workers:
        step = bench.progress("what arrives", len(workers))
        digests = {}
        for name, worker in workers.items():
            digests[name] = worker.run("digest", path=path)
            step()
    if len(set(digests.values())) != 1 or "" in digests.values():
        raise RuntimeError(f"not every client delivers the file: {digests}")


def large_uploads(bench: Bench, results: Results) -> None:
    """Compare uploads of a large file over TLS and over plain http."""
    size = bench.settings.size
    limits = {
        "https": {HttpClient.name: Limit("≥", 0.95), HttpClientLargeBlocks.name: Limit("≥", 0.95)},
        "http": {HttpClient.name: Limit("≥", 0.85), HttpClientLargeBlocks.name: Limit("≥", 0.85)},
    }
    others = {
        Requests.name: Limit("≥", 1.5),
        Legacy.name: Limit("≥", 1.5),
        Toolbelt.name: Limit("≥", 1.5),
        Httpx.name: Limit("level with", 1),
        Curl.name: Limit("level with", 1),
        Raw.name: Limit("level with", 1),
    }
    with bench.file(size) as path:
        for scheme, title in (("https", "TLS"), ("http", "plain http")):
            work = f"{size // MIB} MiB over {title}"
            with bench.workers(bench.names, scheme) as workers:
                seconds = bench.interleave(work, bench.settings.rounds, {
                    name: _job(worker, "time_uploads", path=path, times=1)
                    for name, worker in workers.items()
                })
            results.throughput[title] = {
                name: [size / MIB / second for second in samples]
                for name, samples in seconds.items()
            }
            for name, limit in {**limits[scheme], **others}.items():
                if name == Raw.name:
                    figure = f"throughput of {name} ÷ that of FormData"
                    results.compare(work, figure, limit, ratios(seconds[FORM], seconds[name]))
                elif name in seconds:
                    figure = f"throughput ÷ that of {name}"
                    results.compare(work, figure, limit, ratios(seconds[name], seconds[FORM]))


def memory(bench: Bench, results: Results) -> None:
    """Compare the memory that an upload takes, each in a fresh process."""
    settings = bench.settings
    plan = {}
    for size in sorted({*settings.sizes, *settings.memory_sizes}):
        plan[size, False] = bench.names * settings.memory_rounds
    for size in settings.memory_sizes[1:]:
        del plan[size, False]
        plan[size, True] = [name for name in bench.names if name not in BUFFERED]
    step = bench.progress("memory", sum(map(len, plan.values())))
    for (size, is_sparse), names in plan.items():
        with bench.file(size, is_sparse) as path:
            for name in names:
                samples = results.memory.setdefault(size, {}).setdefault(name, [])
                samples.append(bench.run_fresh(name, "peak_growth", path=path))
                step()
    for size in settings.memory_sizes:
        growth = [grown / MIB for grown in results.memory[size][FORM]]
        work = f"{size // MIB} MiB from disk"
        results.compare(work, "growth of memory at its peak, MiB", Limit("≤", 8), growth)


def small_uploads(bench: Bench, results: Results) -> None:
    """Compare uploads of a small file, one after the other over one connection."""
    settings = bench.settings
    names = FORM, Requests.name, Legacy.name, Toolbelt.name, Httpx.name
    work = f"100 kB over TLS, {settings.times} times"
    with bench.file(100_000) as path, bench.workers(names) as workers:
        seconds = bench.interleave(work, settings.rounds, {
            name: _job(worker, "time_uploads", path=path, times=settings.times)
            for name, worker in workers.items()
        })
    results.requests["POST, 100 kB"] = seconds
    for name in names[1:]:
        limit = None if name == Httpx.name else Limit("≥", 1)
        figure = f"throughput ÷ that of {name}"
        results.compare(work, figure, limit, ratios(seconds[name], seconds[FORM]))


def from_memory(bench: Bench, results: Results) -> None:
    """Compare requests' own ``files=`` through our adapter and without it."""
    size = 64 * MIB
    names = FORM, Requests.name
    for scheme, title in (("https", "TLS"), ("http", "plain http")):
        work = f"files= with 64 MiB in memory over {title}"
        with bench.workers(names, scheme) as workers:
            seconds = bench.interleave(work, bench.settings.rounds, {
                name: _job(worker, "time_uploads_from_memory", size=size)
                for name, worker in workers.items()
            })
        ratio = ratios(seconds[FORM], seconds[Requests.name])
        results.compare(work, "time ÷ that of requests", Limit("≤", 1.05), ratio)
    step = bench.progress("memory of files=", 2 * bench.settings.memory_rounds)
    growth: Samples = {name: [] for name in names}
    for _ in range(bench.settings.memory_rounds):
        for name in names:
            growth[name].append(bench.run_fresh(name, "peak_growth_from_memory", size=size) / MIB)
            step()
    more = [one - other for one, other in zip(growth[FORM], growth[Requests.name], strict=True)]
    figure = "growth of memory at its peak − that of requests, MiB"
    results.compare("files= with 64 MiB in memory", figure, Limit("≤", size / MIB), more)


def cpu(bench: Bench, results: Results) -> None:
    """Compare what a GET costs apart from the network, in rounds within one process."""
    settings = bench.settings
    work = "GET with a token, without network"
    step = bench.progress(work, 2)
    for name, limit in ((FORM, Limit("≤", 1.02)), (Legacy.name, None)):
        with bench.workers([name]) as workers:
            rounds = workers[name].run("cpu_of_gets", rounds=settings.cpu_rounds, times=100)
        own, plain, authenticated = map(list, zip(*rounds, strict=True))
        figure = f"CPU of {adapter_or(name)} ÷ that of requests with "
        results.compare(work, f"{figure}the same header", limit, ratios(own, plain))
        figure += "an auth object that sets it"
        results.compare(work, figure, None, ratios(own, authenticated))
        kind = results.requests.setdefault("GET, CPU without network", {})
        kind[name] = own
        kind.setdefault(Requests.name, authenticated)
        step()


def imports(bench: Bench, results: Results) -> None:
    """Compare what an import costs, in fresh interpreters."""
    python = bench.legacy_python
    bench.imports(sys.executable, "requests_gracedb")  # It is compiled the first time.
    seconds = bench.interleave("import", bench.settings.import_rounds, {
        "ours": lambda: bench.imports(sys.executable, "requests_gracedb"),
        "requests": lambda: bench.imports(sys.executable, "requests"),
        "legacy": lambda: bench.imports(python, "requests_gracedb"),
        "legacy requests": lambda: bench.imports(python, "requests"),
    })
    work = "import requests_gracedb"
    figure = "CPU ÷ that of import requests"
    ratio = ratios(seconds["ours"], seconds["requests"])
    results.compare(work, figure, Limit("≤", 1.05), ratio)
    ratio = ratios(seconds["legacy"], seconds["legacy requests"])
    results.compare(f"{work}, version 1.0.0", figure, None, ratio)


def errors(bench: Bench, results: Results) -> None:
    """Compare answers that are errors, one after the other, and those that are not."""
    settings = bench.settings
    times = 200
    names = FORM, Requests.name, Legacy.name, Httpx.name
    for path, kind in (("/", "GET"), ("/missing", "GET, 404")):
        work = f"{times} times {kind} over TLS"
        with bench.workers(names) as workers:
            timed = bench.interleave(work, settings.rounds, {
                name: _job(worker, "time_gets", path=path, times=times)
                for name, worker in workers.items()
            })
        seconds = {name: [second for second, _ in samples] for name, samples in timed.items()}
        results.requests[kind] = seconds
        is_error = path == "/missing"
        for name, limit in ((FORM, Limit("≤", 1)), (Legacy.name, None)) if is_error else ():
            connections = [float(number) for _, number in timed[name]]
            results.compare(work, f"connections of {adapter_or(name)}", limit, connections)
        for name, limit in ((Legacy.name, Limit("≥", 3)), (Requests.name, None)):
            limit = limit if is_error else None
            figure = f"requests per second ÷ those of {name}"
            results.compare(work, figure, limit, ratios(seconds[name], seconds[FORM]))


def threads(bench: Bench, results: Results) -> None:
    """Compare many threads that share a session."""
    settings = bench.settings
    names = FORM, Requests.name, Legacy.name, Httpx.name
    work = "16 threads, one session, over TLS"
    # Many short rounds: which thread has its turn when is chance, and more so than anything else.
    with bench.workers(names) as workers:
        seconds = bench.interleave(work, 3 * settings.rounds, {
            name: _job(worker, "time_threads", threads=16, times=settings.times // 10)
            for name, worker in workers.items()
        })
    results.requests["GET, 16 threads"] = seconds
    for name, limit in ((Requests.name, Limit("≥", 1)), (Legacy.name, None)):
        figure = f"requests per second ÷ those of {name}"
        results.compare(work, figure, limit, ratios(seconds[name], seconds[FORM]))


def sizes(bench: Bench, results: Results) -> None:
    """Time uploads of files of many sizes."""
    for size in bench.settings.sizes:
        times = max(1, min(20, 10_000_000 // size))
        with bench.file(size) as path, bench.workers(bench.names) as workers:
            results.sizes[size] = bench.interleave(f"{size:,} bytes", bench.settings.size_rounds, {
                name: _job(worker, "time_uploads", path=path, times=times)
                for name, worker in workers.items()
            })


def adapter_or(name: str) -> str:
    """Get the name of a client for requests without a form.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
    """
    return "GraceDBAdapter" if name == FORM else name


def _job(worker: Worker, job: str, **arguments: Any) -> Callable[[], Any]:
    return lambda: worker.run(job, **arguments)
