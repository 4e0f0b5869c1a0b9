"""The User-Agent header names the package, and the application that uses it."""

from __future__ import annotations

from typing import Any

from requests import PreparedRequest
from requests.utils import default_user_agent

from ._version import __version__
from .described import DescribedAdapter

_DEFAULT_OF_REQUESTS = default_user_agent()


class UserAgentAdapter(DescribedAdapter):
    """An adapter that sends ``requests_gracedb/<version>`` as User-Agent (RFC 9110, 10.1.5).

    It replaces requests' default. A User-Agent that the session or the request sets stays.

    Parameters
    ----------
    user_agent : str, optional
        The product, or products, of your application, such as ``"my-pipeline/1.2"``; sent first.
    **kwargs
        See `requests.adapters.HTTPAdapter`.

    Raises
    ------
    ValueError
        ``user_agent`` is not printable ASCII.

    Examples
    --------
    >>> session.mount("https://gracedb.ligo.org/", UserAgentAdapter(user_agent="my-pipeline/1.2"))
    """

    def __init__(self, *, user_agent: str | None = None, **kwargs: Any) -> None:
        product = f"requests_gracedb/{__version__}"
        if user_agent:
            if not (user_agent.isascii() and user_agent.isprintable()):
                raise ValueError(f"user_agent must be printable ASCII, which {user_agent!r} is not")
            product = f"{user_agent} {product}"
        self.user_agent = product
        super().__init__(**kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "user_agent": self.user_agent}

    def add_headers(self, request: PreparedRequest, **kwargs: Any) -> None:
        """Set the User-Agent header."""
        super().add_headers(request, **kwargs)
        if request.headers.get("User-Agent") in (None, _DEFAULT_OF_REQUESTS):
            request.headers["User-Agent"] = self.user_agent
