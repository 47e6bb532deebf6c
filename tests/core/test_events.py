"""The chain of events: what is written reads back, and no change to it goes unseen."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.events import (
    GENESIS,
    Event,
    EventKind,
    canonical,
    chain,
    parse_event,
    verify_link,
)
from mahavishnu.integrations.multi_region.errors import AuditBrokenError

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(st.text(), plain, max_size=4)
events = st.builds(
    Event,
    kind=st.sampled_from(EventKind),
    at=st.floats(0, 4e9),
    subject=st.text(),
    actor=st.text(),
    reason=st.text(),
    before=st.none() | objects,
    after=st.none() | objects,
    details=objects,
)


@given(events, st.integers(1, 10**9))
def test_an_event_reads_back_as_written(event: Event, seq: int) -> None:
    entry, text = chain(event, seq, GENESIS)
    assert parse_event(text) == entry
    assert verify_link(text, seq, GENESIS) == entry


def test_the_text_does_not_depend_on_the_order_of_keys() -> None:
    one = Event(EventKind.HEALTH_CHANGED, 1.0, "a", details={"x": 1, "y": 2})
    other = Event(EventKind.HEALTH_CHANGED, 1.0, "a", details={"y": 2, "x": 1})
    assert canonical(one, 1, GENESIS) == canonical(other, 1, GENESIS)


@given(events, st.integers(0, 10**6))
def test_a_changed_character_is_found_there_or_where_the_next_event_follows(event: Event, place: int) -> None:
    first, text = chain(event, 1, GENESIS)
    _, following = chain(event, 2, first.digest)
    place %= len(text)
    altered = text[:place] + ("x" if text[place] != "x" else "y") + text[place + 1 :]
    with pytest.raises(AuditBrokenError):
        verify_link(following, 2, verify_link(altered, 1, GENESIS).digest)


FIRST, TEXT = chain(Event(EventKind.DRAIN_STARTED, 1.0, "region", "ada"), 7, GENESIS)


@pytest.mark.parametrize(
    ("text", "seq", "previous", "says"),
    [
        (TEXT, 8, GENESIS, "carries the number 7: an event was removed or added before it"),
        (TEXT, 7, FIRST.digest, "does not follow from the event before it"),
        (TEXT + " ", 7, GENESIS, "is not in the form that was written"),
        ("{}", 7, GENESIS, "cannot be read"),
        ("", 7, GENESIS, "cannot be read"),
        (TEXT.replace("drain.started", "drain.sneaked"), 7, GENESIS, "cannot be read"),
    ],
)
def test_what_is_not_the_event_that_belongs_there_is_refused(text: str, seq: int, previous: str, says: str) -> None:
    assert verify_link(TEXT, 7, GENESIS) == FIRST
    with pytest.raises(AuditBrokenError, match=says) as caught:
        verify_link(text, seq, previous)
    assert caught.value.seq == seq


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_figure_that_json_cannot_carry_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical(Event(EventKind.HEALTH_CHANGED, value, "a"), 1, GENESIS)


def test_every_kind_says_which_part_speaks() -> None:
    assert all(kind.value.count(".") == 1 for kind in EventKind)
    assert json.loads(canonical(Event(EventKind.OVERRIDE_USED, 1.0, "a"), 1, GENESIS))["kind"] == "override.used"
