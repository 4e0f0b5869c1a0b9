"""What is the same for every request to a server is worked out once."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from requests import PreparedRequest
from requests.adapters import HTTPAdapter

_Context = dict[str, Any]


class PoolAdapter(HTTPAdapter):
    """An adapter that finds the connection pool of a request with less work.

    urllib3 (2.8) keeps pools by a key made of all settings of a connection, and puts it together
    anew for each request. Here the key of the same settings is remembered. The settings, such as
    ``verify``, ``cert`` and proxies, are those of each request, and so is the pool. What that saves
    is about what the other adapters of this package cost.

    Parameters
    ----------
    **kwargs
        See `requests.adapters.HTTPAdapter`.

    Examples
    --------
    >>> session.mount("https://gracedb.ligo.org/", PoolAdapter())
    """

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Have the pool manager remember its keys: `urllib3.PoolManager` lets others make them.

        Parameters
        ----------
        *args, **kwargs
            See `requests.adapters.HTTPAdapter.init_poolmanager`.
        """
        super().init_poolmanager(*args, **kwargs)
        manager: Any = self.poolmanager  # It is typed as if it took partial objects only.
        manager.key_fn_by_scheme = {
            scheme: _remembered(key_fn) for scheme, key_fn in manager.key_fn_by_scheme.items()
        }

    def request_url(self, request: PreparedRequest, proxies: Any) -> str:
        """Get the URL for the request line; without proxies, there is none to look for.

        Parameters
        ----------
        request : requests.PreparedRequest
        proxies : dict or None

        Returns
        -------
        str
        """
        return super().request_url(request, proxies) if proxies else request.path_url


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
