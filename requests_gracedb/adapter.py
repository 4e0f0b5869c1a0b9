"""All the adapters in one."""

from __future__ import annotations

from .auth import AuthAdapter
from .errors import ErrorAdapter
from .file import FileAdapter
from .retry import RetryAdapter
from .timeout import TimeoutAdapter
from .user_agent import UserAgentAdapter


class GraceDBAdapter(
    AuthAdapter, ErrorAdapter, FileAdapter, UserAgentAdapter, RetryAdapter, TimeoutAdapter
):
    """The adapter to mount on a session for GraceDB and services like it.

    It does what each of its bases does, and nothing besides: `~requests_gracedb.auth.AuthAdapter`,
    `ErrorAdapter`, `FileAdapter`, `UserAgentAdapter`, `RetryAdapter` and `TimeoutAdapter`. Mounted
    on the prefix of a server, it leaves the session as it was for every other URL.

    Parameters
    ----------
    timeout : float, tuple of two floats, or None, default (10, 120)
        How many seconds to wait for a connection, and for the server between two bytes, where a
        request sets no timeout.
    max_retries : urllib3.util.Retry or int, default GraceDBRetry()
        When to send a request again; 0 for never.
    user_agent : str, optional
        The product or products of your application, such as ``"my-pipeline/1.2"``.
    pool_connections : int, default 10
        How many hosts to keep connections to.
    pool_maxsize : int, default 10
        How many connections to keep to one host.
    pool_block : bool, default False
        Whether a thread waits for one of ``pool_maxsize`` connections rather than open another.

    Examples
    --------
    >>> session = requests.Session()
    >>> session.mount("https://gracedb.ligo.org/", GraceDBAdapter())
    """
