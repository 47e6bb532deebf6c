"""How the difference between what is declared and what is wanted is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mahavishnu.integrations.multi_region.core.hidden import without_secrets

from .output import plain, show_table

if TYPE_CHECKING:
    from mahavishnu.integrations.multi_region.core.intent import Change

_LONGEST = 60


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
    """A line for each thing that is added or removed, and for each field that changes; ``none`` when there is none."""
    show_table(("change", "what", "field", "before", "after"), _rows(changes), empty=none)


def _rows(changes: Sequence[Mapping[str, Any]]) -> Iterator[tuple[object, ...]]:
    for change in changes:
        if change["kind"] != "update":
            yield change["kind"], change["key"], None, None, None
            continue
        before, after = change["before"] or {}, change["after"] or {}
        for name in change["fields"]:
            yield change["kind"], change["key"], name, _short(before.get(name)), _short(after.get(name))


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    text = plain(text)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
