"""A stand-in until the tests that import it from here have moved."""

from __future__ import annotations

from typing import Any

from requests_gracedb import testing


class GraceDBServer(testing.GraceDBServer):
    """Without what surprises tests that were written against a kinder server."""

    def __init__(self, *, throttle: str | None = None, **kwargs: Any) -> None:
        super().__init__(throttle=throttle, count_cache=0, **kwargs)
