"""No request waits for ever."""

from __future__ import annotations

from typing import Any

from requests import PreparedRequest, Response
from urllib3.util import Timeout

from .described import DescribedAdapter

DEFAULT_TIMEOUT = 10, 120  # seconds

TimeoutTypes = float | tuple[float | None, float | None] | None


class TimeoutAdapter(DescribedAdapter):
    """An adapter with a timeout for requests that set none.

    By default, requests waits for ever, so a server that hangs also hangs whoever waits for it.

    Parameters
    ----------
    timeout : float, tuple of two floats, or None, default (10, 120)
        Seconds to wait for a connection, and for the server between two bytes. A single number is
        for both, and None is no limit. The ``timeout`` of a request takes precedence.
    **kwargs
        See `requests.adapters.HTTPAdapter`.

    Raises
    ------
    ValueError
        ``timeout`` is anything else, or not positive.

    Examples
    --------
    >>> session.mount("https://gracedb.ligo.org/", TimeoutAdapter(timeout=(5, 60)))
    """

    def __init__(self, *, timeout: TimeoutTypes = DEFAULT_TIMEOUT, **kwargs: Any) -> None:
        connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
        Timeout(connect=connect, read=read)  # It raises ValueError now rather than at each request.
        self.timeout = timeout
        super().__init__(**kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "timeout": self.timeout}

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> Response:
        """Send a request, with the adapter's timeout if it has none of its own."""
        if timeout is None:
            timeout = self.timeout
        return super().send(
            request, stream=stream, timeout=timeout, verify=verify, cert=cert, proxies=proxies
        )
