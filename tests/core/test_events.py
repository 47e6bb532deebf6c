"""The chain of events: what is written reads back, and no change to it goes unseen."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.events import (
    GENESIS,
    Event,
    EventKind,
    canonical,
    chain,
    parse_event,
    verify_chain,
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


def log_of(given_events: list[Event]) -> tuple[list[str], tuple[int, str]]:
    texts, previous = [], GENESIS
    for seq, event in enumerate(given_events, start=1):
        entry, text = chain(event, seq, previous)
        previous = entry.digest
        texts.append(text)
    return texts, (len(texts), previous)


def three() -> tuple[list[str], tuple[int, str]]:
    return log_of([Event(EventKind.DRAIN_STARTED, float(i), f"region-{i}", "ada") for i in range(3)])


@given(events, st.integers(1, 10**9))
def test_an_event_reads_back_as_written(event: Event, seq: int) -> None:
    entry, text = chain(event, seq, GENESIS)
    assert parse_event(text) == entry
    assert verify_link(text, seq, GENESIS) == entry


@given(st.lists(events, max_size=5))
def test_a_log_that_nobody_touched_is_whole(given_events: list[Event]) -> None:
    texts, head = log_of(given_events)
    assert verify_chain(texts, head) == len(given_events)


def test_the_text_does_not_depend_on_the_order_of_keys() -> None:
    one = Event(EventKind.HEALTH_CHANGED, 1.0, "a", details={"x": 1, "y": 2})
    other = Event(EventKind.HEALTH_CHANGED, 1.0, "a", details={"y": 2, "x": 1})
    assert canonical(one, 1, GENESIS) == canonical(other, 1, GENESIS)


@given(events, st.integers(0, 10**6))
def test_a_changed_character_is_found(event: Event, place: int) -> None:
    texts, head = log_of([event, event])
    text = texts[0]
    place %= len(text)
    texts[0] = text[:place] + ("x" if text[place] != "x" else "y") + text[place + 1 :]
    with pytest.raises(AuditBrokenError):
        verify_chain(texts, head)


@pytest.mark.parametrize(
    ("tamper", "first_bad"),
    [
        (lambda texts: texts[1:], 1),
        (lambda texts: [texts[0], texts[2]], 2),
        (lambda texts: [texts[1], texts[0], texts[2]], 1),
        (lambda texts: [*texts, texts[2]], 4),
        (lambda texts: texts[:2], 2),
        (lambda texts: [], 0),
        (lambda texts: [texts[0], texts[1].replace("ada", "eve"), texts[2]], 3),
        (lambda texts: [texts[0], "{}", texts[2]], 2),
        (lambda texts: [texts[0], texts[1] + " ", texts[2]], 2),
    ],
)
def test_what_was_removed_moved_added_or_altered_is_named(tamper: Any, first_bad: int) -> None:
    texts, head = three()
    with pytest.raises(AuditBrokenError) as caught:
        verify_chain(tamper(texts), head)
    assert caught.value.seq == first_bad


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_figure_that_json_cannot_carry_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical(Event(EventKind.HEALTH_CHANGED, value, "a"), 1, GENESIS)


def test_every_kind_says_which_part_speaks() -> None:
    assert all(kind.value.count(".") == 1 for kind in EventKind)
    assert json.loads(canonical(Event(EventKind.OVERRIDE_USED, 1.0, "a"), 1, GENESIS))["kind"] == "override.used"
