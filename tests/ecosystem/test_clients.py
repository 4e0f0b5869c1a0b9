"""The tests of those who know GraceDB pass: of its official client, and of gracedb-sdk.

They are fetched as they are published, and not kept. ``$GRACEDB_CLIENTS`` may name a directory that
has them already.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from requests_gracedb.testing import GraceDBServer

TOP = Path(__file__).parent.parent.parent
CLIENTS = ("ligo-gracedb==2.16.1", "gracedb-sdk==0.2.1")

# What does not pass, and why.
PYCBC = "fails by intention: its authors have no file to upload"
NOTICES = "skips itself: the server that it was written for cannot do that yet"
OLD = "skips itself: GraceDB creates no VOEvents any more"
KAFKA = "skips itself: GraceIDs are reserved for uploads by Kafka only"
CREATES_VOEVENTS = "was written for an older GraceDB, which created VOEvents"
PERMISSION = "is skipped by its authors, who lack a permission"
NEW = "was written for the current GraceDB, which creates no VOEvents"

LIGO_GRACEDB = {
    "test_create_pycbc": PYCBC,
    "test_create_list_and_fetch_notice": NOTICES,
    "test_create_notice_superevent_id_mismatch": NOTICES,
    "test_voevents": OLD,
    "test_preliminary_voevent[superevent]": OLD,
    "test_initial_voevent[superevent]": OLD,
    "test_update_voevent[superevent]": OLD,
    "test_retraction_voevent[superevent]": OLD,
    "test_reserve_graceid_with_replay_id": KAFKA,
    "test_reserve_graceid_with_malformed_replay_id_is_rejected": KAFKA,
}
LIGO_GRACEDB_OF_OLD = {
    **{name: reason for name, reason in LIGO_GRACEDB.items() if reason != OLD},
    "test_event_voevents_deprecated": NEW,
    "test_superevent_voevent_create_deprecated": NEW,
}
GRACEDB_SDK_OF_OLD = {
    "test_superevents_expose": PERMISSION,
    "test_superevents_signoff_operator[OK]": PERMISSION,
    "test_superevents_signoff_operator[NO]": PERMISSION,
    "test_superevents_signoff_advocate[OK]": PERMISSION,
    "test_superevents_signoff_advocate[NO]": PERMISSION,
}
GRACEDB_SDK = {
    **GRACEDB_SDK_OF_OLD,
    "test_events_voevents_create": CREATES_VOEVENTS,
    "test_events_voevents_get": CREATES_VOEVENTS,
    "test_superevents_voevents_create": CREATES_VOEVENTS,
    "test_superevents_voevents_get": CREATES_VOEVENTS,
}


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sources of the clients, and their tests."""
    directory = tmp_path_factory.mktemp("clients")
    fetched = os.environ.get("GRACEDB_CLIENTS")
    if fetched is None:
        fetched = str(directory)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                   "--no-binary", ":all:", "--dest", fetched, *CLIENTS]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            pytest.skip(f"the clients cannot be fetched: {result.stderr}")
    for path in Path(fetched).glob("*.tar.gz"):
        with tarfile.open(path) as archive:
            archive.extractall(directory, filter="data")
    return directory


def outcomes(
    clients: Path, tmp_path: Path, server: GraceDBServer, client: str, **settings: str
) -> tuple[set[str], set[str]]:
    """Run the tests of a client, and tell which pass and which do not."""
    name, tests, source = {
        "ligo-gracedb": ("ligo_gracedb", "ligo/gracedb/test/integration", "."),
        "gracedb-sdk": ("gracedb_sdk", "tests/test_api.py", "src"),
    }[client]
    [top] = clients.glob(f"{name}-*/")
    results = tmp_path / "results.xml"
    command = [sys.executable, "-m", "pytest", "-p", "over_our_adapter", "-p", "no:cacheprovider",
               "-p", "no:xdist", f"--junitxml={results}", tests]
    path = [str(Path(__file__).parent), str(top / source), str(TOP)]
    environment = {
        **os.environ, **user(server, tmp_path), "CLIENT": client, "TEST_REPLAY_ID": "1",
        "PYTHONPATH": os.pathsep.join(path), **settings,
    }
    result = subprocess.run(command, cwd=top, env=environment, capture_output=True, text=True)
    assert results.exists(), result.stdout + result.stderr
    passed, others = set(), set()
    for case in ElementTree.parse(results).iter("testcase"):
        name = f"{case.get('classname')} {case.get('name')}"
        (passed if not len(case) else others).add(name)
    return passed, {name.partition(" ")[2] for name in others}


def user(server: GraceDBServer, tmp_path: Path) -> dict[str, str]:
    """What somebody has in their environment who wants to talk to this server."""
    token_file = tmp_path / "token"
    token_file.touch(mode=0o600)
    token_file.write_text(server.token())
    return {
        "BEARER_TOKEN_FILE": str(token_file),
        "REQUESTS_CA_BUNDLE": server.ca_bundle,
        "SSL_CERT_FILE": server.ca_bundle,
        "TEST_SERVICE": server.url,
        "XDG_CACHE_HOME": str(tmp_path),
    }


@pytest.mark.parametrize("version", ["", "v1", "v2"])
def test_the_official_client_passes_its_tests_but_those_that_are_listed(
    clients: Path, tmp_path: Path, version: str
) -> None:
    with GraceDBServer() as server:
        passed, others = outcomes(clients, tmp_path, server, "ligo-gracedb", API_VERSION=version)
    assert others == LIGO_GRACEDB.keys()
    assert len(passed) == 99


def test_the_official_client_passes_more_of_its_tests_with_an_older_server(
    clients: Path, tmp_path: Path
) -> None:
    with GraceDBServer(voevents=True) as server:
        passed, others = outcomes(
            clients, tmp_path, server, "ligo-gracedb", TEST_VOEVENT_CREATE="1"
        )
    assert others == LIGO_GRACEDB_OF_OLD.keys()
    assert len(passed) == 102


def test_gracedb_sdk_passes_its_tests_but_those_that_are_listed(
    clients: Path, tmp_path: Path
) -> None:
    with GraceDBServer() as server:
        passed, others = outcomes(clients, tmp_path, server, "gracedb-sdk")
    assert others == GRACEDB_SDK.keys()
    assert len(passed) == 60


def test_gracedb_sdk_passes_all_tests_with_an_older_server(clients: Path, tmp_path: Path) -> None:
    with GraceDBServer(voevents=True) as server:
        passed, others = outcomes(clients, tmp_path, server, "gracedb-sdk")
    assert others == GRACEDB_SDK_OF_OLD.keys()
    assert len(passed) == 64
