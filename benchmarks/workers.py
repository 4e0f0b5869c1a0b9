"""The processes that the clients run in."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import clients
from .clients import Legacy, Target
from .servers import ROOT

LEGACY_VERSION = "1.0.0"


class Worker:
    """A client in a process of its own, which waits for jobs.

    Parameters
    ----------
    name : str
        Of the client, a key of `clients.CLIENTS`.
    target : Target
    home : pathlib.Path
        A directory without the settings of a user.
    legacy_python : str
        The interpreter for requests-gracedb 1.0.0.

    Raises
    ------
    RuntimeError
        The process has ended in the middle of a job.
    """

    def __init__(self, name: str, target: Target, home: Path, legacy_python: str) -> None:
        self._name = name
        command = [sys.executable, "-m", clients.__name__]
        if name == Legacy.name:
            # Isolated, it does not find the package that is being developed around here.
            command = [legacy_python, "-I", clients.__file__]
        self._process = subprocess.Popen(
            [*command, name, json.dumps(asdict(target))],
            cwd=ROOT,
            env=clean_environment(home),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, job: str, **arguments: Any) -> Any:
        """Do a job.

        Parameters
        ----------
        job : str
            The name of one of `clients.JOBS`.
        **arguments
            What it takes.

        Returns
        -------
        Any
            What it returns.
        """
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([job, arguments]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} has failed at {job}")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def clean_environment(home: Path) -> dict[str, str]:
    """Get the environment without what tells clients of proxies, certificates and credentials.

    Parameters
    ----------
    home : pathlib.Path
        The home directory instead of that of the user.

    Returns
    -------
    dict
    """
    names = "BEARER_TOKEN", "BEARER_TOKEN_FILE", "NETRC", "PYTHONPATH"
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().endswith(("_PROXY", "_CA_BUNDLE"))
        and not name.startswith("SSL_CERT_")
        and name not in names
    }
    return {**kept, "HOME": str(home), "XDG_RUNTIME_DIR": str(home)}


def write_token(path: Path) -> None:
    """Write a token that is good for a day. It is not signed: the server does not look at it.

    Parameters
    ----------
    path : pathlib.Path
    """
    path.touch(mode=0o600)
    path.write_text(".".join(
        base64.urlsafe_b64encode(part).decode().rstrip("=")
        for part in (
            b'{"alg": "RS256", "typ": "JWT"}',
            json.dumps({"exp": int(time.time()) + 86400}).encode(),
            b"signature" * 28,
        )
    ))


def legacy_python(directory: Path) -> str:
    """Install requests-gracedb 1.0.0, unless it is there, with the requests that we have.

    Parameters
    ----------
    directory : pathlib.Path
        Where to make a virtual environment.

    Returns
    -------
    str
        The path of its interpreter.

    Raises
    ------
    RuntimeError
        pip could not install it.
    """
    python = str(directory / "bin" / "python")
    versions = {"requests-gracedb": LEGACY_VERSION}
    versions.update((name, version(name)) for name in ("requests", "urllib3"))
    if not _has(python, versions):
        venv.EnvBuilder(clear=True, with_pip=True).create(directory)
        pinned = [f"{name}=={number}" for name, number in versions.items()]
        pip = [python, "-m", "pip", "install", "--quiet", *pinned]
        result = subprocess.run(pip, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if not _has(python, versions):
            raise RuntimeError(f"pip could not install {' '.join(pinned)}: {result.stdout}")
    return python


def _has(python: str, versions: Mapping[str, str]) -> bool:
    code = "import importlib.metadata as m, sys; print(*map(m.version, sys.argv[1:]))"
    command = [python, "-I", "-c", code, *versions]
    if not os.path.exists(python):
        return False
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False
    )
    return result.stdout.split() == [*versions.values()]
