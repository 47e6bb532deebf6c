"""What of a declared thing only the store may hold: values of probe headers, which are mostly credentials.

The store keeps them, in the intent and in the log of events: probes need them, and a record that was altered proves
nothing. Whatever is shown or written elsewhere goes through here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOT_SHOWN = "(not shown)"
"""Stands where a value is kept back."""


def without_secrets(document: Any) -> Any:
    """A stored document with the values of a region's probe headers hidden; anything else as it is."""
    health = document.get("health") if isinstance(document, Mapping) else None
    headers = health.get("headers") if isinstance(health, Mapping) else None
    if not isinstance(health, Mapping) or not isinstance(headers, Mapping) or not headers:
        return document
    return {**document, "health": {**health, "headers": dict.fromkeys(headers, NOT_SHOWN)}}
