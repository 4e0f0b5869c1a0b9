"""Whoever waits at a terminal is told within five seconds what is wrong."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from examples.quickstart import look_around
from requests_gracedb.help import main
from tests.conftest import Waits, make_token, write_token
from tests.loopback_server import Answer, LoopbackServer, drop, silence, silence_at_once
from tests.unit.retries import unused_port

SECONDS = 5


@pytest.fixture(autouse=True)
def token(home: Path) -> None:
    """Without a credential there is nothing to check."""
    write_token(home / f"bt_u{os.geteuid()}", make_token())


def check(url: str) -> str:
    """Run ``python -m requests_gracedb --check``, in this process."""
    return f"exit {main([url, '--check'])}"


def quickstart(url: str) -> str:
    """Run ``python -m examples --url``, in this process."""
    with pytest.raises((OSError, ValueError)) as caught:
        look_around(url)
    return type(caught.value).__name__


@contextmanager
def black_hole() -> Iterator[str]:
    """A port where packets vanish: nobody takes the one connection that it has room for."""
    with socket.socket() as listening, socket.socket() as first:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        first.connect(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"


@pytest.fixture(params=["nobody", "black hole", "silence", "silence in the handshake"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a server that does not answer."""
    if request.param == "nobody":
        yield f"http://127.0.0.1:{unused_port()}/"
    elif request.param == "black hole":
        with black_hole() as url:
            yield url
    elif request.param == "silence":
        server: LoopbackServer = request.getfixturevalue("server")
        server.answer = lambda received: silence
        yield f"{server.url}/"
    else:
        server = request.getfixturevalue("tls_server")
        server.greetings = [silence_at_once] * 6
        yield f"{server.url}/"


@pytest.mark.parametrize("ask", [check, quickstart])
def test_a_server_that_does_not_answer_is_told_at_once(ask: Callable[[str], str], url: str) -> None:
    start = time.monotonic()
    assert ask(url) in ("exit 1", "ConnectionError", "ConnectTimeout", "ReadTimeout")
    assert time.monotonic() - start < SECONDS


@pytest.mark.parametrize("ask", [check, quickstart])
@pytest.mark.parametrize("script", [Answer(503), Answer(429, {"Retry-After": "1"}), drop])
def test_nothing_is_tried_again(
    script: object, ask: Callable[[str], str], server: LoopbackServer, waits: Waits
) -> None:
    server.answer = lambda received: script  # type: ignore[return-value,assignment]
    ask(f"{server.url}/")
    assert len(server.requests) == 1
    assert waits == []
