"""Connections that hold on a real network: idle ones, slow ones, answers that come early."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from math import inf
from time import monotonic
from typing import Any

from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, PoolManager
from urllib3.connection import HTTPConnection

from .content import BLOCK_SIZE

DEFAULT_IDLE_TIMEOUT = 60.0  # seconds

_Context = dict[str, Any]


class ConnectionAdapter(HTTPAdapter):
    """An adapter whose connections hold on a real network, and cost less.

    - A connection that has been idle is not used again when the server, or a NAT on the way, may
      have given it up: after ``idle_timeout``, or earlier if the server says so (``Keep-Alive:
      timeout=N``; 2 seconds before that, or at half of it if N is less than 4).
    - A body that is an open file is read in blocks as large as those of a `FormData`; urllib3 reads
      16 KiB at once.
    - urllib3 (2.8) keeps connection pools by a key made of all settings of a connection, and puts
      it together anew for each request. Here the key of the same settings is remembered. The
      settings, such as ``verify``, ``cert`` and proxies, are those of each request, and so is the
      pool.

    Parameters
    ----------
    idle_timeout : float or None, default 60
        After how many seconds without a request a connection is not used again; None for never.
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

    def __init__(
        self, *, idle_timeout: float | None = DEFAULT_IDLE_TIMEOUT, **kwargs: Any
    ) -> None:
        if idle_timeout is not None and not idle_timeout > 0:
            raise ValueError(
                f"idle_timeout is a positive number of seconds, or None, not {idle_timeout!r}"
            )
        self.idle_timeout = idle_timeout
        super().__init__(**kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "idle_timeout": self.idle_timeout}

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Set the pool manager up."""
        super().init_poolmanager(*args, **kwargs)
        self._set_up(self.poolmanager)
        manager: Any = self.poolmanager  # It is typed as if it took partial objects only.
        manager.key_fn_by_scheme = {
            scheme: _remembered(key_fn) for scheme, key_fn in manager.key_fn_by_scheme.items()
        }

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Get the pool manager for a proxy, set up."""
        manager = super().proxy_manager_for(*args, **kwargs)
        self._set_up(manager)
        return manager

    def request_url(self, request: PreparedRequest, proxies: Any) -> str:
        """Get the URL for the request line; without proxies, there is none to look for."""
        return super().request_url(request, proxies) if proxies else request.path_url

    def _set_up(self, manager: PoolManager) -> None:
        # Not a keyword argument: there are adapters to mix with that take none which requests does
        # not have, such as requests-toolbelt's (1.0).
        manager.connection_pool_kw.setdefault("blocksize", BLOCK_SIZE)
        idle_timeout = inf if self.idle_timeout is None else self.idle_timeout
        manager.pool_classes_by_scheme = {
            scheme: _derived(_Pool, base, idle_timeout)
            for scheme, base in manager.pool_classes_by_scheme.items()
        }


class _Pool(HTTPConnectionPool):
    """A pool of such connections; to be mixed with a class of urllib3."""

    idle_timeout = inf

    @property
    def ConnectionCls(self) -> Any:  # type: ignore[override]  # noqa: N802
        # Asked anew each time, because vcrpy (9.4) puts a class of its own there for a while.
        base: Any = super().ConnectionCls
        if base.__module__ not in ("urllib3.connection", "urllib3.contrib.socks"):
            return base
        return _derived(_Connection, base, self.idle_timeout)


class _Connection(HTTPConnection):
    """A connection that is not used again for ever; to be mixed with a class of urllib3."""

    idle_timeout = inf
    _usable_until = inf

    @property
    def is_connected(self) -> bool:
        """Tell whether the connection is fit for another request."""
        return monotonic() < self._usable_until and super().is_connected

    def getresponse(self) -> Any:
        """Get the response, from the headers of which on the connection is idle.

        The server may count from its last byte. That comes later, but a client that reads slowly
        does not know when.
        """
        response = super().getresponse()
        seconds = self.idle_timeout
        if "keep-alive" in response.headers:
            seconds = min(seconds, _usable_for(response.headers["keep-alive"]))
        self._usable_until = monotonic() + seconds
        return response


@lru_cache
def _derived(mixin: type, base: type, idle_timeout: float) -> Any:
    """Make a class of urllib3 one of ours, be it for http, https or SOCKS.

    The setting is an attribute of the class: urllib3 (2.8) refuses parameters that it does not
    know, in the key of a pool as in the constructor of a connection.
    """
    if issubclass(base, mixin):
        return base
    return type(base.__name__, (mixin, base), {"idle_timeout": idle_timeout})


@lru_cache
def _usable_for(keep_alive: str) -> float:
    """Tell for how many seconds a connection can be used of which a server says this."""
    match = re.search(r"\btimeout\s*=\s*\"?(\d+)", keep_alive, re.IGNORECASE)
    if match is None:
        return inf
    seconds = int(match[1])
    # A request takes its time to get there.
    return max(seconds - 2, seconds / 2)


def _remembered(key_fn: Callable[[_Context], Any]) -> Callable[[_Context], Any]:
    @lru_cache
    def remembered(settings: tuple[tuple[str, Any], ...]) -> Any:
        return key_fn(dict(settings))

    def key_of(context: _Context) -> Any:
        try:
            return remembered(tuple(context.items()))
        except TypeError:  # Socket options are a list.
            return key_fn(context)

    return key_of
