"""Credentials to test with, and what becomes of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest
import requests
from requests.auth import AuthBase

from tests.conftest import basic, make_token

SECRET = "s3cret"
AT_LOCALHOST = "https://localhost/"
LOCALHOST = f"machine localhost login netrc password {SECRET}"
NETRC = basic("netrc", SECRET)

NOON = datetime(2100, 5, 4, 12, tzinfo=timezone.utc)
ONE = NOON.timestamp() + 3600
TWO = ONE + 3600
OLD = make_token(name="old", exp=ONE)
NEW = make_token(name="new", exp=TWO)


def sent(auth: AuthBase, url: str = AT_LOCALHOST) -> str | None:
    """Get the Authorization header that a request would have."""
    value = requests.Request("GET", url, auth=auth).prepare().headers.get("Authorization")
    assert value is None or isinstance(value, str)
    return value


def give_files_to(monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    """Let the files of this process belong to another user; only root could really do so."""
    own = os.geteuid()

    def changed(stat: Callable[..., os.stat_result]) -> Callable[..., os.stat_result]:
        def changed_stat(*args: Any, **kwargs: Any) -> os.stat_result:
            status = stat(*args, **kwargs)
            if status.st_uid != own:
                return status
            return os.stat_result([*status[:4], uid, *status[5:10]])

        return changed_stat

    monkeypatch.setattr(os, "stat", changed(os.stat))
    monkeypatch.setattr(os, "fstat", changed(os.fstat))
