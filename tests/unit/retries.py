"""Which requests are tried again, and what goes wrong with them."""

from __future__ import annotations

import itertools
import socket
from typing import Any

import pytest

from tests.loopback_server import Answer, LoopbackServer, drop, half_an_answer, reset

# With a body, as the tests send one, PUT is none of these.
IDEMPOTENT = ["GET", "HEAD", "OPTIONS", "DELETE", "TRACE"]
OTHER = ["POST", "PUT", "PATCH"]

RETRIES = 5  # by default

LARGE = bytes(range(256)) * 16384

any_method = pytest.mark.parametrize("method", IDEMPOTENT + OTHER)
any_idempotent_method = pytest.mark.parametrize("method", IDEMPOTENT)
any_other_method = pytest.mark.parametrize("method", OTHER)
any_break = pytest.mark.parametrize("fault", [drop, reset, half_an_answer])


def later(status: int, retry_after: str) -> Answer:
    return Answer(status, {"Retry-After": retry_after}, b"Later")


def bodies(server: LoopbackServer) -> list[bytes]:
    return [received.body for received in server.requests]


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def resolve_after(failures: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the names under .invalid be those of loopback, after so many failures."""
    getaddrinfo = socket.getaddrinfo
    attempts = itertools.count(1)

    def resolve(host: str, *args: Any, **kwargs: Any) -> list[Any]:
        if not host.endswith(".invalid"):
            return getaddrinfo(host, *args, **kwargs)
        if next(attempts) <= failures:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return getaddrinfo("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
