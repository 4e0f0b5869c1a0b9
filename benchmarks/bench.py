"""Where the clients run, and how they take their turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import clients
from .clients import CLIENTS, Legacy
from .servers import ROOT

MIB = 1024 * 1024
LEGACY_VERSION = "1.0.0"
# As many as a login shell has, give or take a few.
VARIABLES = 30
# It expires in 2100. Nobody looks at the signature, which is as long as a real one.
TOKEN = f"eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjQxMDI0NDQ4MDB9.{'signature' * 36}"

Samples = dict[str, list[Any]]


class Bench:
    """The place where clients run, each in a process of its own, which waits for jobs."""

    def __init__(
        self, stack: ExitStack, directory: Path, urls: dict[str, str], legacy_python: str,
        quick: bool = False,
    ) -> None:
        self.quick = quick
        self._clients = stack.enter_context(ExitStack())
        self._directory = directory
        self.urls = urls
        self._legacy_python = legacy_python
        self._environment = new_environment(directory)
        self._processes: dict[str, subprocess.Popen[str]] = {}
        token = directory / "token"
        token.touch(mode=0o600)
        token.write_text(TOKEN)
        self._shared = {"ca_bundle": urls["ca_bundle"], "token_file": str(token)}

    def run(
        self, name: str, job: str, url: str = "https", settings: Mapping[str, Any] | None = None,
        process: subprocess.Popen[str] | None = None, **arguments: Any,
    ) -> Any:
        """Have a client do a job, in the process that it has unless told otherwise."""
        process = process or self._processes.get(name)
        if process is None:
            process = self._processes[name] = self._clients.enter_context(self._start(name))
        assert process.stdin and process.stdout
        target = {"url": self.urls[url], **self._shared, **(settings or {})}
        print(json.dumps([target, job, arguments]), file=process.stdin, flush=True)
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{name} has failed at {job}")
        return json.loads(line)

    def run_fresh(
        self, name: str, job: str, url: str = "https", **arguments: Any
    ) -> tuple[Any, float]:
        """Have a new process do a job, and tell also how many seconds it took, its start too."""
        start = time.perf_counter()
        with self._start(name) as process:
            result = self.run(name, job, url, process=process, **arguments)
            return result, time.perf_counter() - start

    def end_clients(self) -> None:
        """End the processes of the clients; the next job of each starts another."""
        self._clients.close()
        self._processes.clear()

    def file(self, size: int) -> str:
        """Make a file of random bytes; of more than 1 GiB, of zeros that take no space."""
        path = self._directory / f"{size}.bin"
        if not path.exists():
            with open(path, "wb") as file:
                while size <= 1024 * MIB and file.tell() < size:
                    file.write(os.urandom(min(size - file.tell(), MIB)))
                file.truncate(size)
        return str(path)

    def import_(self, name: str) -> float:
        """Import the module of a client in a new interpreter, and tell the seconds of CPU."""
        now = "time.process_time()"
        code = f"import time; start = {now}; import {CLIENTS[name].module}; print({now} - start)"
        python, isolated = self._interpreter(name)
        command = [python, *isolated, "-c", code]
        return float(subprocess.check_output(command, cwd=ROOT, env=self._environment))

    def check(self, names: Sequence[str]) -> None:
        """Check that a file arrives whole with every client: no figure counts otherwise."""
        path = self.file(1_000_003)
        digests = {name: self.run(name, "upload", path=path, to="/digest") for name in names}
        if len(set(digests.values())) != 1:
            raise RuntimeError(f"not every client delivers the file: {digests}")

    def _interpreter(self, name: str) -> tuple[str, list[str]]:
        # Isolated, it does not find the package that is being developed around here.
        return (self._legacy_python, ["-I"]) if name == Legacy.name else (sys.executable, [])

    def _start(self, name: str) -> subprocess.Popen[str]:
        python, isolated = self._interpreter(name)
        program = [clients.__file__] if isolated else ["-m", clients.__name__]
        return subprocess.Popen(
            [python, *isolated, *program, name], cwd=ROOT, env=self._environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )


def interleave(
    turn: Callable[[str], Any], names: Sequence[str], seconds: float, at_once: bool = False
) -> Samples:
    """Give each client a turn a round, and the first of a round the last in the next one.

    It goes on for some time after the first round, which does not count if there are more than
    three: it fills caches. ``at_once`` is for turns that only wait.
    """
    names = list(names)
    samples: Samples = {name: [] for name in names}
    end, rounds = 0.0, 0
    with ThreadPoolExecutor(len(names)) as executor:
        while not rounds or time.monotonic() < end:
            for name, sample in zip(names, (executor.map if at_once else map)(turn, names)):
                samples[name].append(sample)
            names.append(names.pop(0))
            end = end or time.monotonic() + seconds
            rounds += 1
    return {name: some[1:] if rounds > 3 else some for name, some in samples.items()}


def new_environment(home: Path) -> dict[str, str]:
    """Make an environment that is the same for everybody, with `VARIABLES` variables.

    requests goes through all of them at each request, so their number counts.
    """
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_RUNTIME_DIR": str(home),
                   # Modules are compiled, even if that is forbidden where the source is.
                   "PYTHONPYCACHEPREFIX": str(home / "compiled")}
    for number in range(VARIABLES - len(environment)):
        environment[f"VARIABLE_{number}"] = "of no importance"
    return environment


def legacy_python(directory: Path) -> str:
    """Install requests-gracedb 1.0.0, unless it is there, with the requests that we have."""
    pinned = [f"requests-gracedb=={LEGACY_VERSION}"]
    pinned += [f"{name}=={version(name)}" for name in ("requests", "urllib3")]
    python = directory / "bin" / "python"
    installed = directory / "installed"
    if not installed.exists() or installed.read_text() != " ".join(pinned):
        venv.EnvBuilder(clear=True, with_pip=True).create(directory)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *pinned], check=True)
        installed.write_text(" ".join(pinned))
    return str(python)
