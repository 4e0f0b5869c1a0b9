"""ErrorAdapter: an answer that is odd, or made to hurt, is an error like any other."""

from __future__ import annotations

import json
import tracemalloc

import pytest
import requests

from tests.loopback_server import Answer, LoopbackServer

MIB = 1024 * 1024


def message(session: requests.Session, server: LoopbackServer, body: bytes, kind: str) -> str:
    server.script = [Answer(400, {"Content-Type": kind}, body)]
    with pytest.raises(requests.HTTPError) as caught:
        session.get(server.url, headers={"Authorization": "Bearer token"})
    return str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [{"a" * 400_000: [1] * 200_000}, [[{"k" * 1000: {"l" * 1000: n}}] for n in range(200)]],
    ids=["a long name", "many names"],
)
def test_long_names_take_no_more_than_they_have(
    answer: object, session: requests.Session, server: LoopbackServer
) -> None:
    body = json.dumps(answer).encode()
    tracemalloc.start()
    try:
        assert len(message(session, server, body, "application/json")) < 1000
        assert tracemalloc.get_traced_memory()[1] < 64 * MIB
    finally:
        tracemalloc.stop()


def test_a_number_that_python_does_not_read_is_shown_as_it_is(
    session: requests.Session, server: LoopbackServer
) -> None:
    body = b"No &#" + b"9" * 5000 + b";"
    assert ": No &#999" in message(session, server, body, "text/plain")


@pytest.mark.parametrize("charset", ["punycode", "idna", "nonsense", "hex"])
def test_a_charset_that_is_none_does_no_harm(
    charset: str, session: requests.Session, server: LoopbackServer
) -> None:
    body = b"No such event. " * 1000
    assert "No such event." in message(session, server, body, f"text/plain; charset={charset}")
