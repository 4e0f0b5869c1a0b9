"""What is measured: a row for each kind of work, with the clients that do it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .bench import MIB, Bench, Samples, interleave
from .clients import Curl, GraceDB, Httpx, HttpxGraceDB, Legacy, LigoGraceDB, Requests, Toolbelt

OURS = GraceDB.name
PEERS = OURS, Requests.name, Legacy.name, Httpx.name, HttpxGraceDB.name
UPLOADERS = *PEERS, Toolbelt.name
FAR = *PEERS, LigoGraceDB.name

SIZES = 1, 4, 16, 64, 256
MEMORY_SIZES = 1, 16, 64, 256
# Seconds, around those after which the server closes a connection.
GAPS = [1.90 + step / 50 for step in range(9)]

Turn = Callable[[Bench, str], Any]


@dataclass(frozen=True)
class Row:
    """Something that clients are compared at, in turns that go on for some seconds.

    The figure of a peer is shown as a ratio, unless ``is_ratio`` is false. ``limits`` has for a
    peer the worst ratio that is allowed, and for us the worst figure.

    What takes little time depends on where things are in memory, so that a process may be faster
    than the next by some percent for as long as it lives. ``processes`` is how many each client
    gets, one after the other.
    """

    name: str
    work: str
    unit: str
    better: str
    turn: Turn
    seconds: float
    clients: Sequence[str] = PEERS
    limits: Mapping[str, float] = field(default_factory=dict)
    is_ratio: bool = True
    at_once: bool = False
    processes: int = 1

    def measure(self, bench: Bench) -> Samples:
        """Let the clients take turns, for a fifth of the time if it is to be quick."""
        seconds, processes = self.seconds, self.processes
        if bench.quick:
            seconds, processes = seconds / 5, -(-processes // 5)
        samples: Samples = {name: [] for name in self.clients}
        for _ in range(processes):
            if processes > 1:
                bench.end_clients()
            more = interleave(
                lambda name: self.turn(bench, name), self.clients, seconds / processes, self.at_once
            )
            for name in samples:
                samples[name] += more[name]
        return samples


def repeat(
    action: str, argument: Any, url: str = "https", settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> Turn:
    """Time an action in milliseconds; the argument of an upload is the size of the file."""
    def turn(bench: Bench, name: str) -> float:
        what = bench.file(argument) if action == "upload" else argument
        options.update(action=action, argument=what)
        return 1e3 * float(bench.run(name, "repeat", url, settings, **options))

    return turn


def rate(turn: Turn, amount: float = 1) -> Turn:
    """Turn the time of a turn into what is done in a second."""
    return lambda bench, name: amount * 1e3 / turn(bench, name)


def growth(action: str, size: int) -> Turn:
    """Measure the memory of an action, in a new process."""
    return lambda bench, name: bench.run_fresh(
        name, "growth", action=action,
        argument=bench.file(size * MIB) if action == "upload" else size * MIB,
    )[0]


def after(url: str, idle: float, pauses: list[float], **settings: Any) -> Turn:
    """Upload after pauses to a server that closes what is idle for some seconds."""
    return lambda bench, name: bench.run(
        name, "upload_after", url, settings, path=bench.file(100_000), to=f"/idle/{idle}",
        pauses=pauses,
    )


def from_disk(size: int, title: str, seconds: float, **options: Any) -> Row:
    """Make a row for uploads of a file."""
    url = "http" if title == "http" else "https"
    turn = rate(repeat("upload", size * MIB, url, times=max(1, 8 // size)), size)
    clients = (*UPLOADERS, Curl.name) if size >= 64 else UPLOADERS
    return Row(f"upload-{size}-{title.lower()}", f"{size} MiB from disk over {title}", "MiB/s",
               "higher", turn, seconds, clients, **options)


def memory(name: str, work: str, action: str, size: int, **options: Any) -> Row:
    """Make a row for the memory of uploads."""
    return Row(name, f"{size} MiB {work} over TLS", "MiB of memory more, at the peak", "lower",
               growth(action, size), 0, is_ratio=False, **options)


SMALL = repeat("upload", 100_000, times=30)
NO_ENV = {"trust_env": False}
NO_TIMEOUTS = {"connect_timeout": None, "read_timeout": None}
SMALL_NO_TIMEOUTS = repeat("upload", 100_000, settings=NO_TIMEOUTS, times=30)
CPU: dict[str, Any] = {"url": "http", "times": 50, "clock": "process_time"}
FASTER = {Requests.name: 1.5, Legacy.name: 1.5, Httpx.name: 0.95}
LEVEL = {Requests.name: 0.98, Legacy.name: 0.98}
CLOSED = after("far", 0.3, [0.8])
FORGOTTEN = after("forgetful", 2, [2.5] * 4, read_timeout=3)
RACE = after("far", 2, GAPS)

GROUPS = {
    "uploads": [
        *(from_disk(size, "TLS", 4) for size in (1, 4, 16)),
        from_disk(64, "TLS", 10, limits=FASTER),
        from_disk(256, "TLS", 20, limits=FASTER),
        from_disk(64, "http", 6, limits=FASTER),
        from_disk(256, "http", 11, limits=FASTER),
        *(Row(f"files-64-{url}", f"64 MiB in memory by files= over {title}", "ms", "lower",
              repeat("upload_bytes", 64 * MIB, url), 9, limits={Requests.name: 1.2})
          for url, title in [("https", "TLS"), ("http", "http")]),
        # Last, because it takes a minute. Connections that are idle for so long are closed, and new
        # ones may be slow at first.
        *(memory(f"memory-{size}", "from disk", "upload", size, clients=clients, limits={OURS: 8})
          for size, clients in [*((size, UPLOADERS) for size in MEMORY_SIZES), (4096, [OURS])]),
        memory("files-64-memory", "in memory by files=", "upload_bytes", 64, limits={OURS: 72}),
    ],
    "requests": [
        Row("small", "100 kB over TLS, 300 and more on one connection", "uploads/s", "higher",
            rate(SMALL), 15, UPLOADERS, LEVEL, processes=15),
        Row("small-no-env", "100 kB over TLS, trust_env=False", "uploads/s", "higher",
            rate(repeat("upload", 100_000, settings=NO_ENV, times=30)), 12, limits=LEVEL,
            processes=15),
        Row("timeouts", "100 kB over TLS, what timeouts cost", "× the time without", "lower",
            lambda bench, name: SMALL(bench, name) / SMALL_NO_TIMEOUTS(bench, name), 15,
            is_ratio=False, processes=10),
        Row("get-cpu", "GET over http", "ms of CPU", "lower", repeat("get", "/", **CPU), 17,
            limits={Requests.name: 1}, processes=25),
        Row("get-cpu-no-env", "GET over http, trust_env=False", "ms of CPU", "lower",
            repeat("get", "/", settings=NO_ENV, **CPU), 8, limits={Requests.name: 1},
            processes=15),
        Row("threads", "GET over TLS, 16 threads with one session", "requests/s", "higher",
            rate(repeat("get", "/", times=160, threads=16)), 12, limits={Requests.name: 0.98},
            processes=15),
        Row("missing", "GET over TLS, status 404", "requests/s", "higher",
            rate(repeat("get", "/missing", times=50)), 8,
            limits={Requests.name: 0.95, Legacy.name: 3}, processes=10),
        Row("missing-connections", "GET over TLS, status 404, 100 times", "connections", "lower",
            lambda bench, name: bench.run(name, "connections", path="/missing", times=100), 0,
            limits={OURS: 1}, is_ratio=False),
        Row("connect", "GET over a new TLS connection", "ms", "lower",
            repeat("get", "/close", times=5), 6),
        Row("connect-cpu", "GET over a new TLS connection", "ms of CPU", "lower",
            repeat("get", "/close", times=5, clock="process_time"), 6),
        Row("import", "import", "ms of CPU", "lower",
            lambda bench, name: 1e3 * bench.import_(name), 14, limits={Requests.name: 1.05}),
    ],
    "network": [
        Row("far-first", "A new process: import, token, connection, 100 kB", "ms", "lower",
            lambda bench, name: 1e3 * bench.run_fresh(
                name, "upload", "far", path=bench.file(100_000))[1],
            18, FAR),
        Row("far-small", "100 kB, 100 times and more, one thread", "ms each", "lower",
            repeat("upload", 100_000, "far", times=25), 20, FAR),
        Row("far-threads", "100 kB, 100 times and more, eight threads", "ms each", "lower",
            repeat("upload", 100_000, "far", times=100, threads=8), 10, FAR),
        Row("far-64", "64 MiB from disk", "MiB/s", "higher",
            rate(repeat("upload", 64 * MIB, "far"), 64), 12, FAR),
        Row("far-closed", "100 kB after a pause; the server has closed the connection", "ms",
            "lower",
            # A failure, which should be none, counts as the time after which all give up.
            lambda bench, name: 1e3 * (CLOSED(bench, name)[0] or 120), 14, FAR),
        Row("far-forgotten", "100 kB after a pause; a firewall has dropped the connection",
            "failures of 4", "lower", lambda bench, name: FORGOTTEN(bench, name).count(None), 8,
            FAR, is_ratio=False, at_once=True),
        Row("far-race", "100 kB while the server is closing the connection",
            f"failures of {len(GAPS)}", "lower",
            lambda bench, name: RACE(bench, name).count(None), 8, FAR, is_ratio=False,
            at_once=True),
    ],
}
ROWS = {row.name: row for rows in GROUPS.values() for row in rows}
