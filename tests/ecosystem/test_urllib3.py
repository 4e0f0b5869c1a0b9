"""GraceDBRetry does what urllib3's Retry does: urllib3's own tests of it say so."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import pytest

# What contradicts the table of GraceDBRetry, and how.
CONTRADICTIONS = {
    "test_retry_total_none": "a read timeout is final, unless read= says otherwise",
    "test_history": "a read timeout is final, unless read= says otherwise",
    "test_retry_other": "a failure of TLS is final, unless other= says otherwise",
    "test_string": "the repr shows retry_after_limit as well",
}

CONFTEST = '''
import pytest
from urllib3.util import retry

from requests_gracedb import GraceDBRetry


class Retry(GraceDBRetry):
    """With the defaults of urllib3."""

    def __init__(self, total=10, **kwargs):
        defaults = {
            "allowed_methods": retry.Retry.DEFAULT_ALLOWED_METHODS,
            "status_forcelist": None,
            "backoff_factor": 0,
            "backoff_max": retry.Retry.DEFAULT_BACKOFF_MAX,
            "backoff_jitter": 0,
            "raise_on_status": True,
            "retry_after_limit": float("inf"),
        }
        super().__init__(total, **{**defaults, **kwargs})


theirs, retry.Retry = retry.Retry, Retry


@pytest.fixture
def stub_timezone(request):
    from .tz_stub import stub_timezone_ctx

    with stub_timezone_ctx(request.param):
        yield
'''


@pytest.fixture
def tests_of_urllib3(tmp_path: Path) -> Path:
    """The tests of the urllib3 that is installed, from its source distribution."""
    download = [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:",
        "--dest", str(tmp_path), f"urllib3=={version('urllib3')}",
    ]
    result = subprocess.run(download, capture_output=True, text=True)
    archives = list(tmp_path.glob("urllib3-*.tar.gz"))
    if not archives:
        pytest.skip(f"no source of urllib3 can be had: {result.stderr.strip()[-200:]}")
    directory = tmp_path / "urllib3" / "test"
    directory.mkdir(parents=True)
    with tarfile.open(archives[0]) as archive:
        for member in archive.getmembers():
            name = Path(member.name)
            if name.parts[1:-1] == ("test",) and name.suffix == ".py":
                file = archive.extractfile(member)
                assert file is not None
                (directory / name.name).write_bytes(file.read())
    (directory / "conftest.py").write_text(CONFTEST)
    return directory


def test_the_tests_of_urllib3_pass_but_for_those_that_contradict_the_table(
    tests_of_urllib3: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.xml"
    subprocess.run(
        [
            sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist",
            "-p", "no:cov", f"--junit-xml={report}", "-c", os.devnull, "--rootdir",
            str(tests_of_urllib3.parent), "test/test_retry.py",
        ],
        cwd=tests_of_urllib3.parent,
        capture_output=True,
    )
    cases = list(ElementTree.parse(report).iter("testcase"))
    failed = {case.get("name") for case in cases if len(case)}
    assert len(cases) > 40
    assert failed == set(CONTRADICTIONS)
