"""YAML text to plain data, with the line of every key and value.

Reads YAML with the scalars of version 1.2, so that ``NO`` is a country and ``on`` is a word. Refuses what a safe
loader lets pass: a key given twice, tags, nesting without end, aliases that expand without end. What the data means
is for ``schema.py`` to say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from mahavishnu.integrations.multi_region.errors import InvalidInputError, WorldFileError, WorldProblem

MISSING = "(missing)"
MAX_BYTES = 1_000_000
MAX_VALUES = 200_000
MAX_DEPTH = 20
MAX_DIGITS = 40  # a longer number is taken as text, which no field for a number accepts

Loc = tuple[str | int, ...]
_TAG = "tag:yaml.org,2002:"
_SCALARS = {
    "null": (r"(?:~|null|Null|NULL|)\Z", "~nN"),
    "bool": (r"(?:true|True|TRUE|false|False|FALSE)\Z", "tTfF"),
    "int": (r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z", "-+0123456789"),
    "float": (
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z",
        "-+0123456789.",
    ),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Lines, counted from 1, on which a key (or list item) and its value begin."""

    key: int
    value: int


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing wrong at ``loc``: a ``WorldProblem`` whose path and line are not put in words yet.

    ``line``: None for the line that ``loc`` stands on; ``at_key``: the key is wrong, not its value.
    """

    loc: Loc
    value: object
    allowed: str
    line: int | None = None
    at_key: bool = False


@dataclass(slots=True)
class Parsed:
    """What a text held: its data, where each part stood, and what could not be taken."""

    data: Any
    places: dict[Loc, Place] = field(default_factory=dict)
    flaws: list[Flaw] = field(default_factory=list)


class _Loader(yaml.SafeLoader):
    """PyYAML's composer with the scalars of YAML 1.2 and a limit to nesting."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {MAX_DEPTH} levels", problem_mark=parent.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


_Loader.yaml_implicit_resolvers = {}
for _name, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(_pattern), [*_first, ""] if _name == "null" else [*_first])


def parse_yaml(text: str, source: str) -> Parsed:
    """The data in a YAML text and its places. Raises WorldFileError when the text is no YAML, or too large."""
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise WorldFileError(source, [WorldProblem(1, "file", f"{len(text)} characters", f"at most {MAX_BYTES} bytes")])
    root = _compose(text, source)
    builder = _Builder()
    parsed = Parsed(None, builder.places, builder.flaws)
    builder.places[()] = Place(1, 1)
    if root is not None:
        try:
            parsed.data = builder.build(root, (), root.start_mark.line + 1, 0)
        except _TooLargeError as error:
            limit = f"at most {MAX_VALUES} keys and values, {MAX_DEPTH} levels deep"
            raise WorldFileError(source, [WorldProblem(error.line, "world", str(error), limit)]) from None
    return parsed


def _compose(text: str, source: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        why = error.problem or error.context or "cannot be read"
    except yaml.reader.ReaderError as error:
        line, column = text.count("\n", 0, error.position) + 1, error.position - text.rfind("\n", 0, error.position)
        why = "this character is not allowed in YAML"
    except (ValueError, OverflowError):
        line, column, why = 1, 1, r"an escape such as \U00110000 names no character"
    lines = text.splitlines()
    shown = plain(lines[line - 1].strip()[:80]) if line <= len(lines) else "the end of the file"
    raise WorldFileError(source, [WorldProblem(line, "YAML", shown, f"valid YAML; at column {column}: {why}")])


class _TooLargeError(Exception):
    """The data has more values or levels than any world needs; usually aliases of aliases."""

    def __init__(self, line: int) -> None:
        self.line = line
        super().__init__("too much, with aliases counted each time they are used")


class _Builder:
    """Turns nodes into data, and notes places and flaws on the way."""

    def __init__(self) -> None:
        self.places: dict[Loc, Place] = {}
        self.flaws: list[Flaw] = []
        self._spent = 0

    def build(self, node: yaml.Node, loc: Loc, key_line: int, depth: int) -> Any:
        """The data of a node that stands at ``loc``."""
        line = _line(node)
        self._spend(1, depth, line)
        self.places[loc] = Place(key_line, line)
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            pairs = self._pairs(node, loc, depth)
            return {k: self.build(v, (*loc, k), _line(kn), depth + 1) for k, (kn, v) in pairs.items()}
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self.build(v, (*loc, i), _line(v), depth + 1) for i, v in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag.removeprefix(_TAG) in (*_SCALARS, "str"):
            return self._scalar(node, loc, line)
        self.flaws.append(Flaw(loc, node.tag.replace(_TAG, "!!")[:80], "a value without a tag", line))
        return None

    def _pairs(self, node: yaml.MappingNode, loc: Loc, depth: int) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Keys of a mapping with their nodes; what ``<<`` brings in comes first and yields to the mapping's own."""
        self._spend(len(node.value), depth, _line(node))
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value_node in node.value:
            line = _line(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.flaws.append(Flaw(loc, "a list or mapping as key", "a word as key", line))
            elif key_node.value in own:
                once = f"each key once (first on line {_line(own[key_node.value][0])})"
                self.flaws.append(Flaw((*loc, key_node.value), key_node.value, once, line))
            else:
                own[key_node.value] = (key_node, value_node)
        merge = own.pop("<<", None)
        return own if merge is None else {**self._merged(merge[1], loc, depth + 1), **own}

    def _merged(self, node: yaml.Node, loc: Loc, depth: int) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        nodes = list(node.value) if isinstance(node, yaml.SequenceNode) else [node]
        found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for part in reversed(nodes):  # the first one named wins
            if isinstance(part, yaml.MappingNode):
                found.update(self._pairs(part, loc, depth))
            else:
                self.flaws.append(Flaw((*loc, "<<"), "<<", "an alias of a mapping, or a list of such", _line(part)))
        return found

    def _scalar(self, node: yaml.ScalarNode, loc: Loc, line: int) -> Any:
        kind, text = node.tag.removeprefix(_TAG), str(node.value)
        if kind != "str" and not re.match(_SCALARS[kind][0], text):
            self.flaws.append(Flaw(loc, text[:80], f"a value that fits its tag !!{kind}", line))
            return None
        return _value(kind, text)

    def _spend(self, values: int, depth: int, line: int) -> None:
        self._spent += values
        if self._spent > MAX_VALUES or depth > MAX_DEPTH:
            raise _TooLargeError(line)


def _value(kind: str, text: str) -> Any:
    """The value of a scalar whose text fits its kind."""
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int" and len(text) <= MAX_DIGITS:
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
    if kind == "float":
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def flaw_of(error: InvalidInputError, around: Loc = ()) -> Flaw:
    """The flaw that an error of a model is in the file; ``around``: the entry that the model was made of."""
    return Flaw((*around, *_own_path(error.field)), MISSING if error.value is None else error.value, error.allowed)


def _own_path(field: str) -> Loc:
    """Where a file has what a model calls ``health.interval_s`` or ``routes.0.timeout_s``: its times have no unit."""
    parts = field.removeprefix("capabilities.").replace("region_id", "id").split(".")
    return tuple(int(part) if part.isdecimal() else re.sub("_m?s$", "", part) for part in parts)


def plain(text: str) -> str:
    """A text fit for a terminal and for JSON: what cannot be printed is written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
