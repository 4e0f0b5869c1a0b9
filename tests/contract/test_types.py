"""What type checkers say to a user's module, on the strictest of their settings."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests

import requests_gracedb
from tests.conftest import TOP

SAMPLE = Path(__file__).with_name("typed_sample.py")
SETTINGS = {"typeCheckingMode": "strict", "reportUnnecessaryTypeIgnoreComment": "error"}
MYPY = "mypy", "--strict", "--no-error-summary", "--cache-dir=cache"
PYRIGHT = "pyright", f"--pythonpath={sys.executable}"

# pyright brings its own stubs.
needs_types = pytest.mark.skipif(
    not Path(requests.__file__).with_name("py.typed").exists(),
    reason=f"requests {requests.__version__} has no types, which mypy needs",
)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A directory with the module in it, from which our package is one that is installed."""
    shutil.copy(SAMPLE, tmp_path / "sample.py")
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(SETTINGS))
    return tmp_path


@pytest.mark.parametrize(
    "checker",
    [pytest.param(MYPY, id="mypy", marks=needs_types), pytest.param(PYRIGHT, id="pyright")],
)
def test_a_module_of_a_user_checks(checker: tuple[str, ...], elsewhere: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", *checker, "sample.py"],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(TOP)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_module_of_a_user_has_every_public_name() -> None:
    (imported,) = (
        {alias.name for alias in node.names}
        for node in ast.walk(ast.parse(SAMPLE.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "requests_gracedb"
    )
    assert imported == set(requests_gracedb.__all__)
