"""Checks data against the models, and keeps every entry whose own shape is right although others are wrong.

That way one reading finds all that is wrong: shapes here, meaning in ``build.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mahavishnu.integrations.multi_region.errors import InvalidInputError, nearest_hint

from .nodes import MISSING, Flaw, Loc
from .schema import (
    ENTRIES,
    PLANNED_KEYS,
    EdgeEntry,
    Entry,
    PolicyEntry,
    RegionEntry,
    SafetyEntry,
    ServiceEntry,
    WorldEntry,
)

MAX_FLAWS = 200
"""More are counted, not listed."""


@dataclass(frozen=True, slots=True)
class Shaped:
    """The entries whose shape is right, by their position in the file's lists."""

    regions: Mapping[int, RegionEntry] = field(default_factory=dict)
    services: Mapping[int, ServiceEntry] = field(default_factory=dict)
    policies: Mapping[int, PolicyEntry] = field(default_factory=dict)
    safety: SafetyEntry = field(default_factory=SafetyEntry)
    edges: Mapping[int, EdgeEntry] = field(default_factory=dict)


def check_shape(data: Any) -> tuple[Shaped, list[Flaw]]:
    """The entries that are as they should be, and what is wrong with the others."""
    try:
        world = WorldEntry.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        flaws = [_flaw(detail) for detail in details[:MAX_FLAWS]]
        if len(details) > MAX_FLAWS:
            flaws.append(Flaw((), f"{len(details) - MAX_FLAWS} more problems", "to be seen when these are mended"))
        return _salvage(data), flaws
    return Shaped(
        dict(enumerate(world.regions)),
        dict(enumerate(world.services)),
        dict(enumerate(world.policies)),
        world.safety,
        dict(enumerate(world.edges)),
    ), []


_E = TypeVar("_E", bound=Entry)


def _salvage(data: Any) -> Shaped:
    return Shaped(
        _good(RegionEntry, entries(data, "regions")),
        _good(ServiceEntry, entries(data, "services")),
        _good(PolicyEntry, entries(data, "policies")),
        edges=_good(EdgeEntry, entries(data, "edges")),
    )


def entries(data: Any, section: str) -> dict[int, Mapping[str, Any]]:
    """The mappings in one of the file's lists, by position; whatever else stands there is left out."""
    listed = data.get(section) if isinstance(data, Mapping) else None
    return {i: e for i, e in enumerate(listed) if isinstance(e, Mapping)} if isinstance(listed, list) else {}


def _good(kind: type[_E], given: Mapping[int, Any]) -> dict[int, _E]:
    found: dict[int, _E] = {}
    for position, raw in given.items():
        try:
            found[position] = kind.model_validate(raw)
        except ValidationError:
            continue  # its flaws are in the whole document's list
    return found


def _flaw(detail: ErrorDetails) -> Flaw:
    """One of pydantic's complaints in the words of this package."""
    loc: Loc = tuple(detail["loc"])
    at_key = loc[-1:] == ("[key]",)
    loc = loc[:-1] if at_key else loc
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, InvalidInputError):
        return Flaw(loc, cause.value, cause.allowed, at_key=at_key)
    if detail["type"] == "extra_forbidden":
        return Flaw(loc, loc[-1], _known_keys(loc), at_key=True)
    if detail["type"] == "missing":
        return Flaw(loc, MISSING, f"needed here. {_description(loc)}")
    if detail["type"] == "list_type":
        return Flaw(loc, detail["input"], "a list")
    if cause is not None:  # the value was too long to be put into the error that refuses it
        return Flaw(loc, detail["input"], "a shorter value")
    return Flaw(loc, detail["input"], _mapping(loc))


def _entry(loc: Loc) -> type[Entry] | None:
    return ENTRIES.get(tuple(part for part in loc if isinstance(part, str)))


def _known_keys(loc: Loc) -> str:
    """What to write instead of an unknown key."""
    kind = _entry(loc[:-1]) or WorldEntry
    if len(loc) == 1 and loc[0] in PLANNED_KEYS:
        return f"leave {loc[0]!r} out: it is kept for a later release, and this one does not read it yet"
    return nearest_hint(str(loc[-1])[:80], list(kind.model_fields))


def _description(loc: Loc) -> str:
    kind = _entry(loc[:-1]) or WorldEntry
    return kind.model_fields[str(loc[-1])].description or ""


def _mapping(loc: Loc) -> str:
    kind = _entry(loc)
    return "a mapping" if kind is None else f"a mapping with keys of: {', '.join(kind.model_fields)}"
