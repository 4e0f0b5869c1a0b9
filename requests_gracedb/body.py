"""Request bodies that can be sent again, and response bodies read within bounds."""

from __future__ import annotations

from collections.abc import Callable
from http.client import HTTPException
from io import BytesIO
from itertools import islice
from socket import SHUT_RDWR
from threading import Timer
from time import monotonic
from typing import Any

from requests import PreparedRequest, Response
from requests.utils import rewind_body
from urllib3 import BaseHTTPResponse, HTTPResponse
from urllib3.exceptions import HTTPError
from urllib3.response import ContentDecoder

_MOST = 1024 * 1024  # bytes of a body, both before and after decoding
_BLOCK = 64 * 1024
_LARGEST_BLOCK = 1024 * 1024  # for `read_content`
_PIECE = 4 * 1024  # gzip and deflate expand it at most 1032 times.
# Since 2.6, urllib3 decodes no more than it is asked for. Before that, the other encodings have no
# known limit.
_IS_BOUNDED = hasattr(ContentDecoder, "has_unconsumed_tail")


def is_repeatable(request: PreparedRequest) -> bool:
    """Tell whether the body of a request can be sent more than once.

    An iterable body of bytes says so itself, with an attribute ``is_repeatable`` that is True. No
    one knows whether others yield the same again: a progress bar around a generator yields nothing.

    Parameters
    ----------
    request : requests.PreparedRequest

    Returns
    -------
    bool
        False for a generator, a file without a position, and anything unknown.
    """
    return (
        request.body is None
        or isinstance(request.body, (str, bytes, bytearray, memoryview))
        or getattr(request.body, "is_repeatable", False) is True
        or (isinstance(request._body_position, int) and _is_seekable(request.body))
    )


def _is_seekable(body: Any) -> bool:
    # The answer of urllib3 (2.8) has a position, but cannot seek.
    seekable: Callable[[], bool] = getattr(body, "seekable", lambda: hasattr(body, "seek"))
    return seekable()


def rewind(request: PreparedRequest) -> None:
    """Rewind the body of a request to where it was before it was sent.

    Parameters
    ----------
    request : requests.PreparedRequest

    Raises
    ------
    requests.exceptions.UnrewindableBodyError
        It cannot be rewound.
    """
    if request._body_position is not None:  # It has no public name (requests 2.34).
        rewind_body(request)


def read_content(response: Response) -> None:
    """Read what `requests.Response.content` will return, faster than that would.

    Parameters
    ----------
    response : requests.Response

    Raises
    ------
    requests.RequestException
        The answer breaks off, or cannot be decoded: the exceptions are those of ``content``.
    """
    if response._content is not False or response.raw is None:  # No public name (requests 2.34).
        return
    blocks: list[bytes] = []
    length = getattr(response.raw, "length_remaining", None)
    if isinstance(length, int) and 0 < length < _LARGEST_BLOCK:
        # All of it, usually. If it is asked for more than there is, urllib3 (2.8) looks again.
        blocks += islice(response.iter_content(length), 1)
    if not response._content_consumed:  # It is if there was nothing to decode.
        # requests asks for 10 KiB at a time. To ask for everything at once would take as much
        # memory as the server promises, rather than sends.
        blocks += response.iter_content(_LARGEST_BLOCK)
    response._content = b"".join(blocks)


def read_body(response: Response) -> bytes:
    """Read a response body within bounds, so that the connection can serve the next request.

    Parameters
    ----------
    response : requests.Response

    Returns
    -------
    bytes
        What `drain` read, decoded; at most 1 MiB. Nothing if a response hook of the user has
        consumed it: the status has already said what happened.
    """
    # Neither attribute has a public name (requests 2.34).
    if response._content is False:
        body = b"" if response._content_consumed else drain(response.raw)
        # Whoever handles the exception may read the response, and must not hit another exception.
        response._content = _decoded(body, response.headers.get("Content-Encoding", "").lower())
        response._content_consumed = True
    return response._content or b""


def drain(raw: Any) -> bytes:
    """Read the rest of an answer, as it came.

    It reads at most 1 MiB, and waits no longer than the read timeout in total. At either limit, or
    if the answer breaks off, it closes the connection, and the pool makes another.

    Parameters
    ----------
    raw : urllib3.BaseHTTPResponse
        Or any file that another adapter has put in its place.

    Returns
    -------
    bytes
        Not decoded.
    """
    body = bytearray()
    connection = getattr(raw, "connection", None)
    # While urllib3 (2.0) waits for an answer, this is the read timeout.
    timeout = getattr(connection, "timeout", None)
    deadline = None if timeout is None else monotonic() + timeout
    watcher = _watch(raw, connection, timeout)
    try:
        while len(body) < _MOST and _wait_until(deadline, connection):
            piece = _read_some(raw, _MOST - len(body))
            if not piece:
                return bytes(body)
            body += piece
    except (HTTPError, HTTPException, OSError, RuntimeError):
        pass
    finally:
        if watcher is not None:
            watcher.cancel()
    raw.close()
    getattr(raw, "release_conn", bool)()
    return bytes(body)


def _watch(raw: Any, connection: Any, timeout: float | None) -> Timer | None:
    """Put a time limit on the lines around chunks, which http.client reads to their end."""
    # No public name for it works once the connection has let go (urllib3 2.8).
    shutdown = getattr(raw, "_sock_shutdown", None)
    if timeout is None or not getattr(raw, "chunked", False) or shutdown is None:
        return None
    watcher = Timer(timeout, _hang_up, [shutdown])
    watcher.daemon = True
    watcher.start()
    return watcher


def _hang_up(shutdown: Any) -> None:
    try:
        shutdown(SHUT_RDWR)
    except OSError:
        pass  # It is closed already.


def _wait_until(deadline: float | None, connection: Any) -> bool:
    if deadline is None:
        return True
    seconds = deadline - monotonic()
    # There is no socket any more if the server closes the connection after the answer.
    if seconds > 0 and getattr(connection, "sock", None) is not None:
        connection.sock.settimeout(seconds)
    return seconds > 0


def _read_some(raw: Any, size: int) -> bytes:
    if not isinstance(raw, BaseHTTPResponse):
        piece: bytes = raw.read(size)
        return piece
    if hasattr(raw, "read1"):
        return raw.read1(min(size, _BLOCK), decode_content=False)
    # Until 2.2, urllib3 waits for everything it is asked for, however slowly that comes.
    return raw.read(1, decode_content=False)


def _decoded(body: bytes, encoding: str) -> bytes:
    """Decode a body as far as possible, in pieces that cannot become very large."""
    if not (body and encoding):
        return body
    if not _IS_BOUNDED and encoding not in ("gzip", "x-gzip", "deflate", "identity"):
        return b""
    headers = {"Content-Encoding": encoding}
    source = HTTPResponse(BytesIO(body), headers=headers, preload_content=False)
    decoded = bytearray()
    try:
        while len(decoded) < _MOST and (piece := source.read(_PIECE, decode_content=True)):
            decoded += piece
    except HTTPError:
        pass  # It is malformed or cut short.
    return bytes(decoded[:_MOST])
