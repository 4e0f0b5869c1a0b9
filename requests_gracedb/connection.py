"""Connections: large blocks for raw files, and pools that are found with less work."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from urllib3 import PoolManager

from .content import BLOCK_SIZE

_Context = dict[str, Any]


class ConnectionAdapter(HTTPAdapter):
    """An adapter whose connections cost less.

    - A body that is an open file is read in blocks as large as those of a `FormData`; urllib3 reads
      16 KiB at once.
    - urllib3 (2.8) keeps connection pools by a key made of all settings of a connection, and puts
      it together anew for each request. Here the key of the same settings is remembered. The
      settings, such as ``verify``, ``cert`` and proxies, are those of each request, and so is the
      pool. What that saves is about what the other adapters of this package cost.

    Parameters
    ----------
    **kwargs
        See `requests.adapters.HTTPAdapter`.

    Examples
    --------
    >>> session.mount("https://gracedb.ligo.org/", ConnectionAdapter())
    """

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Set the pool manager up."""
        super().init_poolmanager(*args, **kwargs)
        _read_in_large_blocks(self.poolmanager)
        manager: Any = self.poolmanager  # It is typed as if it took partial objects only.
        manager.key_fn_by_scheme = {
            scheme: _remembered(key_fn) for scheme, key_fn in manager.key_fn_by_scheme.items()
        }

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Get the pool manager for a proxy, set up."""
        manager = super().proxy_manager_for(*args, **kwargs)
        _read_in_large_blocks(manager)
        return manager

    def request_url(self, request: PreparedRequest, proxies: Any) -> str:
        """Get the URL for the request line; without proxies, there is none to look for."""
        return super().request_url(request, proxies) if proxies else request.path_url


def _read_in_large_blocks(manager: PoolManager) -> None:
    # Not a keyword argument: there are adapters to mix with that take none which requests does not
    # have, such as requests-toolbelt's (1.0).
    manager.connection_pool_kw.setdefault("blocksize", BLOCK_SIZE)


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
