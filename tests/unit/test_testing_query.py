"""The language of GraceDB's searches."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from requests_gracedb.testing.query import Searchable, parse


class Candidate(Searchable):
    def properties(self) -> Mapping[str, object]:
        return {
            "group": "CBC", "far": 1e-9, "gpstime": 1187008882.4, "search": None,
            "created": "2026-01-02 12:00:00 UTC", "offline": False, "comment": "two words",
        }

    def words(self) -> set[str]:
        return {"g1", "cbc", "dqv"}


def meets(query: str) -> bool:
    return all(condition(Candidate()) for condition in parse(query))


@pytest.mark.parametrize(
    "query",
    [
        "",
        "G1",
        "g1 DQV",
        "group: CBC",
        "group:cbc",
        'group: "CBC"',
        'comment: "two words"',
        "far < 1e-8",
        "far<=1e-9",
        "far > 1e-10",
        "far = 1e-9",
        "gpstime: 1187008882 .. 1187008890",
        "created: 2026-01-01 .. 2026-01-03",
        "created: 2026-01-02 11:00 .. 2026-01-02 13:00:00",
        "offline: False",
        "G1 group: CBC far < 1",
    ],
)
def test_an_event_is_found_by_a_query_that_it_meets(query: str) -> None:
    assert meets(query)


@pytest.mark.parametrize(
    "query",
    [
        "G2",
        "G1 INJ",
        "group: Test",
        "search: AllSky",
        "nonsense: 1",
        "far < 1e-10",
        "far < much",
        "gpstime: 1 .. 2",
        "created: 2026-02-01 .. 2026-02-03",
        "G1 group: Test",
    ],
)
def test_an_event_is_not_found_by_a_query_that_it_does_not_meet(query: str) -> None:
    assert not meets(query)


def test_what_is_no_condition_is_named() -> None:
    with pytest.raises(ValueError, match="cannot understand '<' in the query"):
        parse("far <")
