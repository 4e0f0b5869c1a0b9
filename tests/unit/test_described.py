"""DescribedAdapter: what a notebook shows of an adapter."""

from __future__ import annotations

import pytest

from requests_gracedb import (
    AuthAdapter,
    GraceDBAdapter,
    RetryAdapter,
    TimeoutAdapter,
    UserAgentAdapter,
    __version__,
)

PRODUCT = f"requests_gracedb/{__version__}"


class Mine(GraceDBAdapter):
    """An adapter of a user."""


@pytest.mark.parametrize(
    ("adapter", "expected"),
    [
        (
            GraceDBAdapter(),
            f"<GraceDBAdapter timeout=(10, 120) idle_timeout=60 retries=5 user_agent='{PRODUCT}'>",
        ),
        (
            Mine(timeout=None, idle_timeout=30.5, max_retries=0, user_agent="mine/1"),
            f"<Mine timeout=None idle_timeout=30.5 retries=0 user_agent='mine/1 {PRODUCT}'>",
        ),
        (AuthAdapter(), "<AuthAdapter retries=0>"),
        (RetryAdapter(max_retries=2), "<RetryAdapter retries=2>"),
        (TimeoutAdapter(timeout=5), "<TimeoutAdapter timeout=5 retries=0>"),
        (UserAgentAdapter(), f"<UserAgentAdapter retries=0 user_agent='{PRODUCT}'>"),
    ],
    ids=repr,
)
def test_an_adapter_shows_its_settings(adapter: GraceDBAdapter, expected: str) -> None:
    assert repr(adapter) == expected


def test_a_number_of_retries_that_was_set_later_is_shown() -> None:
    adapter = AuthAdapter()
    adapter.max_retries = 3  # type: ignore[assignment]
    assert repr(adapter) == "<AuthAdapter retries=3>"


def test_an_adapter_that_was_not_made_shows_its_name() -> None:
    # In a traceback with local variables, say.
    assert repr(Mine.__new__(Mine)) == "<Mine>"
