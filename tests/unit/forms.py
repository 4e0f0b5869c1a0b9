"""What is put into forms, and what of it should arrive."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from typing import Any

from tests.conftest import CONTENT
from tests.loopback_server import Received

MIB = 1024 * 1024
TEXT = "Überlagerung\n"

Echo = Callable[..., Any]


def pipe(content: bytes) -> io.BufferedReader:
    """Open a pipe for reading, with all there will ever be in it."""
    reader, writer = os.pipe()
    with open(writer, "wb") as file:
        file.write(content)
    return open(reader, "rb")


def uploaded(
    name: str = "eventFile",
    filename: str = "coinc.xml",
    content: bytes = CONTENT,
    content_type: str = "text/xml",
) -> dict[str, object]:
    """Tell what the server says of a file."""
    return {
        "name": name,
        "filename": filename,
        "content_type": content_type,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def assert_is_broken_off(received: Received) -> None:
    """See that the server could not take the request for a whole one."""
    assert len(received.body) < int(received.headers["Content-Length"])
    boundary = received.headers["Content-Type"].partition("boundary=")[2]
    assert f"--{boundary}--".encode() not in received.body
