"""Reads the load that a region reports beside its answer: the ORCA response header ``endpoint-load-metrics``.

Two spellings: ``JSON {"rps_fractional": 42.5}`` and ``TEXT rps_fractional=42.5, application_utilization=0.6``. Whatever
cannot be read counts as not reported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from mahavishnu.integrations.multi_region.core.figures import REGION

HEADER = "endpoint-load-metrics"

_LOAD = ("rps_fractional", "rpsFractional")
_UTILIZATION = ("application_utilization", "applicationUtilization")
_BOUNDS = REGION["current_capacity"]


@dataclass(frozen=True, slots=True)
class LoadReport:
    """``load`` in requests/s, ``utilization`` as a fraction (1.0 is full); None: not reported."""

    load: float | None = None
    utilization: float | None = None


def read_load_report(header: str | None) -> LoadReport:
    """What the header says; an empty report for no header or one that cannot be read."""
    form, _, text = (header or "").strip().partition(" ")
    if form.upper() == "JSON":
        values = _json_values(text)
    elif form.upper() == "TEXT":
        values = _text_values(text)
    else:
        values = {}
    return LoadReport(_figure(values, _LOAD), _figure(values, _UTILIZATION))


def _json_values(text: str) -> Mapping[str, object]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _text_values(text: str) -> Mapping[str, object]:
    pairs = (part.partition("=") for part in text.split(","))
    return {key.strip(): value.strip() for key, _, value in pairs}


def _figure(values: Mapping[str, object], names: tuple[str, ...]) -> float | None:
    """The first of these fields that holds a number that a load can be."""
    for name in names:
        raw = values.get(name)
        if isinstance(raw, bool) or not isinstance(raw, int | float | str):
            continue
        try:
            number = float(raw)
        except (ValueError, OverflowError):
            continue
        if _BOUNDS.takes(number):
            return number
    return None
