"""Reads a world file or the same thing as JSON, and reports everything that is wrong with it at once.

The file is taken whole or not at all. Storing what it declares is not decided here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mahavishnu.integrations.multi_region.core.intent import World
from mahavishnu.integrations.multi_region.core.model import HealthCheck
from mahavishnu.integrations.multi_region.errors import WorldFileError, WorldProblem

from .build import build_world
from .nodes import MAX_BYTES, Flaw, Loc, Parsed, Place, parse_yaml, plain
from .schema import world_schema
from .shape import MAX_FLAWS, check_shape

__all__ = ["load_world", "read_world", "world_from_json", "world_schema"]

_DEFAULTS = HealthCheck()
_LONGEST = 80
_LARGEST = 10**18


def load_world(text: str, source: str, defaults: HealthCheck = _DEFAULTS) -> World:
    """The world that a YAML text declares.

    ``source``: what errors call the text, usually a file's name. ``defaults``: what a region's ``health`` leaves out;
    a region without ``health`` keeps None. Raises WorldFileError with every problem, each with its line; nothing else.
    """
    return _world(parse_yaml(text, source), source, defaults)


def read_world(path: str | Path, defaults: HealthCheck = _DEFAULTS) -> World:
    """The world that a YAML file (UTF-8, at most 1 MB) declares; see ``load_world``. Raises WorldFileError."""
    source = str(path)
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise WorldFileError(source, [WorldProblem(0, "file", source, f"a file that can be read ({why})")]) from error
    try:
        text = raw.decode("utf-8-sig") if len(raw) <= MAX_BYTES else raw.decode("latin-1")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{raw[error.start]:02x}"
        raise WorldFileError(source, [WorldProblem(line, "file", found, "text in UTF-8")]) from error
    return load_world(text, source, defaults)


def world_from_json(data: Mapping[str, Any], defaults: HealthCheck = _DEFAULTS, source: str = "request") -> World:
    """The world that a decoded JSON body declares, by the same rules as the file; problems carry line 0.

    Raises WorldFileError.
    """
    return _world(Parsed(dict(data) if isinstance(data, Mapping) else data), source, defaults)


def _world(parsed: Parsed, source: str, defaults: HealthCheck) -> World:
    def line(loc: Loc) -> int:
        return parsed.places[loc].value if loc in parsed.places else 0

    shaped, misshapen = check_shape(parsed.data)
    world, senseless = build_world(shaped, parsed.data, defaults, line)
    known = {flaw.loc for flaw in parsed.flaws}
    flaws = parsed.flaws[:MAX_FLAWS] + [f for f in misshapen + senseless if f.value is not None or f.loc not in known]
    if flaws:
        problems = {_problem(flaw, parsed) for flaw in flaws}
        raise WorldFileError(source, sorted(problems, key=lambda p: (p.line, p.field, p.allowed)))
    return world


def _problem(flaw: Flaw, parsed: Parsed) -> WorldProblem:
    line = _line(flaw, parsed.places) if flaw.line is None else flaw.line
    value = flaw.value if flaw.at_key or "headers" not in flaw.loc else "(not shown)"
    return WorldProblem(line, plain(_path(flaw.loc, parsed.data)), _shown(value), plain(flaw.allowed))


def _line(flaw: Flaw, places: Mapping[Loc, Place]) -> int:
    """The line of the key or value itself, else of the nearest mapping or list around it; 0 without a file."""
    here = places.get(flaw.loc)
    if here is not None:
        return here.key if flaw.at_key else here.value
    around = (places[flaw.loc[:n]].key for n in range(len(flaw.loc) - 1, -1, -1) if flaw.loc[:n] in places)
    return next(around, 0)


def _path(loc: Loc, data: Any) -> str:
    """``regions.eu-west-1.health.interval``: an entry of a list by its id or name, else by its position from 0."""
    words = ""
    for part in loc:
        data = _inside(data, part)
        name = _own_name(data) if isinstance(part, int) else str(part)[:_LONGEST]
        words += f"[{part}]" if name is None else f".{name}"
    return words.lstrip(".") or "world"


def _inside(data: Any, part: str | int) -> Any:
    try:
        return data[part]
    except (LookupError, TypeError):
        return None


def _own_name(entry: Any) -> str | None:
    names = [entry.get("id"), entry.get("name")] if isinstance(entry, Mapping) else []
    return next((name for name in names if isinstance(name, str) and 0 < len(name) <= _LONGEST), None)


def _shown(value: object) -> object:
    """A value short enough for a message, and fit for JSON."""
    if value is None:
        return "(empty)"
    if isinstance(value, bool | int | float) and abs(value) < _LARGEST:
        return value
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, int):  # as text it might be longer than Python agrees to write
        return "a number of more than 18 digits"
    text = plain(str(value))
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
