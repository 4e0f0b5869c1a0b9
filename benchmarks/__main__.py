"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import json
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from . import report, servers
from .bench import Bench, legacy_python
from .rows import ROWS


def main() -> None:
    """Measure and print; write the page of the documentation if asked to."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Compare requests-gracedb with what else there is."
    )
    parser.add_argument("--quick", action="store_true", help="three minutes instead of eight")
    parser.add_argument(
        "--rows", nargs="+", choices=ROWS, metavar="NAME", help=f"of {', '.join(ROWS)}"
    )
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep the figures, as JSON")
    parser.add_argument(
        "--write", type=Path, nargs="*", metavar="FILE",
        help="write docs/benchmarks.rst and its plots, from saved runs if any are given",
    )
    arguments = parser.parse_args()
    if arguments.rows and arguments.write is not None:
        parser.error("--write needs all rows")
    if arguments.write:
        runs = [json.loads(path.read_text()) for path in arguments.write]
    else:
        runs = [measure(arguments.rows or list(ROWS), arguments.quick)]
    if arguments.save:
        arguments.save.write_text(json.dumps(runs[0]))
    if arguments.write is not None:
        report.write(runs, servers.ROOT / "docs")


def measure(names: list[str], quick: bool) -> dict[str, Any]:
    """Measure rows, and print each when it is done."""
    run: dict[str, Any] = {"machine": report.machine(), "rows": {}}
    legacy = legacy_python(servers.ROOT / "build" / "benchmarks")
    start = time.monotonic()
    with TemporaryDirectory() as name, ExitStack() as stack:
        directory = Path(name)
        bench = Bench(stack, directory, servers.start(stack, directory), legacy, quick)
        bench.check(list(dict.fromkeys(client for row in ROWS.values() for client in row.clients)))
        for name in names:
            run["rows"][name] = ROWS[name].measure(bench)
            print("\n".join(report.text([run], ROWS[name])), flush=True)
    run["seconds"] = time.monotonic() - start
    print(f"{run['seconds']:.0f} seconds")
    return run


if __name__ == "__main__":
    main()
