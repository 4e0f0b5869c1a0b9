"""What continuous integration runs, in environments of its own: ``nox -s tests-3.12``, say."""

from __future__ import annotations

from pathlib import Path

import nox

PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
# The oldest releases that setup.cfg allows.
OLDEST = "requests==2.32.3", "urllib3==2.0.*", "scitokens==1.8.*"

nox.options.default_venv_backend = "venv"


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run all tests."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def oldest(session: nox.Session) -> None:
    """Run all tests with the oldest dependencies."""
    session.install(".[test]", *OLDEST)
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Look for mistakes without running anything."""
    session.install(".[test]")
    session.run("flake8", "requests_gracedb", "tests", "examples", "benchmarks", "docs")
    session.run("mypy")
    session.run("lint-imports")
    session.run("bandit", "--quiet", "--recursive", "requests_gracedb")


@nox.session(default=False)
def spelling(session: nox.Session) -> None:
    """Check the spelling of documentation, docstrings and comments. It needs Node.js."""
    command = "npx", "--yes", "cspell@9", "lint", "--no-progress", "--config", "docs/cspell.json"
    session.run(*command, external=True)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    session.install(".[docs]")
    session.run("sphinx-build", "-W", "-n", "docs", "build/html")


@nox.session
def build(session: nox.Session) -> None:
    """Build what is released, and check it."""
    session.install("build", "twine")
    directory = Path(session.create_tmp())
    session.run("python", "-m", "build", "--outdir", str(directory))
    session.run("twine", "check", "--strict", *map(str, directory.iterdir()))
