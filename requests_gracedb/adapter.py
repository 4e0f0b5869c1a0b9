"""All the adapters in one."""

from __future__ import annotations

from typing import Any

from requests.adapters import DEFAULT_POOLBLOCK, DEFAULT_POOLSIZE
from urllib3.util import Retry

from .connection import DEFAULT_IDLE_TIMEOUT, ConnectionAdapter
from .credential import AuthAdapter
from .errors import ErrorAdapter
from .file import FileAdapter
from .redirect import RedirectAdapter
from .retry import DEFAULT_RETRIES, RetryAdapter
from .timeout import DEFAULT_TIMEOUT, TimeoutAdapter, TimeoutTypes
from .user_agent import UserAgentAdapter


class GraceDBAdapter(
    AuthAdapter,
    RedirectAdapter,
    ErrorAdapter,
    FileAdapter,
    UserAgentAdapter,
    RetryAdapter,
    TimeoutAdapter,
    ConnectionAdapter,
):
    """The adapter to mount on a session for GraceDB and services like it.

    It combines its bases and adds nothing: `AuthAdapter`, `RedirectAdapter`, `ErrorAdapter`,
    `FileAdapter`, `UserAgentAdapter`, `RetryAdapter`, `TimeoutAdapter` and `ConnectionAdapter`.
    Mounted on a server's prefix, it leaves the session unchanged for every other URL.

    Parameters
    ----------
    timeout : float, tuple of two floats, or None, default (10, 120)
        Seconds to wait for a connection, and for the server between two bytes, if a request sets
        no timeout.
    max_retries : urllib3.util.Retry or int, default GraceDBRetry()
        When to retry a request; 0 for never.
    user_agent : str, optional
        The product, or products, of your application, such as ``"my-pipeline/1.2"``.
    idle_timeout : float or None, default 60
        Seconds without a request after which a connection is not reused; None for no limit.
    pool_connections : int, default 10
        How many hosts to keep connections to.
    pool_maxsize : int, default 10
        How many connections to keep to one host.
    pool_block : bool, default False
        Whether a thread waits for one of ``pool_maxsize`` connections rather than opening another.
    **kwargs
        For an adapter that this one is mixed with.

    Examples
    --------
    >>> session = requests.Session()
    >>> session.mount("https://gracedb.ligo.org/", GraceDBAdapter())
    """

    def __init__(
        self,
        *,
        timeout: TimeoutTypes = DEFAULT_TIMEOUT,
        max_retries: Retry | int = DEFAULT_RETRIES,
        user_agent: str | None = None,
        idle_timeout: float | None = DEFAULT_IDLE_TIMEOUT,
        pool_connections: int = DEFAULT_POOLSIZE,
        pool_maxsize: int = DEFAULT_POOLSIZE,
        pool_block: bool = DEFAULT_POOLBLOCK,
        **kwargs: Any,
    ) -> None:
        # Only the signature: each base takes its own parameters.
        super().__init__(
            timeout=timeout,
            max_retries=max_retries,
            user_agent=user_agent,
            idle_timeout=idle_timeout,
            pool_connections=pool_connections,
            pool_maxsize=pool_maxsize,
            pool_block=pool_block,
            **kwargs,
        )
