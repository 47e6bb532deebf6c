"""What an edge refused, and how the resource that spoils a response is found. Pure.

A refused response says little of which resource was bad, and how much of the rest was taken over depends on the type.
So its resources are tried again in parts; a part of one that is refused again has found itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_IN_NAMES = r"[\w~@+.\-/]"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One resource that an edge refused, at which version, why, and the generation that brought it."""

    type_url: str
    name: str
    version: str
    reason: str
    generation: int

    @property
    def resource(self) -> str:
        """Type and name as a person reads them: ``Cluster api~gdpr``."""
        return f"{self.type_url.rpartition('.')[2]} {self.name}"


def parts(names: Sequence[str], reason: str) -> tuple[tuple[str, ...], ...]:
    """The parts in which the resources of a refused response are tried again.

    Those that the reason names are set apart, so that the others are in force after one more response; when it names
    none of them or all, halves.
    """
    named = tuple(name for name in names if is_named(name, reason))
    if named and len(named) < len(names):
        return tuple(name for name in names if name not in set(named)), named
    middle = len(names) // 2
    return tuple(part for part in (tuple(names[:middle]), tuple(names[middle:])) if part)


def is_named(name: str, reason: str) -> bool:
    """Whether a reason has the name as a word of its own."""
    return name in reason and re.search(f"(?<!{_IN_NAMES}){re.escape(name)}(?!{_IN_NAMES})", reason) is not None
