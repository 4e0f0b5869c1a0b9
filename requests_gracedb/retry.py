"""Temporary failures are retried, if it is certain that nothing happens twice."""

from __future__ import annotations

import logging
import re
import ssl
import time
from datetime import timedelta
from http.client import HTTPConnection, HTTPException
from time import perf_counter
from traceback import walk_tb
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import requests
from requests import PreparedRequest, Response
from requests.exceptions import ChunkedEncodingError
from urllib3 import BaseHTTPResponse, Retry
from urllib3.connectionpool import ConnectionPool
from urllib3.exceptions import (
    HTTPError,
    InvalidHeader,
    MaxRetryError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from .body import drain, is_repeatable, read_content, rewind
from .described import DescribedAdapter

_ELAPSED = "_elapsed_until_headers"  # an attribute of a response
_NOTICEABLE = 0.001  # seconds in which an adapter does anything but wait for the headers
_DROPPED = ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError

_IDEMPOTENT = Retry.DEFAULT_ALLOWED_METHODS - {"PUT"}

# What a cache, a gateway or a content delivery network adds to an answer (RFC 9110, 7.6.3; RFC
# 9111, 5.1; RFC 9211).
_TRACES = (
    "Via",
    "Age",
    "Cache-Status",
    "X-Cache",
    "X-Served-By",
    "X-Varnish",
    "CF-RAY",
    "X-Amz-Cf-Id",
)
_CACHE = r"varnish|squid|cloudflare|cloudfront|akamai|fastly|envoy|trafficserver|\bats\b"

# How http.client says that a proxy refuses for good: with 403 or 407, not with 408 or 429.
_REFUSED_TUNNEL = r"Tunnel connection failed: 4(?!08|29)"

_logger = logging.getLogger(__name__)


class GraceDBRetry(Retry):
    """When to send a request again, and after how long.

    +-----------------------------------------------+------------------+---------------------------+
    | what happened                                 | methods          | what follows              |
    +===============================================+==================+===========================+
    | no connection: refused, reset or timed out    | any              | retry after a back-off    |
    | before the request went out; no such host     |                  |                           |
    +-----------------------------------------------+------------------+---------------------------+
    | 408, 502, 503, 504; connection dropped after  | GET, HEAD,       | retry after a back-off    |
    | the request went out                          | OPTIONS, DELETE, |                           |
    |                                               | TRACE            |                           |
    +-----------------------------------------------+------------------+---------------------------+
    | the same                                      | POST, PUT, PATCH | the caller gets it        |
    +-----------------------------------------------+------------------+---------------------------+
    | 429; 503 with Retry-After from the server     | any              | retry after Retry-After   |
    | itself                                        |                  |                           |
    +-----------------------------------------------+------------------+---------------------------+
    | 413 with Retry-After, 503 with Retry-After    | GET, HEAD,       | retry after Retry-After   |
    | from a cache or a gateway                     | OPTIONS, DELETE, |                           |
    |                                               | TRACE            |                           |
    +-----------------------------------------------+------------------+---------------------------+
    | the same                                      | POST, PUT, PATCH | the caller gets it        |
    +-----------------------------------------------+------------------+---------------------------+
    | Retry-After longer than ``retry_after_limit`` | any              | the caller gets it        |
    +-----------------------------------------------+------------------+---------------------------+
    | certificate or TLS failure; read timeout      | any              | the caller gets it        |
    +-----------------------------------------------+------------------+---------------------------+

    The methods in the second row are idempotent (RFC 9110, section 9.2.2). So is PUT, but GraceDB
    makes a new version of an event, and an alert, from each PUT with a body. `RetryAdapter` retries
    a PUT without a body as it does a DELETE. A POST that may have arrived is never sent again.

    If a 503 with Retry-After comes from GraceDB, nothing was done. Caches answer like this even if
    the request did arrive. A cache is recognised if it names itself in the answer: in ``Via``,
    ``Age``, ``X-Cache``, ``X-Varnish`` and the like, or in ``Server``. So is a gateway that answers
    with a page in HTML, and a proxy that forwards plain http. One that hides is not.

    When the retries are used up, the caller gets the last response, or the exception that requests
    would raise without retries.

    Parameters
    ----------
    total : int, default 5
        The maximum number of retries.
    retry_after_limit : float, default 30
        The longest Retry-After (RFC 9110, section 10.2.3) to wait for, in seconds.
    **kwargs
        See `urllib3.util.Retry`. By default the back-off is 0, 1, 2, 4 … 30 seconds, plus up to
        half a second at random. ``read`` has read timeouts retried as well, up to that number, and
        ``other`` certificate and TLS failures. ``allowed_methods`` defaults to those in the second
        row.

    Examples
    --------
    >>> GraceDBAdapter(max_retries=GraceDBRetry(total=10, retry_after_limit=120))
    """

    def __init__(
        self, total: int | None = 5, *, retry_after_limit: float = 30, **kwargs: Any
    ) -> None:
        self.retry_after_limit = retry_after_limit
        defaults = {
            "allowed_methods": _IDEMPOTENT,
            "status_forcelist": {408, 502, 503, 504},
            "backoff_factor": 0.5,
            "backoff_jitter": 0.5,
            "backoff_max": 30,
            "raise_on_status": False,
        }
        super().__init__(total, **{**defaults, **kwargs})

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, retry_after_limit={self.retry_after_limit})"

    def new(self, **kw: Any) -> GraceDBRetry:
        """Make the next rule of this kind, for `increment`."""
        return super().new(**{"retry_after_limit": self.retry_after_limit, **kw})

    def for_request(self, request: PreparedRequest) -> GraceDBRetry:
        """Get the rule for a request: a PUT without a body may be retried like a DELETE.

        Parameters
        ----------
        request : requests.PreparedRequest

        Returns
        -------
        GraceDBRetry
            This rule itself, unless it is such a PUT and ``allowed_methods`` is the default.
        """
        if request.method == "PUT" and request.body is None and self.allowed_methods == _IDEMPOTENT:
            return self.new(allowed_methods=_IDEMPOTENT | {"PUT"})
        return self

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        """Tell whether a response is worth a retry, judging by its status."""
        did_nothing = status_code == 429 or (
            status_code == 503 and has_retry_after and self.respect_retry_after_header
        )
        return (did_nothing and self.total != 0) or super().is_retry(
            method, status_code, has_retry_after
        )

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        """Get Retry-After in seconds; None if it is missing or makes no sense."""
        if not self.respect_retry_after_header:
            return None
        try:
            return super().get_retry_after(response)
        except (InvalidHeader, ValueError, OverflowError):
            return None

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> GraceDBRetry:
        """Count an attempt, and make the rule for the next.

        Raises
        ------
        urllib3.exceptions.MaxRetryError
            There is to be no next one. With ``raise_on_status=False``, urllib3 then returns the
            response.
        Exception
            ``error``, if errors of its kind are not retried.
        """
        last = self
        if error is not None:
            last = self._for_error(error)
        elif response is not None and not self._is_worth_waiting(method, response, _pool):
            last = self.new(total=0)
        following = super(GraceDBRetry, last).increment(
            method, url, response, error, _pool, _stacktrace
        )
        if response is not None:
            drain(response)  # urllib3 would read it to its end, and before 2.6 decode it, too.
        return following

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        """Wait before the next attempt, and log it."""
        retry_after = self.get_retry_after(response) if response is not None else None
        seconds = retry_after or self.get_backoff_time()
        if self.history:
            self._log(seconds)
        if seconds > 0:
            time.sleep(seconds)

    def _log(self, seconds: float) -> None:
        last = self.history[-1]
        _logger.warning(
            "%s %s: %s; retrying in %.1f s%s",
            last.method,
            urlsplit(last.url or "").path,
            f"status {last.status}" if last.error is None else _describe(last.error),
            seconds,
            _how_often(self.total),
        )

    # urllib3 (2.8) has no public names for what it asks here.

    def _is_connection_error(self, err: Exception) -> bool:
        # urllib3 counts the TCP connection; the TLS handshake and the tunnel also come first.
        return super()._is_connection_error(err) or _is_in_handshake(err)

    def _is_read_error(self, err: Exception) -> bool:
        # urllib3 (2.8) also raises a ProxyError for a connection that drops after the request.
        return super()._is_read_error(err) or _is_dropped(err) or isinstance(err, ProxyError)

    def _for_error(self, error: Exception) -> GraceDBRetry:
        """Get the rule that makes some errors final, unless the user has said otherwise."""
        if self.total == 0:
            return self
        if isinstance(error, ProxyError) and re.match(_REFUSED_TUNNEL, str(error.original_error)):
            return self.new(total=0)
        if self._is_connection_error(error):
            return self
        if isinstance(error, ReadTimeoutError):
            # False raises the error as it is; requests then turns it into a ReadTimeout.
            return self.new(read=False) if self.read is None else self
        original = error.original_error if isinstance(error, ProxyError) else error
        if isinstance(original, SSLError) and not _is_dropped(original) and self.other is None:
            return self.new(total=0)
        return self

    def _is_worth_waiting(
        self, method: str | None, response: BaseHTTPResponse, pool: ConnectionPool | None
    ) -> bool:
        """Tell whether Retry-After, if there is one, means what `is_retry` took it to mean."""
        if "Retry-After" not in response.headers or not self.respect_retry_after_header:
            return True
        retry_after = self.get_retry_after(response)
        if retry_after is not None and retry_after > self.retry_after_limit:
            return False
        if response.status != 503 or self._is_method_retryable(method or ""):
            return True
        return retry_after is not None and not _has_intermediary(response, pool)


DEFAULT_RETRIES = GraceDBRetry()
_ONCE = GraceDBRetry(0, read=False)


class RetryAdapter(DescribedAdapter):
    """An adapter that sends a request again when that is safe and may help; see `GraceDBRetry`.

    A body that cannot be sent again, such as a generator, is sent once. Each retry is logged at
    level WARNING, with how long it waits, and how many retries are left after it.

    A connection may also drop while an answer is read. So the answer to a GET or a DELETE is read
    here, unless it is an error or the caller streams it. It is read in blocks of up to 1 MiB, where
    requests has 10 KiB.

    A TLS connection that breaks raises `requests.ConnectionError`, like any other that breaks;
    requests would raise an ``SSLError``. A read timeout raises `requests.ReadTimeout`, even
    after retries.

    Parameters
    ----------
    max_retries : urllib3.util.Retry or int, default GraceDBRetry()
        Another rule, or how many times to retry by the rules of urllib3; 0 for never.
    **kwargs
        See `requests.adapters.HTTPAdapter`.

    Examples
    --------
    >>> session.mount("https://gracedb.ligo.org/", RetryAdapter())
    """

    def __init__(self, *, max_retries: Retry | int = DEFAULT_RETRIES, **kwargs: Any) -> None:
        super().__init__(max_retries=max_retries, **kwargs)

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> Response:
        """Send a request, more than once if necessary."""
        kwargs = dict(stream=stream, timeout=timeout, verify=verify, cert=cert, proxies=proxies)
        rule = self._rule(request)
        adapter = self if rule is self.max_retries else self._with(rule)
        method = request.method or ""
        # After an answer has begun, urllib3 makes no other attempt, so a rule that was written for
        # urllib3 does not ask for an upload to be sent again then.
        may_read = method in _IDEMPOTENT or isinstance(rule, GraceDBRetry)
        try:
            if may_read and not stream and rule is not _ONCE and rule._is_method_retryable(method):
                return adapter._read_whole(request, kwargs)
            return super(RetryAdapter, adapter).send(request, **kwargs)
        except requests.ConnectionError as error:
            plain = _as_it_is(error)
            if plain is error:
                raise
            raise plain from error

    def _rule(self, request: PreparedRequest) -> Retry:
        if request.body is not None and not is_repeatable(request):
            return _ONCE
        rule = self.max_retries
        if isinstance(rule, GraceDBRetry):
            return rule.for_request(request)
        return Retry.from_int(rule)  # It may have been set to a number.

    def _read_whole(self, request: PreparedRequest, kwargs: dict[str, Any]) -> Response:
        """Send a request; also retry if the connection drops in the body of the response."""
        adapter = self
        begin = perf_counter()
        while True:
            start = perf_counter()
            response = super(RetryAdapter, adapter).send(request, **kwargs)
            seconds = perf_counter() - start
            response.elapsed = timedelta(seconds=seconds)
            try:
                if response.status_code < 300:
                    read_content(response)
            except ChunkedEncodingError as error:
                adapter = adapter._after(error, response)
                rewind(request)
                continue
            if perf_counter() - begin - seconds > _NOTICEABLE:
                _keep_elapsed(request, response)
            return response

    def _with(self, max_retries: Retry) -> RetryAdapter:
        """Get the same adapter, with the same connections, for one request with another rule."""
        adapter = object.__new__(type(self))
        adapter.__dict__ = {**self.__dict__, "max_retries": max_retries}
        return adapter

    def _after(self, error: ChunkedEncodingError, response: Response) -> RetryAdapter:
        """Wait and return the adapter for the next attempt; raise the error if there is none."""
        # The retries that are left after those made before the response came.
        max_retries = getattr(response.raw, "retries", None) or self.max_retries
        method, url = response.request.method, response.request.url
        broken = ProtocolError("Connection broken", error)
        try:
            max_retries = max_retries.increment(method, url, error=broken)
        except HTTPError:
            raise error from None
        max_retries.sleep()
        return self._with(max_retries)


def restore_elapsed(response: Response, **kwargs: Any) -> None:
    """Set ``elapsed`` to the time until the headers arrived; a response hook of requests.

    `requests.Session.send` sets it when the adapter is done, which has then read the body.

    Parameters
    ----------
    response : requests.Response
    **kwargs
        The parameters of the request, which every response hook gets.
    """
    response.elapsed = vars(response).get(_ELAPSED, response.elapsed)


def _keep_elapsed(request: PreparedRequest, response: Response) -> None:
    vars(response)[_ELAPSED] = response.elapsed
    hooks = request.hooks["response"]
    if restore_elapsed not in hooks:
        # First, as the user's hooks are to see it. In another list, as copies of the request share
        # this one, and requests may be calling the hooks in it.
        request.hooks["response"] = [restore_elapsed, *hooks]


def _has_intermediary(response: BaseHTTPResponse, pool: Any) -> bool:
    """Tell whether an answer may be from a proxy, or says it is from a cache or a gateway."""
    if getattr(pool, "proxy", None) is not None and pool.scheme == "http":
        return True  # For https, a proxy only makes a tunnel.
    if "html" in response.headers.get("Content-Type", "").lower():
        return True  # The page of a gateway: an API explains itself in JSON.
    server = response.headers.get("Server", "")
    return re.search(_CACHE, server, re.IGNORECASE) is not None or any(
        name in response.headers for name in _TRACES
    )


def _as_it_is(error: requests.ConnectionError) -> requests.RequestException:
    """Get the exception that tells what happened, if requests turned it into another one."""
    reason: Any = error.args[0] if error.args else None
    if isinstance(reason, MaxRetryError):
        reason = reason.reason
        if isinstance(reason, ReadTimeoutError):
            return requests.ReadTimeout(reason, request=error.request)
    is_dropped = isinstance(reason, SSLError) and _is_dropped(reason)
    if isinstance(reason, ProxyError):  # urllib3 (2.8) blames the proxy for what breaks behind it.
        is_dropped = isinstance(reason.original_error, (ConnectionError, HTTPException))
    if is_dropped and not _is_in_handshake(reason):
        broken = ProtocolError("Connection broken", _happened(reason))
        return requests.ConnectionError(broken, request=error.request)
    return error


def _how_often(left: int | None) -> str:
    if left is None:
        return ""
    return f", up to {left} more if needed" if left else ", for the last time"


def _describe(error: Exception) -> str:
    # Not its text, which may contain the URL's query.
    return type(_happened(error) if isinstance(error, ProtocolError) else error).__name__


def _happened(error: Exception) -> BaseException:
    """Get the error that urllib3 wrapped in its own: its last argument, or its cause."""
    if isinstance(error, ProxyError):
        return _happened(error.original_error)
    last = error.args[-1] if error.args else None
    return last if isinstance(last, BaseException) else error.__cause__ or error


def _is_dropped(error: Exception) -> bool:
    """Tell whether a TLS connection broke, which ssl (Python 3.13) takes for a TLS failure."""
    return isinstance(error, SSLError) and isinstance(_happened(error), _DROPPED)


def _is_in_handshake(error: Exception) -> bool:
    """Tell whether a connection broke, or timed out, while it was being set up.

    urllib3 (2.8) raises the same exceptions for this as for a connection that breaks later. What
    tells them apart is where they were raised: in `connect`, a public method of its connections.
    """
    original = error.original_error if isinstance(error, ProxyError) else error
    if isinstance(original, SSLError) and not _is_dropped(original):
        return False
    frames = walk_tb(_happened(error).__traceback__)
    return any(
        frame.f_code.co_name == "connect"
        and isinstance(frame.f_locals.get("self"), HTTPConnection)
        for frame, _ in frames
    )
