"""SciTokenAuth, GraceDBAuth: a token that has expired, which GraceDB ignores without a word."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
import requests
from freezegun.api import FrozenDateTimeFactory

from requests_gracedb import GraceDBAuth
from tests.conftest import make_token, write_netrc, write_token
from tests.loopback_server import Answer, LoopbackServer
from tests.unit.credentials import NOON

SHORT = make_token(exp=NOON.timestamp() + 60, jti="short")
LONG = make_token(exp=NOON.timestamp() + 3600, jti="long")


def test_a_named_token_that_has_expired_is_no_credential(
    token_file: Path, clock: FrozenDateTimeFactory
) -> None:
    write_token(token_file, make_token(exp=NOON.timestamp() - 120))
    with pytest.raises(ValueError, match=f"{token_file} has a token that expired 2 min ago"):
        GraceDBAuth(token=token_file, fail_if_noauth=True)


def test_a_found_token_that_has_expired_is_no_credential(home: Path) -> None:
    write_token(home / f"bt_u{os.geteuid()}", make_token(exp=1))
    with pytest.raises(ValueError, match="no credential"):
        GraceDBAuth(fail_if_noauth=True)
    with pytest.raises(ValueError, match="expired"):
        GraceDBAuth(fail_if_noauth=True, auth_reload=True)


def test_nothing_is_sent_once_the_token_has_expired(
    token_file: Path, clock: FrozenDateTimeFactory, server: LoopbackServer
) -> None:
    write_token(token_file, SHORT)
    auth = GraceDBAuth(server.url, token=token_file, fail_if_noauth=True, auth_reload=True)
    requests.get(server.url, auth=auth)
    clock.tick(60)
    with pytest.raises(ValueError, match="expired 0 s ago"):
        requests.get(server.url, auth=auth)
    assert len(server.requests) == 1


def test_a_token_that_came_in_time_is_sent(
    token_file: Path, clock: FrozenDateTimeFactory, server: LoopbackServer
) -> None:
    write_token(token_file, SHORT)
    auth = GraceDBAuth(server.url, token=token_file, fail_if_noauth=True, auth_reload=True)
    clock.tick(60)
    write_token(token_file, LONG)
    requests.get(server.url, auth=auth)
    assert server.authorizations == [f"Bearer {LONG}"]


def test_a_request_to_another_server_needs_no_credential(
    token_file: Path,
    clock: FrozenDateTimeFactory,
    server: LoopbackServer,
    other_server: LoopbackServer,
) -> None:
    write_token(token_file, SHORT)
    auth = GraceDBAuth(server.url, token=token_file, fail_if_noauth=True)
    clock.tick(60)
    assert requests.get(other_server.url, auth=auth).ok
    assert other_server.authorizations == [None]


def test_without_fail_if_noauth_the_token_is_sent_with_one_warning(
    token_file: Path,
    clock: FrozenDateTimeFactory,
    server: LoopbackServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write_token(token_file, SHORT)
    auth = GraceDBAuth(server.url, token=token_file)
    clock.tick(60)
    for _ in range(3):
        requests.get(server.url, auth=auth)
    assert server.authorizations == [f"Bearer {SHORT}"] * 3
    [record] = [each for each in caplog.records if each.name == "requests_gracedb.scitoken"]
    assert record.levelno == logging.WARNING
    assert f"token file {token_file} holds a token that expired 0 s ago" in record.getMessage()


def test_the_next_token_that_expires_is_another_warning(
    token_file: Path, clock: FrozenDateTimeFactory, caplog: pytest.LogCaptureFixture
) -> None:
    write_token(token_file, SHORT)
    auth = GraceDBAuth(token=token_file, auth_reload=True)
    for token in (SHORT, LONG):
        write_token(token_file, token)
        clock.tick(3600)
        for _ in range(2):
            auth(requests.Request("GET", "https://gracedb.ligo.org/").prepare())
    assert len(caplog.records) == 2


def test_a_token_that_is_still_good_is_no_warning(
    token_file: Path, clock: FrozenDateTimeFactory, caplog: pytest.LogCaptureFixture
) -> None:
    write_token(token_file, SHORT)
    auth = GraceDBAuth(token=token_file)
    clock.tick(59)
    auth(requests.Request("GET", "https://gracedb.ligo.org/").prepare())
    assert caplog.records == []


def test_a_rejected_request_is_not_repeated_with_a_token_that_has_expired(
    token_file: Path, clock: FrozenDateTimeFactory, server: LoopbackServer
) -> None:
    write_token(token_file, SHORT)
    auth = GraceDBAuth(server.url, token=token_file, auth_reload=True, auth_reload_timeout=10)
    write_token(token_file, make_token(exp=1))
    server.script = [Answer(401)]
    assert requests.get(server.url, auth=auth).status_code == 401
    assert server.authorizations == [f"Bearer {SHORT}"]


def test_a_user_name_and_a_password_are_always_a_credential(home: Path) -> None:
    GraceDBAuth(username="user", password="password", fail_if_noauth=True)
    write_netrc(home, "machine gracedb.ligo.org login user password password")
    GraceDBAuth("https://gracedb.ligo.org/", fail_if_noauth=True)
