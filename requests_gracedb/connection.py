"""Connections that hold up on a real network: idle ones, slow ones, early answers."""

from __future__ import annotations

import os
import re
import ssl
import threading
from collections.abc import Iterable, Iterator, Sized
from functools import lru_cache
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, RemoteDisconnected, parse_headers
from io import BufferedReader
from math import inf
from time import monotonic
from typing import Any

from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    EmptyPoolError,
    HTTPError,
    MaxRetryError,
    ReadTimeoutError,
)
from urllib3.poolmanager import key_fn_by_scheme
from urllib3.util.request import body_to_chunks
from urllib3.util.ssl_ import ALPN_PROTOCOLS, create_urllib3_context, resolve_cert_reqs

from .content import BLOCK_SIZE
from .described import DescribedAdapter

DEFAULT_IDLE_TIMEOUT = 60  # seconds

_MAXIMUM_INTERIM_RESPONSES = 100
_READ_WITH_HEADERS = 4 * 1024  # bytes; servers read at least that much at a time
_WORTH_JOINING = 12 * 1024  # bytes; a TLS record has room for 16 KiB (RFC 8446, section 5.1)

# What writing, or looking for an answer, raises if the server has closed the connection.
_CLOSED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)

_File = tuple[str, int, int, int, int]

# The timeout of the request that this thread is sending. urllib3 (2.8) does not tell a connection
# how long to wait for an answer until the request has been written.
_sending = threading.local()


class ConnectionAdapter(DescribedAdapter):
    """An adapter whose connections hold up on a real network, and cost less.

    - An idle connection is not reused when the server, or a NAT on the way, may have dropped it:
      after ``idle_timeout``, or earlier if the server says so (``Keep-Alive: timeout=N``; 2 seconds
      before that, or at half of it if N is less than 4).
    - After a request with ``Connection: close``, the connection is not reused, whatever the server
      answers (RFC 9112, section 9.6). requests sends another request into it, which is lost.
    - Writing has the read timeout of the request, anew for each 256 KiB, or 1 MiB over plain http.
      In requests and urllib3 (2.8) it has the connect timeout, and a body in memory has a single
      one for all of it.
    - A server that refuses a body of more than 4 KiB may leave it unread, and close a connection
      that it has promised to keep (gunicorn does). Such a connection is not reused.
    - After a fork, the new process does not write into the connections of the old one.
    - If a server answers before it has read the request, and closes the connection, its answer is
      received over TLS, too. One that claims success is an error: the upload did not arrive.
    - An answer that breaks off in its headers is an error, as it is if it breaks off in its body.
      requests takes what has come for all of them, and finds an empty body.
    - Interim responses, such as 103, are skipped (RFC 9110, section 15.2). requests mistakes the
      first one for the answer, and the answer for that of the next request.
    - With ``pool_block=True``, waiting for a connection that another request holds counts as
      connecting, and has the connect timeout. requests waits for ever.
    - Connections with the same settings share a TLS context, as long as the files that these name
      are unchanged. requests and urllib3 (2.8) read and parse the CA bundle for each connection,
      which is most of the cost of a connection.
    - If the body is an open file, it is read in blocks as large as those of a `FormData`; urllib3
      reads 16 KiB at a time.
    - A body that is longer or shorter than its Content-Length, such as a file that is still being
      written, raises `RuntimeError` before the server has all of it. requests sends what is too
      much, and the server takes it for the next request. So does a body that fails in a way that
      urllib3 would take for a fault of the connection.
    - A body in memory, of up to 12 KiB, is written together with the headers, which urllib3 writes
      separately. A `FormData` of up to 256 KiB is read before a connection is chosen: if it cannot
      be read, the server gets nothing, and a slow disk does not leave a connection idle.
    - requests (2.34) takes the URL of each request apart, looks for a proxy and at the CA bundle,
      and has urllib3 make a key of all settings, to find the pool with its connections. Here the
      key is remembered for the same server and settings. The settings, such as ``verify``,
      ``cert`` and proxies, are still those of each request, and so is the pool.

    Parameters
    ----------
    idle_timeout : float or None, default 60
        Seconds without a request after which a connection is not reused; None for no limit.
    **kwargs
        See `requests.adapters.HTTPAdapter`.

    Raises
    ------
    ValueError
        ``idle_timeout`` is not positive.

    Examples
    --------
    >>> session.mount("https://gracedb.ligo.org/", ConnectionAdapter(idle_timeout=30))
    """

    _remembered_key: Any = None  # It stays None if a subclass makes the pool manager by itself.

    def __init__(
        self, *, idle_timeout: float | None = DEFAULT_IDLE_TIMEOUT, **kwargs: Any
    ) -> None:
        if idle_timeout is not None and not idle_timeout > 0:
            raise ValueError(
                f"idle_timeout must be a positive number of seconds, or None, not {idle_timeout!r}"
            )
        self.idle_timeout = idle_timeout
        super().__init__(**kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "idle_timeout": self.idle_timeout}

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Set up the pool manager."""
        super().init_poolmanager(*args, **kwargs)
        self._set_up(self.poolmanager)
        # One for each adapter: what it remembers, such as a TLS context, goes with the adapter.
        self._remembered_key = lru_cache(typed=True)(_pool_key)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Get the pool manager for a proxy, and set it up."""
        manager = super().proxy_manager_for(*args, **kwargs)
        self._set_up(manager)
        return manager

    def get_connection_with_tls_context(
        self, request: PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """Get the pool for a request; without proxies, by a key that is remembered."""
        following = super().get_connection_with_tls_context
        manager = self.poolmanager
        if proxies or not (
            self._remembered_key is not None
            and getattr(following, "__func__", None) is _FINDS_POOL
            and getattr(self.build_connection_pool_key_attributes, "__func__", None) is _BUILDS_KEY
            and type(manager) is PoolManager
            and manager.key_fn_by_scheme == key_fn_by_scheme
        ):
            return following(request, verify, proxies, cert)
        server = "/".join((request.url or "").split("/", 3)[:3])
        settings = tuple(manager.connection_pool_kw.items())
        try:
            key, context = self._remembered_key(server, verify, cert, settings)
        except (TypeError, ValueError):  # One of them cannot be remembered, or is wrong.
            return following(request, verify, proxies, cert)
        return manager.connection_from_pool_key(key, context.copy())

    def request_url(self, request: PreparedRequest, proxies: Any) -> str:
        """Get the URL for the request line; without proxies, there is none to look up."""
        following = super().request_url
        url = request.path_url
        # requests 2.32 changes what begins with two slashes.
        is_that_of_requests = getattr(following, "__func__", None) is _TELLS_URL
        if proxies or url.startswith("//") or not is_that_of_requests:
            return following(request, proxies)
        return url

    def _set_up(self, manager: PoolManager) -> None:
        # Not a keyword argument: some adapters to mix with, such as requests-toolbelt's (1.0), take
        # only those that requests has.
        manager.connection_pool_kw.setdefault("blocksize", BLOCK_SIZE)
        idle_timeout = inf if self.idle_timeout is None else self.idle_timeout
        manager.pool_classes_by_scheme = {
            scheme: _derived(_Pool, base, idle_timeout)
            for scheme, base in manager.pool_classes_by_scheme.items()
        }


# If another class, or a patch, helps to choose the pool, no key is remembered; if it helps to make
# the URL of the request line, it is asked; if it helps to send the request, it may add headers.
_FINDS_POOL = HTTPAdapter.get_connection_with_tls_context
_BUILDS_KEY = HTTPAdapter.build_connection_pool_key_attributes
_TELLS_URL = HTTPAdapter.request_url
_SENDS = HTTPConnectionPool.urlopen


def _pool_key(
    server: str, verify: Any, cert: Any, settings: tuple[tuple[str, Any], ...]
) -> tuple[Any, dict[str, Any]]:
    """Have requests and urllib3 make the key of a pool, and what the pool is to be made from."""
    if isinstance(verify, str) and not os.path.exists(verify):
        raise ValueError  # It may be there later, as a file or as a directory.
    adapter: Any = HTTPAdapter()
    adapter.poolmanager = _Keys()
    adapter.poolmanager.connection_pool_kw = dict(settings)
    request = PreparedRequest()
    request.url = server
    key_and_context: tuple[Any, dict[str, Any]]
    key_and_context = adapter.get_connection_with_tls_context(request, verify, cert=cert)
    return key_and_context


class _Keys(PoolManager):
    """Tells how a pool would be found or made."""

    def connection_from_pool_key(self, pool_key: Any, request_context: Any) -> Any:
        return pool_key, request_context


class _Pool(HTTPConnectionPool):
    """A pool of these connections; to be mixed with a class of urllib3."""

    idle_timeout = inf

    @property
    def ConnectionCls(self) -> Any:  # type: ignore[override]  # noqa: N802
        # Looked up each time, because vcrpy (9.4) temporarily puts a class of its own there.
        base: Any = super().ConnectionCls
        if base.__module__ not in ("urllib3.connection", "urllib3.contrib.socks"):
            return base
        mixin = _TLSConnection if issubclass(base, HTTPSConnection) else _Connection
        return _derived(mixin, base, self.idle_timeout)

    def urlopen(self, method: str, url: str, body: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Send a request, with its timeout for every wait."""
        if body is not None:
            body = _made(body)
        headers, following = kwargs.get("headers"), super().urlopen
        if (
            type(headers) is CaseInsensitiveDict
            and self.proxy is None
            and getattr(following, "__func__", None) is _SENDS
        ):
            # urllib3 (2.8) copies them, to add those for a proxy, and goes through the copy twice,
            # which is slow. If there are none to add, a dict will do.
            kwargs["headers"] = dict(headers)
        timeout = kwargs.get("timeout")
        if not isinstance(timeout, Timeout):  # It is one when requests sends the request.
            timeout = self.timeout
        elif type(timeout) is Timeout and timeout.total is None:
            timeout = kwargs["timeout"] = _ConstantTimeout(timeout)
        if timeout.total is not None:
            timeout = timeout.clone()
            timeout.start_connect()
        if self.block:
            seconds = Timeout.resolve_default_timeout(timeout.connect_timeout)
            kwargs["pool_timeout"] = seconds
        before, _sending.timeout = getattr(_sending, "timeout", None), timeout
        try:
            return following(method, url, body, *args, **kwargs)
        except EmptyPoolError as error:
            raise MaxRetryError(self, url, _no_connection_in_time(self)) from error
        finally:
            _sending.timeout = before


class _ConstantTimeout(Timeout):
    """A timeout without a total, which has nothing to count.

    urllib3 (2.8) makes a copy for each request, and another for each attempt.
    """

    def __init__(self, timeout: Timeout) -> None:
        vars(self).update(vars(timeout))

    def clone(self) -> Timeout:
        return self

    def start_connect(self) -> float:
        return monotonic()


class _FinalResponse(HTTPResponse):
    """The final response, with all of its headers: interim ones before it are skipped."""

    _method: str  # It has no public name (Python 3.14).

    def _read_status(self) -> Any:
        # It has no public name (Python 3.14). `begin` itself skips a 100, any number of them.
        for _ in range(1 + _MAXIMUM_INTERIM_RESPONSES):
            # Usually they are all here, and there is nothing to watch.
            head = self.fp.peek() if isinstance(self.fp, BufferedReader) else b"?"
            is_whole = b"\n\r\n" in head or self._method == "CONNECT"
            if head and not is_whole:
                watched: Any = _Head(self)
                self.fp = watched
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200 or status == HTTPStatus.SWITCHING_PROTOCOLS:
                return version, status, reason
            parse_headers(self.fp)
        raise HTTPException(f"more than {_MAXIMUM_INTERIM_RESPONSES} interim responses")


class _Head:
    """The file that headers are read from: they end with an empty line.

    http.client (Python 3.14) also takes the end of the connection for that of the headers. Without
    Content-Length any body looks whole, and without Location a redirect looks final.
    """

    def __init__(self, response: HTTPResponse) -> None:
        self._response = response
        self._file: Any = response.fp

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def readline(self, limit: int) -> bytes:
        line: bytes = self._file.readline(limit)
        if not line.endswith(b"\n") and len(line) < limit:
            raise RemoteDisconnected("the connection was closed before the end of the headers")
        if line in (b"\r\n", b"\n"):
            self._response.fp = self._file
        return line


class _Connection(HTTPConnection):
    """A connection that can be reused only for a time; to be mixed with a class of urllib3."""

    response_class = _FinalResponse
    block_size = 4 * BLOCK_SIZE  # 256 KiB at a time take 10 % longer; over TLS, they do not.
    idle_timeout = inf
    _usable_until = inf
    _process = 0
    _writing: Timeout | None = None
    _broken: Exception | None = None
    _is_last = False
    _may_be_unread = False
    _held: bytes | None = None

    @property
    def is_connected(self) -> bool:
        """Tell whether the connection is fit for another request."""
        return (
            monotonic() < self._usable_until
            and self._process == os.getpid()  # Otherwise there was a fork, and two would write.
            and super().is_connected
        )

    def connect(self) -> None:
        """Connect, and remember which process did."""
        self._process = os.getpid()
        super().connect()

    def request(
        self, method: str, url: str, body: Any = None, headers: Any = None, **kwargs: Any
    ) -> None:
        """Write a request."""
        if self.sock is None:
            self.connect()  # before the timeout changes: http.client connects when it writes
        self._broken = None
        self._is_last = "close" in _field(headers, "connection").lower()
        self._may_be_unread = False
        self._writing = getattr(_sending, "timeout", None)
        if body is not None:  # Headers alone do not have to wait.
            length = _length(_field(headers, "content-length"))
            # The server may have to read more than once to get it.
            self._may_be_unread = length is None or length > _READ_WITH_HEADERS
            if self._writing is not None:
                self.timeout = _seconds_to_write(self._writing)
            if not isinstance(body, (bytes, str)):
                chunks: Any = body_to_chunks(body, method, self.blocksize).chunks
                body = _counted(chunks, length)
            elif 0 < len(body) <= _WORTH_JOINING:
                # One write less. Not for a body that is yet to be made: the server might take the
                # connection for idle, and close it. Nor for a larger one: it takes longer to
                # encrypt, and meanwhile the server can parse the headers.
                self._held = b""
        try:
            super().request(method, url, body, headers, **kwargs)
        finally:
            self._writing = self._held = None

    def send(self, data: Any) -> None:
        """Write one block at a time, the headers together with a small body.

        Raises
        ------
        urllib3.exceptions.ReadTimeoutError
            The server did not take a block in time. No one knows what it has read, just as when no
            answer comes.
        BrokenPipeError
            The server has closed the connection. urllib3 then goes on, and looks for an answer.
        """
        if self._writing is None:  # CONNECT is part of connecting.
            super().send(data)
            return
        if self._held is not None:
            if not self._held:  # These are the headers.
                self._held = data
                return
            data, self._held = b"".join((self._held, data)), None
        try:
            is_one = isinstance(data, bytes) and len(data) <= self.block_size
            for block in (data,) if is_one else _blocks(data, self.block_size):
                if self._writing.total is not None:
                    self.sock.settimeout(_seconds_to_write(self._writing))
                super().send(block)
        except TimeoutError as error:
            seconds = self.sock.gettimeout()
            message = f"Timed out while writing the request. (read timeout={seconds})"
            raise ReadTimeoutError(self, None, message) from error  # type: ignore[arg-type]
        except _CLOSED as error:
            self._broken = error
            raise BrokenPipeError from error

    def getresponse(self) -> Any:
        """Get the response; from its headers on, the connection counts as idle.

        The server may count from its last byte. That comes later, but a client that reads slowly
        cannot know when.
        """
        broken, self._broken = self._broken, None
        try:
            response = super().getresponse()
        except _CLOSED:
            if broken is None:
                raise
            raise broken from None
        if broken is not None and (response.status < 300 or response.status == 303):
            raise ConnectionResetError(
                f"the server said {response.status} {response.reason}, but closed the connection "
                "before it had read the request"
            ) from broken
        is_last = self._is_last or self._may_be_unread and _is_refusal(response)
        seconds = 0 if is_last else self.idle_timeout
        if "keep-alive" in response.headers:
            seconds = min(seconds, _usable_for(response.headers["keep-alive"]))
        self._usable_until = monotonic() + seconds
        return response


class _TLSConnection(_Connection, HTTPSConnection):
    """A connection that shares its TLS context with others; to be mixed with a class of urllib3."""

    block_size = BLOCK_SIZE

    def connect(self) -> None:
        """Connect, with a context that has already read the files, if there is one."""
        context = self._shared_context()
        if context is None:
            super().connect()
            return
        # Put back afterwards: the connection may connect again.
        settings = {name: getattr(self, name) for name in _READ_BY_CONTEXT}
        try:
            vars(self).update(dict.fromkeys(_READ_BY_CONTEXT), ssl_context=context)
            super().connect()
        finally:
            vars(self).update(settings, ssl_context=None)

    def _shared_context(self) -> ssl.SSLContext | None:
        if any(getattr(self, name, None) is not None for name in _NOT_SHARED):
            return None
        if self.proxy is not None and self.proxy.scheme == "https":
            return None  # urllib3 (2.8) verifies the proxy's certificate with these files, too.
        verify_mode = resolve_cert_reqs(self.cert_reqs)
        if verify_mode != ssl.CERT_NONE and not self.ca_certs:
            return None
        try:
            files = [_file(getattr(self, name)) for name in _READ_BY_CONTEXT]
            context = _context(verify_mode, *files, os.environ.get("SSLKEYLOGFILE"))
        except OSError:
            # urllib3 runs into the same error, where requests expects it.
            return None
        return context if _is_as_made(context, verify_mode) else None


# What the context of a connection is made from, in the order of the parameters of `_context`; and
# what rules out a shared one: some of it makes urllib3 change the context.
_READ_BY_CONTEXT = "ca_certs", "cert_file", "key_file"
_NOT_SHARED = (
    "ssl_context",
    "ca_cert_dir",  # OpenSSL reads it as needed, and remembers what it has read.
    "ca_cert_data",
    "key_password",
    "assert_hostname",
    "assert_fingerprint",
    "ssl_version",
    "ssl_minimum_version",
    "ssl_maximum_version",
)


def _file(name: str | None) -> _File | None:
    """Look at a file, if there is one: what replaces it is another, even with the same name."""
    if not name:
        return None
    status = os.stat(name)
    return name, status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns


@lru_cache(maxsize=8)
def _context(
    verify_mode: ssl.VerifyMode,
    ca_certs: _File | None,
    certificate: _File | None,
    key: _File | None,
    key_log: str | None,
) -> ssl.SSLContext:
    """Make a context with these settings, as urllib3 would.

    ``key_log`` only tells contexts apart: urllib3 reads it from the environment.
    """
    context = create_urllib3_context(cert_reqs=verify_mode)
    if ca_certs is not None:
        context.load_verify_locations(ca_certs[0])
    if certificate is not None:
        context.load_cert_chain(certificate[0], key and key[0], _no_password)
    # urllib3 (2.8) sets this for each connection, while another thread may be reading it.
    context.set_alpn_protocols(ALPN_PROTOCOLS)
    vars(context)["set_alpn_protocols"] = lambda protocols: None
    return context


def _is_as_made(context: ssl.SSLContext, verify_mode: ssl.VerifyMode) -> bool:
    """Tell whether a context is one of ssl's, and still verifies what it did when it was made.

    urllib3 (2.8) sets ``verify_mode`` for each connection. One of pyOpenSSL refuses that after use;
    one of ssl does if it checks the name and is not to verify.
    """
    checks_hostname = verify_mode == ssl.CERT_REQUIRED
    return (
        isinstance(context, ssl.SSLContext)
        and context.verify_mode == verify_mode
        and context.check_hostname == checks_hostname
    )


def _no_password() -> str:
    raise ssl.SSLError("the private key is encrypted")


def _made(body: Any) -> Any:
    """Make a small form before a connection is chosen, which would be idle until it is made."""
    is_form = getattr(body, "is_repeatable", False) is True and isinstance(body, Sized)
    if not is_form or len(body) > BLOCK_SIZE:
        return body
    return b"".join(_counted(body, len(body)))


def _field(headers: Any, name: str) -> str:
    """Get a header, which a dict may have in any case; empty if there is none."""
    if not isinstance(headers, dict):
        return "" if headers is None else str(headers.get(name, ""))
    for each, value in headers.items():
        if each.lower() == name:
            return str(value)
    return ""


def _length(content_length: str) -> int | None:
    return int(content_length) if content_length.isdecimal() else None


def _counted(chunks: Iterable[Any], length: int | None) -> Iterator[Any]:
    """Yield a body, and raise an exception if it is not what the headers have promised."""
    size = 0
    chunks = iter(chunks)
    try:
        for chunk in chunks:
            size += len(chunk.encode()) if isinstance(chunk, str) else memoryview(chunk).nbytes
            # Before the last one is sent: the server is not to have a whole body then.
            if length is not None and size >= length and (size > length or any(chunks)):
                raise RuntimeError(_wrong_size("more", length))
            yield chunk
    except (OSError, HTTPException, HTTPError) as error:
        # urllib3 would take it for a connection fault.
        raise RuntimeError(f"the body of the request failed while it was sent: {error}") from error
    if length is not None and size < length:
        raise RuntimeError(_wrong_size("less", length))


def _wrong_size(more_or_less: str, length: int) -> str:
    return (
        f"the body of the request has {more_or_less} than the {length} bytes that its "
        "Content-Length says: if it is a file, wait until it is written, and send it anew"
    )


def _is_refusal(response: Any) -> bool:
    """Tell whether a server has not taken a body, except to go on with a handshake."""
    challenge = response.headers.get("WWW-Authenticate", "").lower()
    # These authenticate a connection (RFC 4559, section 6).
    return response.status >= 300 and not challenge.startswith(("ntlm", "negotiate"))


def _no_connection_in_time(pool: HTTPConnectionPool) -> ConnectTimeoutError:
    return ConnectTimeoutError(
        f"{pool}: no connection was free in time. A streamed response keeps its "
        "connection until it is read to the end or closed."
    )


def _seconds_to_write(timeout: Timeout) -> float | None:
    seconds: Any = timeout.read_timeout
    # A socket with a timeout of 0 does not wait, and has other errors.
    return None if seconds is None else max(seconds, 0.001)


def _blocks(data: Any, size: int) -> Iterable[Any]:
    view = memoryview(data)
    if view.nbytes <= size:
        return (data,)
    view = view.cast("B")
    return (view[start : start + size] for start in range(0, len(view), size))


@lru_cache
def _derived(mixin: type, base: type, idle_timeout: float) -> Any:
    """Derive our class from one of urllib3, for http, https or SOCKS.

    The setting is a class attribute: urllib3 (2.8) refuses parameters that it does not know, both
    in the key of a pool and in the constructor of a connection.
    """
    if issubclass(base, mixin):
        return base
    return type(base.__name__, (mixin, base), {"idle_timeout": idle_timeout})


@lru_cache
def _usable_for(keep_alive: str) -> float:
    """Tell for how many seconds a connection with this Keep-Alive header can be used."""
    match = re.search(r"\btimeout\s*=\s*\"?(\d{1,9})", keep_alive, re.IGNORECASE)
    if match is None:
        return inf
    seconds = int(match[1])
    # A request takes time to get there.
    return max(seconds - 2, seconds / 2)
