"""All the adapters, and a session with any one of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from requests.adapters import HTTPAdapter

from requests_gracedb import ErrorAdapter, GraceDBAdapter, RedirectAdapter
from tests.conftest import Waits, mounted

ADAPTERS = [*GraceDBAdapter.__bases__, GraceDBAdapter]

where_a_status_is_the_point = pytest.mark.parametrize(
    "any_session",
    [HTTPAdapter, *(base for base in GraceDBAdapter.__bases__ if base is not ErrorAdapter)],
    indirect=True,
)

where_a_body_may_get_lost = pytest.mark.parametrize(
    "any_session",
    [HTTPAdapter, *(base for base in GraceDBAdapter.__bases__ if base is not RedirectAdapter)],
    indirect=True,
)


@pytest.fixture(params=[HTTPAdapter, *ADAPTERS])
def any_session(
    request: pytest.FixtureRequest, ca_bundle: str, waits: Waits
) -> Iterator[requests.Session]:
    """A session with one adapter on everything, which does not wait between two attempts."""
    with mounted(request.param(), ca_bundle) as session:
        yield session
