"""The User-Agent header names the package, and the application that uses it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from requests_gracedb import UserAgentAdapter, __version__
from tests.conftest import mounted
from tests.loopback_server import LoopbackServer


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with mounted(UserAgentAdapter()) as session:
        yield session


def user_agent(server: LoopbackServer) -> str:
    return str(server.requests[-1].headers["User-Agent"])


def test_the_user_agent_is_the_name_and_version_of_the_package(
    session: requests.Session, server: LoopbackServer
) -> None:
    session.get(server.url)
    assert user_agent(server) == f"requests_gracedb/{__version__}"


def test_the_product_of_the_application_comes_first(
    session: requests.Session, server: LoopbackServer
) -> None:
    session.mount("http://", UserAgentAdapter(user_agent="my-pipeline/1.2"))
    session.get(server.url)
    assert user_agent(server) == f"my-pipeline/1.2 requests_gracedb/{__version__}"


def test_a_user_agent_that_the_session_sets_stays(
    session: requests.Session, server: LoopbackServer
) -> None:
    session.headers["User-Agent"] = "mine"
    session.get(server.url)
    assert user_agent(server) == "mine"


def test_a_user_agent_that_the_request_sets_stays(
    session: requests.Session, server: LoopbackServer
) -> None:
    session.get(server.url, headers={"User-Agent": "mine"})
    assert user_agent(server) == "mine"


def test_a_request_that_was_prepared_without_a_session_has_the_user_agent(
    session: requests.Session, server: LoopbackServer
) -> None:
    session.send(requests.Request("GET", server.url).prepare())
    assert user_agent(server) == f"requests_gracedb/{__version__}"


@pytest.mark.parametrize("product", ["a\r\nX: y", "a\nb", "a\0b", "Größe/1"])
def test_a_product_that_could_break_the_header_is_refused(product: str) -> None:
    with pytest.raises(ValueError, match="user_agent must be printable ASCII"):
        UserAgentAdapter(user_agent=product)
