"""igwn-auth-utils: its own tests of token discovery pass with ours in the place of its own.

Left out are those that set ``SCITOKEN`` or ``SCITOKEN_FILE``, which WLCG discovery does not know,
and those of what is not discovery: validation, X.509, and where htgettoken is to write.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import TOP

TESTS = (
    "test_find_token_env_scitoken[BEARER_TOKEN]",
    "test_find_token_env_scitoken_file[BEARER_TOKEN_FILE]",
    "test_find_token_condor_creds",
    "test_find_condor_creds_no_env",
    "test_find_condor_creds_dir_missing",
    "test_find_condor_creds_dir_empty",
)


def test_the_tests_of_discovery_of_igwn_auth_utils_pass(tmp_path: Path) -> None:
    module = "igwn_auth_utils.tests.test_scitokens"
    plugins = "-p", "tests.ecosystem.igwn_shim", "-p", "no:cacheprovider"
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", os.devnull, *plugins, "-q", "--pyargs",
         *(f"{module}::{name}" for name in TESTS)],
        env={**os.environ, "PYTHONPATH": str(TOP)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(TESTS)} passed" in result.stdout
