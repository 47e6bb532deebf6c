"""Conditions over facts: what each form means, what it reads, and how it is written.

Each says whether it holds: True, False, or None when a fact that it needs is unknown. They follow Kleene's strong
logic, so taking a fact away can only make an answer unknown, never turn it round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidInputError
from .facts import ADEQUACY, Reader, Value

MAX_DEPTH = 8
MAX_PARTS = 64


@dataclass(frozen=True, slots=True)
class Always:
    """Holds everywhere."""

    def holds(self, read: Reader) -> bool | None:
        return True

    def reads(self) -> Iterable[tuple[str, Value]]:
        return ()

    def document(self) -> dict[str, Any]:
        return {"always": True}


@dataclass(frozen=True, slots=True)
class Is:
    """Holds where a fact has this value."""

    fact: str
    value: Value

    def holds(self, read: Reader) -> bool | None:
        said = read(self.fact)
        return None if said is None else said == self.value

    def reads(self) -> Iterable[tuple[str, Value]]:
        return ((self.fact, self.value),)

    def document(self) -> dict[str, Any]:
        return {"fact": self.fact, "is": self.value}


@dataclass(frozen=True, slots=True)
class In:
    """Holds where a fact has one of these values."""

    fact: str
    values: tuple[str, ...]

    def holds(self, read: Reader) -> bool | None:
        said = read(self.fact)
        return None if said is None else said in self.values

    def reads(self) -> Iterable[tuple[str, Value]]:
        return tuple((self.fact, value) for value in self.values)

    def document(self) -> dict[str, Any]:
        return {"fact": self.fact, "in": list(self.values)}


@dataclass(frozen=True, slots=True)
class Adequate:
    """Holds where an exporter's regime (``eu``, ``gb``, ``ch``) finds the region's country adequate.

    A decision that covers only some recipients holds where the fact about the recipient does.
    """

    exporter: str

    def holds(self, read: Reader) -> bool | None:
        said = read(ADEQUACY + self.exporter)
        if not isinstance(said, str):
            return None
        if said.startswith("if:"):
            met = read(said.removeprefix("if:"))
            return met if isinstance(met, bool) else None
        return {"inside": True, "yes": True, "no": False}.get(said)

    def reads(self) -> Iterable[tuple[str, Value]]:
        return ((ADEQUACY + self.exporter, "yes"),)

    def document(self) -> dict[str, Any]:
        return {"adequate_for": self.exporter}


@dataclass(frozen=True, slots=True)
class Every:
    """Holds where all parts do."""

    parts: tuple[Condition, ...]

    def holds(self, read: Reader) -> bool | None:
        answer: bool | None = True
        for part in self.parts:
            said = part.holds(read)
            if said is False:
                return False
            if said is None:
                answer = None
        return answer

    def reads(self) -> Iterable[tuple[str, Value]]:
        return tuple(pair for part in self.parts for pair in part.reads())

    def document(self) -> dict[str, Any]:
        return {"all": [part.document() for part in self.parts]}


@dataclass(frozen=True, slots=True)
class Some:
    """Holds where at least one part does."""

    parts: tuple[Condition, ...]

    def holds(self, read: Reader) -> bool | None:
        answer: bool | None = False
        for part in self.parts:
            said = part.holds(read)
            if said:
                return True
            if said is None:
                answer = None
        return answer

    def reads(self) -> Iterable[tuple[str, Value]]:
        return tuple(pair for part in self.parts for pair in part.reads())

    def document(self) -> dict[str, Any]:
        return {"any": [part.document() for part in self.parts]}


@dataclass(frozen=True, slots=True)
class Not:
    """Holds where its part does not."""

    part: Condition

    def holds(self, read: Reader) -> bool | None:
        said = self.part.holds(read)
        return None if said is None else not said

    def reads(self) -> Iterable[tuple[str, Value]]:
        return self.part.reads()

    def document(self) -> dict[str, Any]:
        return {"not": self.part.document()}


Condition = Always | Is | In | Adequate | Every | Some | Not


# --- parsing ----------------------------------------------------------------------------------

_FORM = 'one of {"fact": NAME, "is": VALUE}, {"fact": NAME, "in": [VALUES]}, {"adequate_for": REGIME}, {"all": [..]}, '
_FORM += '{"any": [..]}, {"not": ..}, {"always": true}'


def parse_condition(document: Any, where: str = "when", depth: int = 0) -> Condition:
    """The condition that a document describes. Raises InvalidInputError naming the place.

    Whether its facts exist is for ``vocabulary`` to say.
    """
    if depth >= MAX_DEPTH:
        raise InvalidInputError(where, "a condition", f"conditions nested at most {MAX_DEPTH} deep")
    if not isinstance(document, Mapping):
        raise InvalidInputError(where, document, _FORM)
    keys = set(document)
    if keys == {"always"} and document["always"] is True:
        return Always()
    if keys in ({"fact", "is"}, {"fact", "in"}):
        return _about_a_fact(document, where)
    if keys == {"adequate_for"} and isinstance(document["adequate_for"], str):
        return Adequate(document["adequate_for"])
    if keys == {"not"}:
        return Not(parse_condition(document["not"], f"{where}.not", depth + 1))
    if keys == {"all"}:
        return Every(_parts(document["all"], f"{where}.all", depth))
    if keys == {"any"}:
        return Some(_parts(document["any"], f"{where}.any", depth))
    raise InvalidInputError(where, ", ".join(sorted(map(str, keys))) or "nothing", _FORM)


def _about_a_fact(document: Mapping[str, Any], where: str) -> Condition:
    fact = document["fact"]
    if not isinstance(fact, str):
        raise InvalidInputError(f"{where}.fact", fact, "the name of a fact")
    if "is" in document:
        value = document["is"]
        if not isinstance(value, bool | str):
            raise InvalidInputError(f"{where}.is", value, "true, false or a text")
        return Is(fact, value)
    values = document["in"]
    if not isinstance(values, list | tuple) or not values or not all(isinstance(v, str) for v in values):
        raise InvalidInputError(f"{where}.in", values, "a list of texts, at least one")
    return In(fact, tuple(values))


def _parts(given: Any, where: str, depth: int) -> tuple[Condition, ...]:
    if not isinstance(given, list | tuple) or not 1 <= len(given) <= MAX_PARTS:
        raise InvalidInputError(where, given, f"a list of 1 to {MAX_PARTS} conditions")
    return tuple(parse_condition(part, f"{where}.{i}", depth + 1) for i, part in enumerate(given))
