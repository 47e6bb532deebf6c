"""What is kept of one region's measured round trips, and the document that it is stored as."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import Any

from .latency import CELLS, LatencyModel
from .model import Point
from .residuals import LONGEST_MS, MEMORY, Residual, lightest

ROOM = 8
"""Once there are too many cells, one in ``ROOM`` of them goes, so that making room is rare."""


@dataclass(slots=True)
class Shelf:
    """One region's residuals by cell, and where the region stood when they were measured: elsewhere they mean nothing.

    ``shown_ms``: what each cell's pull was when corrections were last renewed, at monotonic time ``renewed_at``.
    """

    place: Point
    zone: str
    cells: dict[int, Residual] = field(default_factory=dict)
    shown_ms: dict[int, float] = field(default_factory=dict)
    renewed_at: float = math.inf

    def stands_at(self, place: Point, zone: str) -> bool:
        """Whether the region still stands there."""
        return self.place == place and self.zone == zone

    def same_place(self, other: Shelf) -> bool:
        """Whether both were measured against the region in one place."""
        return self.stands_at(other.place, other.zone)

    def merge(self, other: Shelf) -> bool:
        """Take over the cells that the other heard of later; whether there were any."""
        newer = {c: r for c, r in other.cells.items() if c not in self.cells or r.last_s > self.cells[c].last_s}
        self.cells.update(newer)
        return bool(newer)

    def shrink(self, most: int, now_s: float) -> None:
        """Give up the cells that count least, once there are more than ``most``."""
        if len(self.cells) > most:
            for cell in lightest(self.cells, max(1, most - most // ROOM), now_s):
                del self.cells[cell]


def fingerprint(model: LatencyModel) -> str:
    """What tells one model from another: residuals against one mean nothing beside another."""
    return hashlib.sha256(repr(model).encode()).hexdigest()[:16]


def shelf_text(shelf: Shelf, model: str) -> str:
    """The document as JSON. ``model``: the fingerprint of what the residuals were measured against."""
    cells = {c: [round(r.mean_ms, 3), round(r.depth, 3), r.count, round(r.last_s, 1)] for c, r in shelf.cells.items()}
    place = [shelf.place.latitude, shelf.place.longitude]
    return json.dumps({"place": place, "zone": shelf.zone, "model": model, "cells": cells}, separators=(",", ":"))


def parse_shelf(text: str, model: str, now_s: float) -> Shelf | None:
    """The shelf that a document holds; None when it cannot be read or was made against another model.

    A time after ``now_s`` (a clock was wrong) becomes ``now_s``, so that it ages from now on.
    """
    try:
        raw = json.loads(text)
        if raw["model"] != model:
            return None
        latitude, longitude = raw["place"]
        cells = {_cell(cell): _residual(values, now_s) for cell, values in raw["cells"].items()}
        return Shelf(Point(float(latitude), float(longitude)), str(raw["zone"]), cells)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _cell(text: str) -> int:
    cell = int(text)
    if not 0 <= cell < CELLS:
        raise ValueError(f"{cell} is no cell")
    return cell


def _residual(values: Any, now_s: float) -> Residual:
    mean, depth, count, last = values
    found = Residual(float(mean), min(float(depth), MEMORY), int(count), min(float(last), now_s))
    believable = abs(found.mean_ms) <= LONGEST_MS  # which nan is not either
    if not (believable and found.depth > 0 and found.count > 0 and math.isfinite(found.last_s)):
        raise ValueError(f"{values} is no residual")
    return found
