"""Auth objects of the same source are equal, and no secret is hashed for that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scitokens import SciToken

from requests_gracedb import BasicAuth, GraceDBAuth, NetrcAuth, NoAuth, SciTokenAuth
from requests_gracedb.credential import CredentialAuth
from tests.conftest import write_netrc, write_token

URL = "https://gracedb.ligo.org/api/"
SCITOKEN = SciToken()
SCITOKEN._serialized_token = "token"


class KeyAuth(CredentialAuth):
    """A class of the user's own."""

    def __init__(self, key: str) -> None:
        self._key = key


SAME: dict[str, Callable[[Path], Any]] = {
    "token file": lambda path: SciTokenAuth(path),
    "token file by str": lambda path: SciTokenAuth(str(path), auth_reload=True),
    "bytes": lambda path: SciTokenAuth(b"token"),
    "SciToken": lambda path: SciTokenAuth(SCITOKEN),
    "basic": lambda path: BasicAuth("user", "password"),
    "netrc": lambda path: NetrcAuth(),
    "netrc for a URL": lambda path: NetrcAuth(URL),
    "none": lambda path: NoAuth(),
    "GraceDBAuth with a token": lambda path: GraceDBAuth(URL, token=path),
    "GraceDBAuth without a URL": lambda path: GraceDBAuth(token=path),
    "GraceDBAuth with a password": lambda path: GraceDBAuth(username="user", password="password"),
    "GraceDBAuth with another": lambda path: GraceDBAuth(username="user", password="other"),
    "GraceDBAuth that fails": lambda path: GraceDBAuth(URL, token=path, fail_if_noauth=True),
    "another token file": lambda path: SciTokenAuth(write_token(path.with_name("other"), "token")),
    "other bytes": lambda path: SciTokenAuth(b"other"),
    "a class of one's own": lambda path: KeyAuth("key"),
    "the same with another key": lambda path: KeyAuth("other"),
    "something else": lambda path: "token",
}


@pytest.fixture(autouse=True)
def netrc(home: Path) -> None:
    """A netrc file with something in it."""
    write_netrc(home, "machine gracedb.ligo.org login user password password")


@pytest.mark.parametrize("name", SAME)
def test_auth_objects_of_the_same_source_are_equal(name: str, token_file: Path) -> None:
    first, second = SAME[name](token_file), SAME[name](token_file)
    assert first == second
    assert hash(first) == hash(second)


@pytest.mark.parametrize("name", SAME)
def test_auth_objects_of_different_sources_are_not_equal(name: str, token_file: Path) -> None:
    auth = SAME[name](token_file)
    others = [SAME[other](token_file) for other in SAME if other != name]
    assert not any(auth == other for other in others)


def test_auth_objects_of_different_netrc_files_are_not_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth = NetrcAuth()
    monkeypatch.setenv("NETRC", str(tmp_path / "other"))
    assert auth != NetrcAuth()
