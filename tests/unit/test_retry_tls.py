"""A connection that breaks is a ConnectionError, over TLS as over http."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from requests_gracedb import FormData, GraceDBAdapter
from tests.conftest import Waits, mounted
from tests.loopback_server import LoopbackServer, drop, half_a_body
from tests.unit.retries import LARGE

Close = Callable[[socket.socket], None]


def close(connection: socket.socket) -> None:
    """Close a connection in its order, but without the end that TLS has."""
    connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def reset(connection: socket.socket) -> None:
    """Close a connection with a RST, as a kernel does whose process was killed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def killed_in_an_upload(context: ssl.SSLContext | None, kill: Close) -> Close:
    """Greet a client, and stop somewhere in its request."""

    def greet(connection: socket.socket) -> None:
        if context is not None:
            connection = context.wrap_socket(
                connection, server_side=True, suppress_ragged_eofs=False
            )
        connection.recv(65536)
        kill(connection)

    return greet


BODIES: dict[str, Callable[[], Any]] = {
    "bytes": lambda: LARGE,
    "form": lambda: FormData(files={"eventFile": LARGE}),
    "generator": lambda: iter([LARGE[:1000], LARGE]),
}


@pytest.fixture(params=[None, 0], ids=["default", "no retries"])
def session(request: pytest.FixtureRequest, ca_bundle: str) -> Iterator[requests.Session]:
    kwargs = {} if request.param is None else {"max_retries": request.param}
    with mounted(GraceDBAdapter(**kwargs), ca_bundle) as session:
        yield session


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize("kill", [close, reset], ids=lambda kill: kill.__name__)
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("kind", ["server", "tls_server"])
def test_a_server_that_is_killed_during_an_upload_is_a_connection_that_broke(
    kind: str,
    body: str,
    kill: Close,
    method: str,
    session: requests.Session,
    request: pytest.FixtureRequest,
    tls: ssl.SSLContext,
    waits: Waits,
) -> None:
    server: LoopbackServer = request.getfixturevalue(kind)
    context = tls if kind == "tls_server" else None
    server.greetings = [killed_in_an_upload(context, kill)] * 6
    with pytest.raises(requests.ConnectionError, match="(?i)connection (aborted|broken)") as caught:
        session.request(method, server.url, data=BODIES[body](), timeout=60)
    assert caught.type is requests.ConnectionError
    assert caught.value.request.url == f"{server.url}/"


@pytest.mark.parametrize("script", [drop, half_a_body], ids=["answer", "body"])
def test_an_answer_that_breaks_off_is_no_failure_of_tls(
    script: Any, session: requests.Session, tls_server: LoopbackServer, waits: Waits
) -> None:
    tls_server.answer = lambda received: script
    with pytest.raises(requests.RequestException) as caught:
        session.post(tls_server.url, data=b"an event")
    assert not isinstance(caught.value, requests.exceptions.SSLError)


def test_a_certificate_that_is_not_good_is_a_failure_of_tls(
    session: requests.Session, tls_server: LoopbackServer
) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        session.get(tls_server.url, verify=True)
