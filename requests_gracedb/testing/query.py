"""The language of GraceDB's searches, as far as it is supported here.

A query is a list of conditions, all of which must be met::

    T0001                               the name of an event, a group, a pipeline, a search, a label
    group: Test pipeline: "gstlal"      the value of a property
    far < 1e-7                          a comparison
    gpstime: 1187008882 .. 1187008890   a range, of created: 2026-01-01 .. 2026-01-02, too
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Condition = Callable[["Searchable"], bool]

_VALUE = r'"[^"]*"|\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?|[^\s"]+'
_CONDITION = re.compile(
    rf"(?P<range>\w+)\s*:\s*(?P<low>{_VALUE})\s*\.\.\s*(?P<high>{_VALUE})"
    rf"|(?P<field>\w+)\s*:\s*(?P<value>{_VALUE})"
    rf"|(?P<compared>\w+)\s*(?P<sign><=|>=|<|>|=)\s*(?P<limit>{_VALUE})"
    r'|"?(?P<word>[^\s":<>=]+)"?'
    r"|(?P<wrong>\S+)"
)
_SIGNS = {
    "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge, "=": operator.eq
}


class Searchable:
    """Something that can be found."""

    def properties(self) -> Mapping[str, object]:
        """Tell what can be searched for by name."""
        raise NotImplementedError

    def words(self) -> set[str]:
        """Tell what can be searched for without a name, in lower case."""
        raise NotImplementedError


def parse(query: str) -> list[Condition]:
    """Parse a query.

    Parameters
    ----------
    query : str
        See above.

    Returns
    -------
    list of callables
        Each takes something that can be found, and tells whether it meets one condition.

    Raises
    ------
    ValueError
        Part of the query is not a condition.
    """
    return list(_conditions(query))


def _conditions(query: str) -> Iterator[Condition]:
    for found in _CONDITION.finditer(query):
        part = {name: text.strip('"') for name, text in found.groupdict().items() if text}
        if "wrong" in part:
            raise ValueError(f"cannot understand {part['wrong']!r} in the query")
        if "range" in part:
            yield _compare(part["range"], operator.ge, part["low"])
            yield _compare(part["range"], operator.le, part["high"])
        elif "compared" in part:
            yield _compare(part["compared"], _SIGNS[part["sign"]], part["limit"])
        elif "field" in part:
            yield _compare(part["field"], operator.eq, part["value"])
        else:
            yield _has_word(part["word"].lower())


def _has_word(word: str) -> Condition:
    return lambda item: word in item.words()


def _compare(name: str, compare: Callable[[Any, Any], bool], limit: str) -> Condition:
    def meets(item: Searchable) -> bool:
        value = item.properties().get(name.lower())
        if value is None:
            return False
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                return compare(float(value), float(limit))
            except ValueError:
                return False
        return compare(str(value).lower(), limit.lower())

    return meets
