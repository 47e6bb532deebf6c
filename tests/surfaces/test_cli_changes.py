"""How differences between what is declared and what is wanted are shown."""

from __future__ import annotations

import json

from mahavishnu.integrations.multi_region.core.intent import Change, ChangeKind
from mahavishnu.integrations.multi_region.surfaces.cli.changes import record_of


def test_credentials_of_probes_are_not_shown() -> None:
    before, after = ({"health": {"headers": {"authorization": word}}} for word in ("old-1", "new-2"))
    shown = record_of(Change(ChangeKind.UPDATE, "regions/a", before, after))
    assert shown["fields"] == ["health"]
    assert not [word for word in ("old-1", "new-2") if word in json.dumps(shown)]
