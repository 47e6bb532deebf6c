"""How differences between what is declared and what is wanted are shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.core.intent import Change, ChangeKind
from mahavishnu.integrations.multi_region.surfaces.cli.changes import record_of, show_changes


def test_credentials_of_probes_are_not_shown() -> None:
    before, after = ({"health": {"headers": {"authorization": word}}} for word in ("old-1", "new-2"))
    shown = record_of(Change(ChangeKind.UPDATE, "regions/a", before, after))
    assert shown["fields"] == ["health"]
    assert not [word for word in ("old-1", "new-2") if word in json.dumps(shown)]


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ({"name": "a"}, {"name": "b"}, [("name", "a", "b")]),
        ({"health": {"path": "/", "rise": 2}}, {"health": {"path": "/", "rise": 3}}, [("health.rise", "2", "3")]),
        ({"health": None}, {"health": {"rise": 3}}, [("health", "null", '{"rise": 3}')]),
        ({"law": {"of": {"a": 1}}}, {"law": {"of": {"b": 1}}}, [("law.of.a", "1", "null"), ("law.of.b", "null", "1")]),
        (
            {"text": "x" * 80 + "old"},
            {"text": "x" * 80 + "new"},
            [("text", "…" + "x" * 12 + "old", "…" + "x" * 12 + "new")],
        ),
        ({"text": "x"}, {"text": "y" * 90}, [("text", "x", "y" * 60 + "…")]),
        ({"health": {"headers": {"key": 1}}}, {"health": {"headers": {"key": 1}}}, [("health", "(not shown)")]),
    ],
)
def test_of_a_field_what_differs_is_shown(
    capsys: pytest.CaptureFixture[str],
    before: dict[str, Any],
    after: dict[str, Any],
    shown: list[tuple[str, ...]],
) -> None:
    change = {"kind": "update", "key": "k", "fields": list(after), "before": before, "after": after}
    show_changes([change], none="none")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    for row in shown:
        assert any(all(part in " ".join(line) for part in row) for line in lines), lines
