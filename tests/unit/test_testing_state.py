"""What the server knows."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from requests_gracedb.testing.config import Config, User
from requests_gracedb.testing.state import Event, State, StoredFile, Superevent, in_letters

USER = User("albert", "secret", 4e9)


@pytest.fixture
def state() -> State:
    return State((USER,), count_cache=30)


def make_event(state: State, **fields: object) -> Event:
    return state.add_event("albert", **{"group": "Test", "pipeline": "gstlal", **fields})


def make_superevent(state: State) -> Superevent:
    event = make_event(state)
    return state.add_superevent(
        "albert", category="Test", preferred_event=event, events=[event], t_start=1, t_0=2, t_end=3
    )


@pytest.mark.parametrize(
    "number, letters", [(0, "a"), (25, "z"), (26, "aa"), (27, "ab"), (701, "zz"), (702, "aaa")]
)
def test_superevents_are_counted_in_letters(number: int, letters: str) -> None:
    assert in_letters(number) == letters


def test_a_superevent_is_called_by_its_day(state: State) -> None:
    day = f"{datetime.now(timezone.utc):%y%m%d}"
    assert [make_superevent(state).key for _ in range(2)] == [f"TS{day}a", f"TS{day}b"]


def test_a_superevent_has_another_name_when_confirmed(state: State) -> None:
    superevent = make_superevent(state)
    state.confirm(superevent)
    assert superevent.gw_id == f"TGW{datetime.now(timezone.utc):%y%m%d}A"
    assert state.find_superevent(superevent.gw_id) is superevent


def test_an_event_is_found_by_its_content_or_not(state: State) -> None:
    event = make_event(state, content_id="a-b")
    assert state.find_event("A-B") is event
    assert state.find_event("a-b", by_content=False) is None


def test_the_first_of_two_events_is_found_by_their_content(state: State) -> None:
    first, _ = (make_event(state, content_id="a-b") for _ in range(2))
    assert state.find_event("a-b") is first


def test_the_versions_of_a_file_are_kept(state: State) -> None:
    event = make_event(state)
    old, new = (StoredFile(Path(name), "text/plain") for name in ("old", "new"))
    assert [event.add_file("a", file) for file in (old, new)] == [0, 1]
    assert event.file_names() == ["a", "a,0", "a,1"]
    assert (event.find_file("a"), event.find_file("a,0")) == (new, old)
    assert event.find_file("a,2") is event.find_file("b") is None


def test_the_number_of_results_is_remembered_for_each_query(state: State) -> None:
    events: list[Event] = []
    assert state.search(events, "", 0, 10).number == 0
    events.append(make_event(state))
    assert state.search(events, "", 0, 10).records == []
    assert state.search(events, "Test", 0, 10).records == events


def test_an_event_leaves_its_superevent(state: State) -> None:
    superevent, event = make_superevent(state), make_event(state)
    superevent.add(event)
    superevent.pipeline_preferred["gstlal"] = event
    superevent.remove(event)
    assert event.superevent is None
    assert superevent.pipeline_preferred == {}


def test_everything_is_forgotten(state: State) -> None:
    make_superevent(state)
    state.add_user(User("marie"))
    state.reset()
    assert state.events == state.superevents == {}
    assert list(state.users) == ["albert"]
    assert make_event(state).key == "T0001"


def test_the_settings_of_a_server_are_one_line() -> None:
    config = Config(
        listener=3, directory="/", public_key="a\nb", issuer="i", audiences=("a",), names=(),
        users=(USER,), throttle=None, count_cache=30, knows_content_id=True, takes_voevents=False,
    )
    line = config.dump()
    assert "\n" not in line
    assert Config.load(line).dump() == line
