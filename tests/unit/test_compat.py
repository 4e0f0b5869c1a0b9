"""For code that was written against requests-gracedb 1."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import requests

from requests_gracedb import FormData, GraceDBAdapter, Session
from requests_gracedb.testing import GraceDBServer
from tests.conftest import basic, make_token, write_netrc, write_token
from tests.loopback_server import LoopbackServer


def test_session_makes_a_plain_session() -> None:
    with Session() as session:
        assert type(session) is requests.Session


def test_session_is_a_function() -> None:
    assert inspect.isfunction(Session)


def test_the_parameters_of_session_are_those_of_version_1() -> None:
    parameters = inspect.signature(Session).parameters.values()
    assert [(parameter.name, parameter.default) for parameter in parameters] == [
        ("url", None),
        ("token", None),
        ("username", None),
        ("password", None),
        ("force_noauth", False),
        ("fail_if_noauth", False),
        ("auth_reload", False),
        ("auth_reload_timeout", 300),
    ]


@pytest.mark.parametrize("prefix", ["https://", "http://"])
def test_the_session_has_the_adapter(prefix: str) -> None:
    with Session() as session:
        assert isinstance(session.get_adapter(f"{prefix}gracedb.ligo.org/"), GraceDBAdapter)


def test_the_session_sends_the_token(server: LoopbackServer, token_file: Path) -> None:
    with Session(server.url, token=token_file) as session:
        session.get(server.url)
    assert server.authorizations == [f"Bearer {token_file.read_text()}"]


def test_the_session_sends_user_name_and_password(server: LoopbackServer) -> None:
    with Session(server.url, username="user", password="password") as session:
        session.get(server.url)
    assert server.authorizations == [basic("user", "password")]


def test_the_session_sends_the_credential_to_the_server_of_the_url_only(
    server: LoopbackServer, other_server: LoopbackServer, token_file: Path
) -> None:
    with Session(server.url, token_file) as session:
        session.get(other_server.url)
    assert other_server.authorizations == [None]


def test_with_force_noauth_the_session_sends_no_credential(
    home: Path, server: LoopbackServer
) -> None:
    write_netrc(home, "machine localhost login user password password")
    with Session(server.url, force_noauth=True) as session:
        session.get(server.url)
    assert server.authorizations == [None]


def test_with_fail_if_noauth_no_credential_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="no credential found"):
        Session("https://gracedb.ligo.org/api/", fail_if_noauth=True)


def test_the_session_reloads_the_token(server: LoopbackServer, token_file: Path) -> None:
    write_token(token_file, make_token(exp=0))
    with Session(server.url, token_file, auth_reload=True, auth_reload_timeout=1) as session:
        renewed = write_token(token_file, make_token(name="second")).read_text()
        session.get(server.url)
    assert server.authorizations == [f"Bearer {renewed}"]


def test_the_session_raises_with_the_explanation_as_version_1_did(
    gracedb: GraceDBServer, tmp_path: Path
) -> None:
    path = tmp_path / "coinc.xml"
    path.write_text("<LIGO_LW/>")
    token = write_token(tmp_path / "token", gracedb.token())
    form = FormData({"group": "Nonsense", "pipeline": "gstlal"}, {"eventFile": (str(path), None)})
    with Session(gracedb.url, token) as session:
        session.verify = gracedb.ca_bundle
        with pytest.raises(requests.HTTPError, match="group: .*Nonsense is not"):
            session.post(f"{gracedb.url}events/", data=form)
