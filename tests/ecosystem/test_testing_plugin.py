"""The plug-in of pytest, in a user's project, from the installed wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from textwrap import dedent

import pytest

pytest_plugins = ["pytester"]

TOP = Path(__file__).parent.parent.parent
SOURCES = ["setup.cfg", "setup.py", "README.rst", "LICENSE", "pytest_requests_gracedb.py"]

CONFTEST = """
import pytest


@pytest.fixture
def upload(gracedb_session, gracedb_server):
    def upload(content):
        data = {"group": "Test", "pipeline": "gstlal"}
        files = {"eventFile": ("coinc.xml", content)}
        url = f"{gracedb_server.url}events/"
        return gracedb_session.post(url, data=data, files=files).json()["graceid"]

    return upload
"""
TESTS = """
import pytest
import requests


@pytest.mark.parametrize("attempt", [1, 2])
def test_each_test_begins_with_nothing(upload, attempt):
    assert upload(b"<LIGO_LW/>") == "T0001"


def test_errors_are_raised_with_what_the_server_says(gracedb_session, gracedb_server):
    with pytest.raises(requests.HTTPError, match="404"):
        gracedb_session.get(f"{gracedb_server.url}superevents/S1/")


def test_a_fault_is_survived(gracedb_session, gracedb_server):
    gracedb_server.fault("502-gateway")
    assert gracedb_session.get(gracedb_server.url).status_code == 200


def test_and_forgotten(gracedb_session, gracedb_server):
    gracedb_server.fault("502-gateway", times=None)


def test_by_the_next(gracedb_session, gracedb_server):
    assert gracedb_session.get(gracedb_server.url).status_code == 200
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this source."""
    # A copy: what is built is left behind where it was built.
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        shutil.copy(TOP / name, source)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(TOP / "requests_gracedb", source / "requests_gracedb", ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir",
               str(source / "dist"), str(source)]
    result = subprocess.run(command, capture_output=True, text=True)
    if "No matching distribution" in result.stderr or "ConnectionError" in result.stderr:
        pytest.skip("setuptools cannot be fetched to build the wheel")
    assert result.returncode == 0, result.stderr
    [path] = (source / "dist").iterdir()
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the wheel is installed."""
    directory = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile",
         "--target", str(directory), str(wheel)],
        check=True, capture_output=True,
    )
    return directory


@pytest.fixture
def project(
    pytester: pytest.Pytester, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """A user's project, in an environment with the wheel."""
    monkeypatch.setenv("PYTHONPATH", str(installed))
    monkeypatch.delenv("COV_CORE_SOURCE", raising=False)
    pytester.makeconftest(CONFTEST)
    return pytester


def test_a_project_uses_the_fixtures(project: pytest.Pytester) -> None:
    project.makepyfile(TESTS)
    project.runpytest_subprocess().assert_outcomes(passed=6)


def test_the_tests_of_the_guide_pass(project: pytest.Pytester) -> None:
    guide = (TOP / "docs" / "guides" / "testing.rst").read_text()
    blocks = re.findall(r"\.\. code-block:: python\n\n((?:   .*\n|\n)+)", guide)
    tests = [dedent(block) for block in blocks if "def test_" in block or "def upload" in block]
    project.makepyfile("\n".join(tests))
    project.runpytest_subprocess().assert_outcomes(passed=5)


def test_the_fixtures_are_listed_with_what_they_are(project: pytest.Pytester) -> None:
    output = project.runpytest_subprocess("--fixtures").stdout.str()
    assert "gracedb_server -- " in output and "Get a GraceDB with nothing in it" in output


def test_the_plugin_imports_nothing_until_a_fixture_is_used(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import sys

        def test_imports():
            heavy = {"requests_gracedb", "django", "trustme", "scitokens"}
            assert heavy.isdisjoint(sys.modules)
            assert "pytest_requests_gracedb" in sys.modules
    """)
    project.runpytest_subprocess("-p", "no:cov").assert_outcomes(passed=1)


def test_the_plugin_spoils_the_coverage_of_nobody(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import requests_gracedb.timeout

        def test_nothing():
            pass
    """)
    result = project.runpytest_subprocess("--cov=requests_gracedb", "--cov-report=term")
    lines = [line for line in result.outlines if "requests_gracedb/__init__.py" in line]
    assert lines and lines[0].endswith("100%")


def test_without_the_extra_it_says_which_one_to_install(project: pytest.Pytester) -> None:
    project.makeconftest("import sys; sys.modules['trustme'] = None")
    project.makepyfile("def test_upload(gracedb_session): pass")
    result = project.runpytest_subprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([
        "*requests_gracedb.testing needs trustme: pip install 'requests-gracedb[[]testing]'"
    ])


def test_the_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size < 150_000


def test_the_wheel_has_two_names_at_its_top(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "requests_gracedb", "pytest_requests_gracedb.py"
    }


def test_nothing_else_imports_the_gracedb_for_tests() -> None:
    code = "import requests_gracedb, sys; sys.exit('requests_gracedb.testing' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0
