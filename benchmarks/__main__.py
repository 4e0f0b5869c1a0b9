"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from . import measure, report
from .servers import ROOT, Server
from .workers import LEGACY_VERSION, legacy_python, write_token


def main() -> None:
    """Measure, show the figures, and write them down."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Compare requests-gracedb with what else there is."
    )
    parser.add_argument(
        "--quick", action="store_true", help="take two minutes, not a quarter of an hour"
    )
    parser.add_argument(
        "--output", type=Path, default=ROOT / "docs", metavar="DIR", help="default: docs"
    )
    arguments = parser.parse_args()
    settings = measure.QUICK if arguments.quick else measure.Settings()
    load = os.getloadavg()[0]
    results = _measure(settings)
    report.write(results, settings, load, arguments.output)
    _show(results)


def _measure(settings: measure.Settings) -> measure.Results:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with TemporaryDirectory() as name, Bars(*columns, TimeElapsedColumn()) as bars:
        home = Path(name)
        token_file = home / "token"
        write_token(token_file)

        def progress(description: str, total: int) -> Callable[[], object]:
            task = bars.add_task(description, total=total)
            return lambda: bars.advance(task)

        done = progress(f"environment of requests-gracedb {LEGACY_VERSION}", 1)
        legacy = legacy_python(ROOT / "build" / "benchmarks")
        done()
        with Server(home) as server:
            bench = measure.Bench(settings, server, home, str(token_file), legacy, progress)
            return measure.run(bench)


def _show(results: measure.Results) -> None:
    table = Table("Work", "Figure", "Required", "Median", "Quartiles", "Met")
    for comparison in results.comparisons:
        table.add_row(*(cell.replace("**", "") for cell in report.row(comparison)))
    Console().print(table)


if __name__ == "__main__":
    main()
