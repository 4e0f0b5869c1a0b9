"""What was measured, as text, as a page of the documentation, and as plots.

A run is a dict: its ``rows`` are what each client measured, round by round.
"""

from __future__ import annotations

import os
import platform
import re
import ssl
import statistics
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from .bench import LEGACY_VERSION
from .clients import CLIENTS, Httpx, HttpxGraceDB, Legacy, Requests
from .rows import GROUPS, MEMORY_SIZES, OURS, ROWS, SIZES, Row

Runs = Sequence[dict[str, Any]]

TEMPLATE = Path(__file__).with_name("page.rst")

HEAD = ["Work", "Client", "Median", "Quartiles", "Runs", "Ratio", "Quartiles", "Runs", "Required"]
PLOTS = (
    ("throughput", {size: f"upload-{size}-tls" for size in SIZES},
     "Throughput of an upload over TLS (higher is better)", "MiB/s"),
    ("memory", {size: f"memory-{size}" for size in MEMORY_SIZES},
     "Memory that an upload takes (lower is better)", "growth at the peak, MiB"),
)
# In tones that can be seen on white and on black.
LINES = {
    OURS: ("#d9480f", "o-"),
    Httpx.name: ("#1c7ed6", "s-"),
    HttpxGraceDB.name: ("#2f9e44", "^-"),
    Requests.name: ("#868e96", "D-"),
    Legacy.name: ("#ae3ec9", "v--"),  # Often the same as requests.
}
GREY = dict.fromkeys(
    ["text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color"],
    "#868e96",
)
STYLE: Any = {
    **GREY, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.alpha": 0.3, "savefig.bbox": "tight", "svg.fonttype": "none",
    "svg.hashsalt": "requests-gracedb",  # The same figures make the same file.
}


class Figure(NamedTuple):
    """The median of all runs, the quartiles of all rounds, and the range of the runs."""

    median: float
    low: float
    high: float
    least: float
    most: float


def figure(runs: Runs, row: Row, client: str, is_ratio: bool = False) -> Figure | None:
    """Summarize what a client measured, or what we did in the same rounds divided by that."""
    samples = [run["rows"].get(row.name, {}).get(client, []) for run in runs]
    if is_ratio:
        samples = [
            [mine / other for mine, other in zip(run["rows"][row.name][OURS], others)]
            for run, others in zip(runs, samples) if others
        ]
    samples = [some for some in samples if some]
    if not samples:
        return None
    rounds = [sample for some in samples for sample in some]
    several = rounds if len(rounds) > 1 else rounds * 2
    low, _, high = statistics.quantiles(several, n=4, method="inclusive")
    medians = [statistics.median(some) for some in samples]
    return Figure(statistics.median(medians), low, high, min(medians), max(medians))


def is_met(row: Row, limit: float, value: float) -> bool:
    """Tell whether a value is as good as it must be."""
    return value >= limit if row.better == "higher" else value <= limit


def text(runs: Runs, row: Row) -> Iterator[str]:
    """Describe a row for the terminal."""
    yield f"{row.name}: {row.work}, {row.unit}, {row.better} is better"
    for _, *line in figures(runs, row):
        widths = 24, 8, 16, 0, 8, 16, 0, 0
        padded = [f"{cell:<{width}}" for cell, width in zip(line, widths)]
        yield f"    {''.join(padded)}".rstrip()


def figures(runs: Runs, row: Row) -> Iterator[list[str]]:
    """Show everything of a row, a line for each client; `HEAD` tells what it is."""
    work = f"{row.work}, {row.unit}, {row.better} is better"
    for client in row.clients:
        own = figure(runs, row, client)
        if own is None:
            continue
        is_ratio = row.is_ratio and client != OURS
        ratio = figure(runs, row, client, is_ratio=True) if is_ratio else None
        required = ""
        if client in row.limits:
            limit = row.limits[client]
            met = is_met(row, limit, (ratio or own).median)
            sign = "≥" if row.better == "higher" else "≤"
            required = f"{sign} {limit:g}: {'met' if met else 'missed'}"
        yield [work, client, *cells(own, runs), *cells(ratio, runs), required]
        work = ""


def write(runs: Runs, directory: Path) -> None:
    """Write ``benchmarks.rst`` and the plots."""
    for kind, sizes, title, axis in PLOTS:
        plot(runs, kind, sizes, title, axis, directory / f"benchmarks-{kind}.svg")
    (directory / "benchmarks.rst").write_text(page(runs), encoding="utf-8")


def page(runs: Runs) -> str:
    """Fill the figures in."""
    every = [line for row in ROWS.values() for line in figures(runs, row)]
    losses = [f"- {line}" for line in lost(runs)] or ["Nowhere."]
    usages = [f"{client.name}\n   ``{client.usage}``\n" for client in CLIENTS.values()]
    return TEMPLATE.read_text(encoding="utf-8").format(
        basis=basis(runs),
        losses="\n".join(losses),
        clients="\n".join(usages),
        machine=table(["", ""], runs[-1]["machine"].items()),
        figures=table(HEAD, every).rstrip(),
        **{group: compared(runs, rows) for group, rows in GROUPS.items()},
    )


def compared(runs: Runs, rows: Iterable[Row]) -> str:
    """Compare the clients, a column for each."""
    rows = [row for row in rows if figure(runs, row, OURS)]
    clients = [name for name in CLIENTS if any(name in row.clients for row in rows)]
    body = []
    for row in rows:
        line = [f"{row.work}, {row.unit}", row.better]
        for client in clients:
            shown = figure(runs, row, client, is_ratio=row.is_ratio and client != OURS)
            line.append(f"{number(shown.median)} ({span(shown.low, shown.high)})" if shown else "")
        body.append(line)
    return table(["Work", "Better", *clients], body)


def lost(runs: Runs) -> Iterator[str]:
    """Tell where another client is better, by more than 2 % or by one."""
    for row in ROWS.values():
        own = figure(runs, row, OURS)
        others = []
        for client in row.clients[1:] if own else ():
            other = figure(runs, row, client, row.is_ratio)
            if own and other:
                limit = 0.98 if row.better == "higher" else 1.02
                value = other.median if row.is_ratio else own.median - other.median
                if not is_met(row, limit if row.is_ratio else 0.99, value):
                    others.append(f"{client} {number(other.median)}")
        if own and others:
            yield f"{row.work}, {row.unit}: {number(own.median)}; {', '.join(others)}"


def plot(runs: Runs, kind: str, names: dict[int, str], title: str, axis: str, path: Path) -> None:
    """Plot rows against the size of the file."""
    from matplotlib import pyplot

    lines: dict[str, list[float]] = {}
    for client in LINES:
        found = [figure(runs, ROWS[name], client) for name in names.values()]
        lines[client] = [one.median for one in found if one]
    with pyplot.rc_context(STYLE):
        drawing, axes = pyplot.subplots(figsize=(7.5, 3.6))
        # The legend has the order in which the lines end.
        for client, values in sorted(lines.items(), key=lambda line: -line[1][-1]):
            color, style = LINES[client]
            width, size, order = (3, 8, 3) if client == OURS else (1.2, 5, 2)
            axes.plot(list(names), values, style, color=color, label=client, linewidth=width,
                      markersize=size, zorder=order)
        axes.set_title(title)
        axes.set_xlabel("size of the file, MiB")
        axes.set_ylabel(axis)
        axes.set_xscale("log", base=2)
        axes.set_xticks(list(names), [str(size) for size in names])
        if kind == "memory":
            axes.set_yscale("symlog", linthresh=1, base=4)
            axes.yaxis.set_major_formatter("{x:g}")
        axes.set_ylim(0, max(map(max, lines.values())) * (2 if kind == "memory" else 1.1))
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
        drawing.savefig(path, metadata={"Date": None}, transparent=True)
        pyplot.close(drawing)


def machine() -> dict[str, str]:
    """Describe this machine, and what is compared."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    curl = subprocess.run(["curl", "--version"], stdout=subprocess.PIPE, text=True, check=True)
    names = "requests", "urllib3", "httpx", "httpx-gracedb", "requests-toolbelt", "ligo-gracedb"
    return {
        "Date": date.today().isoformat(),
        "Processor": f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores",
        "Memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1024**3:.0f} GiB",
        "System": f"{platform.system()} {platform.release()}",
        "Load average when the run began": f"{os.getloadavg()[0]:.1f}",
        "Python": f"{platform.python_version()}, {ssl.OPENSSL_VERSION}",
        "requests-gracedb": f"{version('requests-gracedb')}, compared with {LEGACY_VERSION}",
        **{name: version(name) for name in names},
        "curl": " ".join(curl.stdout.split()[1:5:3]),
    }


def number(value: float) -> str:
    """Show a number with two decimals at most."""
    return f"{value:.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2}f}"


def span(low: float, high: float) -> str:
    """Show what is between two numbers."""
    return f"{number(low)}–{number(high)}"


def cells(shown: Figure | None, runs: Runs) -> list[str]:
    """Show a figure in three cells."""
    if shown is None:
        return ["", "", ""]
    between_runs = span(shown.least, shown.most) if len(runs) > 1 else ""
    return [number(shown.median), span(shown.low, shown.high), between_runs]


def basis(runs: Runs) -> str:
    """Tell what the figures are made of."""
    minutes = statistics.median(run["seconds"] for run in runs) / 60
    if len(runs) == 1:
        return f"Figures are medians of a run of {minutes:.1f} minutes."
    return (f"Figures are medians of {len(runs)} runs, of {minutes:.1f} minutes each. Quartiles are"
            " over\nall rounds, and the last table has the range over the runs.")


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Write a table in reStructuredText."""
    lines = [".. csv-table::", "   :class: figures", "   :delim: |"]
    if any(head):
        lines.append(f"   :header: {' | '.join(head)}")
    lines.append("")
    lines += [f"   {' | '.join(cells)}".rstrip() for cells in body]
    return "\n".join(lines) + "\n"
