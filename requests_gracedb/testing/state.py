"""What the server knows."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from typing import Any, Generic, TypeVar

from .config import User
from .event_file import Reading
from .query import Searchable, parse
from .vocabulary import MDC, PRODUCTION, TEST

_PREFIXES = {PRODUCTION: "", TEST: "T", MDC: "M"}


def now() -> str:
    """Tell the time as GraceDB does."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


@dataclass(frozen=True)
class StoredFile:
    """One version of a file."""

    path: Path
    content_type: str


@dataclass(eq=False)
class LogEntry:
    """A comment, maybe on a file."""

    number: int
    comment: str
    issuer: str
    filename: str = ""
    version: int | None = None
    tags: dict[str, str] = field(default_factory=dict)  # Display names, by name.
    created: str = field(default_factory=now)


@dataclass(frozen=True)
class Label:
    """A label on a record."""

    name: str
    creator: str
    created: str = field(default_factory=now)


@dataclass(eq=False)
class VOEvent:
    """A notice to astronomers, as sent before there were JSON notices."""

    number: int
    voevent_type: str
    filename: str
    version: int
    ivorn: str
    issuer: str
    fields: dict[str, object]
    created: str = field(default_factory=now)


@dataclass(eq=False)
class Record(Searchable):
    """What events and superevents have in common."""

    key: str
    submitter: str
    created: str = field(default_factory=now, kw_only=True)
    labels: dict[str, Label] = field(default_factory=dict, kw_only=True)
    log: list[LogEntry] = field(default_factory=list, kw_only=True)
    files: dict[str, list[StoredFile]] = field(default_factory=dict, kw_only=True)
    voevents: list[VOEvent] = field(default_factory=list, kw_only=True)

    def add_label(self, name: str, creator: str) -> bool:
        """Put a label on the record, and tell whether it is new."""
        label = Label(name, creator)
        return self.labels.setdefault(name, label) is label

    def add_file(self, name: str, file: StoredFile) -> int:
        """Add a file, or a new version of it, and return the number of the version."""
        versions = self.files.setdefault(name, [])
        versions.append(file)
        return len(versions) - 1

    def find_file(self, name: str) -> StoredFile | None:
        """Find a file: ``name`` is the newest version, ``name,0`` the first."""
        if name in self.files:
            return self.files[name][-1]
        stem, _, version = name.rpartition(",")
        versions = {str(number): file for number, file in enumerate(self.files.get(stem, []))}
        return versions.get(version)

    def file_names(self) -> list[str]:
        """List the files and all their versions."""
        names = []
        for name, versions in list(self.files.items()):
            names += [name, *(f"{name},{version}" for version in range(len(versions)))]
        return names

    def add_log(
        self, comment: str, issuer: str, name: str = "", file: StoredFile | None = None
    ) -> LogEntry:
        """Add a comment, and the file that it is about, if any."""
        version = self.add_file(name, file) if file else None
        entry = LogEntry(len(self.log) + 1, comment, issuer, name, version)
        self.log.append(entry)
        return entry

    def find_log(self, number: int) -> LogEntry | None:
        """Find a comment by its number."""
        return next((entry for entry in self.log if entry.number == number), None)


@dataclass(eq=False)
class Event(Record):
    """A candidate that was uploaded."""

    group: str
    pipeline: str
    search: str | None = None
    offline: bool = False
    content_id: str | None = None
    replay_id: str | None = None
    warnings: list[str] = field(default_factory=list)
    reading: Reading = field(default_factory=Reading)
    superevent: str | None = None

    @property
    def category(self) -> str:
        """Which superevents it can be part of."""
        return TEST if self.group == "Test" else MDC if self.search == "MDC" else PRODUCTION

    def properties(self) -> Mapping[str, object]:
        """Tell what can be searched for by name."""
        names = ("group", "pipeline", "search", "offline", "submitter", "created", "superevent",
                 "content_id", "replay_id")
        reading = self.reading
        return {
            **{name: getattr(self, name) for name in names},
            "graceid": self.key, "gid": self.key,
            "gpstime": reading.gpstime, "far": reading.far, "instruments": reading.instruments,
            "nevents": reading.nevents,
        }

    def words(self) -> set[str]:
        """Tell what can be searched for without a name."""
        values = self.key, self.group, self.pipeline, self.search, self.content_id, *self.labels
        return {value.lower() for value in values if value}


@dataclass(eq=False)
class Signoff:
    """The verdict of an advocate, or of an operator."""

    signoff_type: str
    instrument: str
    status: str
    comment: str
    submitter: str

    @property
    def key(self) -> str:
        """What it is called in URLs."""
        return self.signoff_type + self.instrument

    @property
    def request_label(self) -> str:
        """The label that asks for the verdict."""
        return "ADVREQ" if self.signoff_type == "ADV" else f"{self.instrument}OPS"

    @property
    def label(self) -> str:
        """The label that gives the verdict."""
        return f"{'ADV' if self.signoff_type == 'ADV' else self.instrument}{self.status}"


@dataclass(eq=False)
class Superevent(Record):
    """A group of events that may come from one source."""

    category: str
    preferred_event: Event
    events: list[Event]
    t_start: float
    t_0: float
    t_end: float
    em_type: str | None = None
    time_coinc_far: float | None = None
    space_coinc_far: float | None = None
    gw_id: str | None = None
    is_exposed: bool = False
    pipeline_preferred: dict[str, Event] = field(default_factory=dict)
    signoffs: dict[str, Signoff] = field(default_factory=dict)

    def properties(self) -> Mapping[str, object]:
        """Tell what can be searched for by name."""
        names = ("category", "t_start", "t_0", "t_end", "submitter", "created", "em_type", "gw_id")
        return {
            **{name: getattr(self, name) for name in names},
            "id": self.key, "superevent_id": self.key,
            "preferred_event": self.preferred_event.key, "far": self.preferred_event.reading.far,
            "is_gw": self.gw_id is not None, "is_exposed": self.is_exposed,
        }

    def words(self) -> set[str]:
        """Tell what can be searched for without a name."""
        values = self.key, self.gw_id, *self.labels, *(event.key for event in self.events)
        return {value.lower() for value in values if value}

    def add(self, event: Event) -> None:
        """Make an event part of this superevent."""
        if event not in self.events:
            self.events.append(event)
        event.superevent = self.key

    def remove(self, event: Event) -> None:
        """Undo `add`."""
        self.events.remove(event)
        event.superevent = None
        if self.pipeline_preferred.get(event.pipeline) is event:
            del self.pipeline_preferred[event.pipeline]

    def update(self, preferred_event: Event | None = None, **changes: Any) -> None:
        """Change the given attributes."""
        if preferred_event is not None:
            self.preferred_event = preferred_event
            self.add(preferred_event)
        for name, value in changes.items():
            setattr(self, name, value)


AnyRecord = TypeVar("AnyRecord", bound=Record)


@dataclass(frozen=True)
class Page(Generic[AnyRecord]):
    """A part of the results of a search."""

    records: list[AnyRecord]
    number: int


class State:
    """Everything that the server knows.

    Parameters
    ----------
    users : tuple of User
        The accounts.
    count_cache : float
        For how many seconds the number of results of a search is cached.
    """

    def __init__(self, users: tuple[User, ...], count_cache: float) -> None:
        self._initial_users = users
        self._count_cache = count_cache
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.events: dict[str, Event] = {}
        self.superevents: dict[str, Superevent] = {}
        self.users: dict[str, User] = {}
        self._numbers = count(1)
        self._counts: dict[tuple[object, ...], tuple[float, int]] = {}
        for user in self._initial_users:
            self.add_user(user)

    def add_user(self, user: User) -> None:
        """Add an account, or replace it."""
        self.users[user.name.lower()] = user

    def add_event(self, submitter: str, **fields: Any) -> Event:
        """Add an event under a new GraceID."""
        event = Event("", submitter, **fields)
        event.key = f"{_prefix(event)}{next(self._numbers):04}"
        self.events[event.key] = event
        return event

    def find_event(self, key: str, by_content: bool = True) -> Event | None:
        """Find an event by its GraceID, or by its content identifier."""
        if by_content and "-" in key:
            events = list(self.events.values())
            return next((event for event in events if event.content_id == key.lower()), None)
        return self.events.get(key)

    def add_superevent(self, submitter: str, **fields: Any) -> Superevent:
        """Add a superevent, under today's date and the next letters."""
        superevent = Superevent("", submitter, **fields)
        day = datetime.now(timezone.utc)
        with self._lock:
            prefix = f"{_PREFIXES[superevent.category]}S{day:%y%m%d}"
            number = sum(key.startswith(prefix) for key in self.superevents)
            superevent.key = f"{prefix}{in_letters(number)}"
            self.superevents[superevent.key] = superevent
        for event in superevent.events:
            event.superevent = superevent.key
        return superevent

    def find_superevent(self, key: str) -> Superevent | None:
        """Find a superevent by either of its names."""
        if key in self.superevents:
            return self.superevents[key]
        superevents = list(self.superevents.values())
        return next((superevent for superevent in superevents if superevent.gw_id == key), None)

    def confirm(self, superevent: Superevent) -> None:
        """Give a superevent the name of a gravitational wave."""
        date, letters = re.split("(?<=[0-9])(?=[a-z])", superevent.key.partition("S")[2])
        superevent.gw_id = f"{_PREFIXES[superevent.category]}GW{date}{letters.upper()}"

    def search(
        self, records: list[AnyRecord], query: str, start: int, number: int, kind: object = None
    ) -> Page[AnyRecord]:
        """Find some of the records that meet a query, newest first.

        Parameters
        ----------
        records : list
            The ones to search, oldest first.
        query : str
            See `query`.
        start, number : int
            Which part of the results.
        kind : object
            What tells this search from another with the same query.

        Returns
        -------
        Page
            As many records as there are, but no more than when they were counted.
        """
        conditions = parse(query)
        found = [
            record for record in reversed(records) if all(meets(record) for meets in conditions)
        ]
        total = self._counted((kind, query), len(found))
        return Page(found[start:min(start + number, total)], total)

    def _counted(self, key: tuple[object, ...], total: int) -> int:
        """Get the number of results as it was when first asked for."""
        with self._lock:
            expires, counted = self._counts.get(key, (0, 0))
            if time.monotonic() < expires:
                return counted
            self._counts[key] = time.monotonic() + self._count_cache, total
            return total


def in_letters(number: int) -> str:
    """Count a, b, … z, aa, ab, …."""
    rest, last = divmod(number, 26)
    return (in_letters(rest - 1) if rest else "") + chr(ord("a") + last)


def _prefix(event: Event) -> str:
    if event.group == "Test":
        return "T"
    if event.pipeline == "HardwareInjection":
        return "H"
    if event.group == "External":
        return "E"
    return "M" if event.search == "MDC" else "G"
