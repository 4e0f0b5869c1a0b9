"""What was measured, as a page of the documentation and as plots."""

from __future__ import annotations

import os
import platform
import ssl
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests_gracedb

from .clients import CLIENTS, Curl
from .measure import FORM, MIB, Comparison, Results, Settings, Summary, adapter_or
from .workers import LEGACY_VERSION

if TYPE_CHECKING:
    from matplotlib.axes import Axes

UPLOADS = "benchmarks-uploads.svg"
REQUESTS = "benchmarks-requests.svg"

_LIBRARIES = "requests", "urllib3", "httpx", "requests-toolbelt"
_STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "savefig.bbox": "tight",
    "svg.fonttype": "none",
    # The same figures make the same file.
    "svg.hashsalt": "requests-gracedb",
}


def write(results: Results, settings: Settings, load: float, directory: Path) -> None:
    """Write ``benchmarks.rst`` and the plots.

    Parameters
    ----------
    results : measure.Results
    settings : measure.Settings
    load : float
        How busy the machine was when the run began.
    directory : pathlib.Path
        Where to write them.
    """
    directory.mkdir(exist_ok=True)
    plot_uploads(results, directory / UPLOADS)
    plot_requests(results, directory / REQUESTS)
    page = "\n".join(lines(results, settings, load)) + "\n"
    (directory / "benchmarks.rst").write_text(page, encoding="utf-8")


def lines(results: Results, settings: Settings, load: float) -> Iterator[str]:
    """Write the page.

    Parameters
    ----------
    results : measure.Results
    settings : measure.Settings
    load : float

    Yields
    ------
    str
        A line.
    """
    required = [comparison for comparison in results.comparisons if comparison.limit]
    missed = [comparison for comparison in required if not is_met(comparison)]
    yield from _heading("Benchmarks", "=")
    yield from [
        "This page was written by ``python -m benchmarks``, figures and all; the extra",
        "``[benchmark]`` has what that takes. With ``--quick`` it is short, and less exact.",
        "",
        "All clients talk to one server on loopback, which throws away what it gets. They take",
        "turns, each in a process of its own. A ratio is that of two times of the same round; the",
        f"tables have the median of all rounds, {settings.rounds} most often, and the quartiles,",
        "or ± half of what is between these. Where ≥ is required, or nothing but throughput or",
        "requests per second compared, more is better. Over TLS the server has nearly as much to",
        "do as the fastest clients, which brings those closer together than they are.",
        "",
    ]
    yield from _heading("What is required, and what was measured", "-")
    yield from table(
        ["Work", "Figure", "Required", "Median", "Quartiles", "Met"],
        [row(comparison) for comparison in results.comparisons],
    )
    yield f"{len(required) - len(missed)} of {len(required)} requirements are met: ≥ and ≤ by the"
    yield "median, “level with” by the upper quartile, if the median is 0.95 or more."
    yield ""
    yield from _uploads(results, settings)
    yield from _requests(results)
    yield from _heading("How each client is used", "-")
    yield from table(
        ["Client", "Upload"], [[client.name, f"``{client.usage}``"] for client in CLIENTS.values()]
    )
    yield from [
        "Uploads begin with the connection open, the CA certificate loaded, and the file in the",
        "page cache. http.client and the raw upload send the bare file, the others a form. Without",
        "more, http.client reads 8 KiB at a time. Of curl the transfer is timed (``time_total`` −",
        "``time_pretransfer``), not the start of the process, and its memory is that of the whole",
        "process, where that of the others is what an upload adds. All send a bearer token; the",
        "two requests-gracedb read it from a file, and look whether it is still good.",
        "requests gets it from an auth object: with a header of the session, it would look for a",
        "netrc file.",
        "",
    ]
    yield from _heading("Machine and versions", "-")
    yield from table(["", ""], [list(pair) for pair in environment(load).items()])


def row(comparison: Comparison) -> list[str]:
    """Show a comparison.

    Parameters
    ----------
    comparison : measure.Comparison

    Returns
    -------
    list of str
    """
    summary = Summary.of(comparison.samples)
    limit = comparison.limit
    return [
        comparison.work,
        comparison.figure,
        f"{limit.sign} {limit.value:g}" if limit else "",
        number(summary.median),
        f"{number(summary.low)} – {number(summary.high)}",
        ("yes" if is_met(comparison) else "**no**") if limit else "",
    ]


def is_met(comparison: Comparison) -> bool:
    """Tell whether the figures of a comparison are as required.

    Parameters
    ----------
    comparison : measure.Comparison

    Returns
    -------
    bool
    """
    limit = comparison.limit
    return limit is None or limit.is_met(Summary.of(comparison.samples))


def number(value: float) -> str:
    """Show a number with two decimals at most.

    Parameters
    ----------
    value : float

    Returns
    -------
    str
    """
    return f"{value:.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2}f}"


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> Iterator[str]:
    """Write a table in reStructuredText.

    Parameters
    ----------
    head : sequence of str
        None but empty ones for no head.
    body : iterable of sequence of str

    Yields
    ------
    str
        A line.
    """
    yield ".. list-table::"
    if any(head):
        yield "   :header-rows: 1"
    yield ""
    for cells in [head, *body] if any(head) else body:
        for lead, cell in zip(["   *  -", *["      -"] * len(cells)], cells, strict=False):
            yield f"{lead} {cell}".rstrip()
    yield ""


def environment(load: float) -> dict[str, str]:
    """Describe this machine, and what was compared.

    Parameters
    ----------
    load : float

    Returns
    -------
    dict
    """
    described = {
        "Date": date.today().isoformat(),
        "Processor": f"{_processor()}, {os.cpu_count()} cores",
        "Memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1024**3:.0f} GiB",
        "System": f"{platform.system()} {platform.release()}",
        "Load average when the run began": f"{load:.1f}",
        "Python": f"{platform.python_version()}, {ssl.OPENSSL_VERSION}",
        "requests-gracedb": f"{requests_gracedb.__version__}, compared with {LEGACY_VERSION}",
        **{name: version(name) for name in _LIBRARIES},
    }
    try:
        curl = subprocess.run(["curl", "--version"], stdout=subprocess.PIPE, text=True, check=True)
        described[Curl.name] = " ".join(curl.stdout.split()[1:5:3])
    except FileNotFoundError:
        described[Curl.name] = "not there"
    return described


def plot_uploads(results: Results, path: Path) -> None:
    """Plot throughput and memory against size.

    Parameters
    ----------
    results : measure.Results
    path : pathlib.Path
        Of the SVG file to write.
    """
    from matplotlib import pyplot

    with pyplot.rc_context(_STYLE):
        figure, (above, below) = pyplot.subplots(2, sharex=True, figsize=(7.5, 7))
        _plot_by_size(above, results.sizes, lambda size, seconds: size / MIB / seconds)
        above.set_ylabel("throughput over TLS, MiB/s")
        above.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
        _plot_by_size(below, results.memory, lambda _, grown: max(grown, 0) / MIB)
        below.set_ylabel("growth of memory at its peak, MiB")
        below.set_yscale("symlog", linthresh=1)
        below.set_xlabel("size of the file, bytes")
        for axes in (above, below):
            axes.set_xscale("log")
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)


def plot_requests(results: Results, path: Path) -> None:
    """Plot the time of a request of each kind.

    Parameters
    ----------
    results : measure.Results
    path : pathlib.Path
        Of the SVG file to write.
    """
    from matplotlib import pyplot

    clients = list(dict.fromkeys(name for kind in results.requests.values() for name in kind))
    with pyplot.rc_context(_STYLE):
        figure, axes = pyplot.subplots(figsize=(7.5, 1 + 0.9 * len(results.requests)))
        height = 0.8 / len(clients)
        for index, name in enumerate(clients):
            label = adapter_or(name)
            for place, kind in enumerate(results.requests.values()):
                if name in kind:
                    low, median, high = Summary.of([1e3 * seconds for seconds in kind[name]])
                    axes.errorbar(
                        median,
                        place + (index - (len(clients) - 1) / 2) * height,
                        xerr=[[median - low], [high - median]],
                        color=_color(name),
                        label=label if label not in _labels(axes) else None,
                        marker="o",
                        markersize=8 if name == FORM else 5,
                        linestyle="",
                    )
        axes.set_yticks(range(len(results.requests)), list(results.requests))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("{x:g}")
        axes.set_xlabel("time of a request, ms (median and quartiles)")
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)


def _plot_by_size(
    axes: Axes,
    samples: Mapping[int, Mapping[str, list[float]]],
    scale: Callable[[int, float], float],
) -> None:
    for name in CLIENTS:
        sizes = sorted(size for size in samples if name in samples[size])
        summaries = [
            Summary.of([scale(size, sample) for sample in samples[size][name]]) for size in sizes
        ]
        axes.plot(
            sizes,
            [summary.median for summary in summaries],
            color=_color(name),
            label=name,
            linewidth=2.5 if name == FORM else 1.2,
            marker="o",
            markersize=3,
            zorder=3 if name == FORM else 2,
        )
        axes.fill_between(
            sizes,
            [summary.low for summary in summaries],
            [summary.high for summary in summaries],
            color=_color(name),
            alpha=0.12,
            linewidth=0,
        )


def _color(name: str) -> str:
    return f"C{list(CLIENTS).index(name)}"


def _labels(axes: Axes) -> list[str]:
    return axes.get_legend_handles_labels()[1]


def _uploads(results: Results, settings: Settings) -> Iterator[str]:
    yield from _heading("Uploads", "-")
    yield from table(
        ["Client", *(f"{settings.size // MIB} MiB over {title}, MiB/s" for title in
                     results.throughput),
         *(f"{size // MIB} MiB, growth of memory, MiB" for size in settings.memory_sizes)],
        [
            [
                name,
                *(_cell(samples.get(name)) for samples in results.throughput.values()),
                *(_cell(results.memory[size].get(name), 1 / MIB) for size in settings.memory_sizes),
            ]
            for name in CLIENTS
        ],
    )
    yield from [
        f".. image:: {UPLOADS}",
        "   :alt: Throughput and memory of uploads by size of the file, for every client",
        "",
    ]


def _requests(results: Results) -> Iterator[str]:
    yield from _heading("Time of a request", "-")
    clients = list(dict.fromkeys(name for kind in results.requests.values() for name in kind))
    yield from table(
        ["Client", *(f"{kind}, ms" for kind in results.requests)],
        [
            [adapter_or(name), *(_cell(kind.get(name), 1e3) for kind in results.requests.values())]
            for name in clients
        ],
    )
    yield "With 16 threads, it is the time of the run divided by the number of requests."
    yield ""
    yield from [f".. image:: {REQUESTS}", "   :alt: Time of a request by kind and client", ""]


def _cell(samples: Sequence[float] | None, unit: float = 1) -> str:
    """Show the median, and half of what is between the quartiles."""
    if not samples:
        return ""
    low, median, high = Summary.of([sample * unit for sample in samples])
    return f"{number(median)} ± {number((high - low) / 2)}"


def _heading(title: str, line: str) -> list[str]:
    return [title, line * len(title), ""]


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            models = [line.split(":", 1)[1] for line in file if line.startswith("model name")]
    except OSError:
        models = []
    return models[0].strip() if models else platform.machine()
