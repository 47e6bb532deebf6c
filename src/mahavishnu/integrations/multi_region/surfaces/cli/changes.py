"""How the difference between what is declared and what is wanted is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from mahavishnu.integrations.multi_region.core.hidden import without_secrets

from .output import plain, show_table

if TYPE_CHECKING:
    from mahavishnu.integrations.multi_region.core.intent import Change

_LONGEST = 60
_CONTEXT = 12
_NOT_SHOWN = "(not shown)"


def record_of(change: Change) -> dict[str, Any]:
    """A change as the server writes it; values of probe headers are not shown."""
    return {
        "kind": change.kind.value,
        "key": change.key,
        "fields": list(change.fields),
        "before": without_secrets(change.before),
        "after": without_secrets(change.after),
    }


def show_changes(changes: Sequence[Mapping[str, Any]], none: str) -> None:
    """A line for each thing that is added or removed, and for each field that changes; ``none`` when there is none.

    Of a field with members those that differ have a line each: ``health.interval_s``.
    """
    show_table(("change", "what", "field", "before", "after"), _rows(changes), empty=none)


def _rows(changes: Sequence[Mapping[str, Any]]) -> Iterator[tuple[object, ...]]:
    for change in changes:
        if change["kind"] != "update":
            yield change["kind"], change["key"], None, None, None
            continue
        before, after = change["before"] or {}, change["after"] or {}
        for name in change["fields"]:
            members = list(_differing(name, before.get(name), after.get(name)))
            for path, was, now in members or [(name, _NOT_SHOWN, _NOT_SHOWN)]:
                yield change["kind"], change["key"], path, *_short(_text(was), _text(now))


def _differing(path: str, before: object, after: object) -> Iterator[tuple[str, object, object]]:
    """The members that differ, each by its path, or the whole where one side has no members."""
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        if before != after:
            yield path, before, after
        return
    for name in sorted({*before, *after}):
        yield from _differing(f"{path}.{name}", before.get(name), after.get(name))


def _text(value: object) -> str:
    return plain(value if isinstance(value, str) else json.dumps(value))


def _short(before: str, after: str) -> tuple[str, str]:
    """Both no longer than a table bears; of long ones the part from a little before they differ."""
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
    start = 0 if max(len(before), len(after)) <= _LONGEST else max(0, same - _CONTEXT)
    return _cut(before, start), _cut(after, start)


def _cut(text: str, start: int) -> str:
    end = start + _LONGEST
    return ("…" if start else "") + text[start:end] + ("…" if len(text) > end else "")
