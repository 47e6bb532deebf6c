"""Whether a message keeps the limits that its definition states, asked before an edge would refuse it.

The limits travel in the descriptors. An edge that meets one broken message refuses the whole answer it came in, so they
are checked here, message by message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import ParseError
from google.protobuf.message import DecodeError, Message

from .proto import message, parse, pool

_COMPARES: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda value, limit: value > limit,
    "gte": lambda value, limit: value >= limit,
    "lt": lambda value, limit: value < limit,
    "lte": lambda value, limit: value <= limit,
    "const": lambda value, limit: value == limit,
    "in": lambda value, limit: value in limit,
    "not_in": lambda value, limit: value not in limit,
    "min_len": lambda value, limit: len(value) >= limit,
    "max_len": lambda value, limit: len(value) <= limit,
    "min_bytes": lambda value, limit: len(value.encode()) >= limit,
    "max_bytes": lambda value, limit: len(value.encode()) <= limit,
    "prefix": lambda value, limit: value.startswith(limit),
    "suffix": lambda value, limit: value.endswith(limit),
    "pattern": lambda value, limit: re.search(limit, value) is not None,
    "min_items": lambda value, limit: len(value) >= limit,
    "max_items": lambda value, limit: len(value) <= limit,
    "min_pairs": lambda value, limit: len(value) >= limit,
}
"""The limits that Envoy's definitions use, by the name they have in a rule."""

_HEADER_NAME = re.compile(r":?[0-9a-zA-Z!#$%&'*+\-.^_|~`]+")
_NOT_IN_HEADER = {True: re.compile(r"[\x00-\x08\x0a-\x1f\x7f]"), False: re.compile(r"[\x00\r\n]")}


def objection(found: Message, path: str = "") -> str | None:
    """Where a message breaks a limit and which, or None; messages packed inside it are looked into as well."""
    return next(_broken(found, path), None)


def made(name: str, document: Mapping[str, Any]) -> tuple[Any, str | None]:
    """The message of a document, or None and why an edge would refuse it."""
    try:
        found = parse(name, document)
    except ParseError as err:
        return None, str(err)
    why = objection(found)
    return (found, None) if why is None else (None, why)


def _broken(found: Any, path: str) -> Iterator[str]:
    if found.DESCRIPTOR.full_name == "google.protobuf.Any":
        yield from _packed(found, path)
        return
    for oneof in _required_oneofs(found.DESCRIPTOR):
        if found.WhichOneof(oneof) is None:
            yield f"{path or found.DESCRIPTOR.name}: one of {oneof} must be set"
    for field, rules in _ruled(found.DESCRIPTOR):
        yield from _field(found, field, rules, f"{path}.{field.name}" if path else field.name)
    for field, value in found.ListFields():
        if field.message_type is not None:
            for place, item in _items(field, value):
                yield from _broken(item, f"{path}.{field.name}{place}" if path else field.name + place)


def _packed(found: Any, path: str) -> Iterator[str]:
    """What is wrong inside an Any; an empty one is left to whoever asks for it."""
    name = found.type_url.rpartition("/")[2]
    if not name:
        return
    try:
        yield from _broken(message(name).FromString(found.value), f"{path}<{name.rpartition('.')[2]}>")
    except (KeyError, DecodeError) as err:
        yield f"{path}: {name} cannot be read ({err})"


def _field(found: Any, field: FieldDescriptor, rules: Any, path: str) -> Iterator[str]:
    present = found.HasField(field.name) if field.has_presence else True
    if field.containing_oneof is not None and not present:
        return  # another of its group may be set
    if rules.message.required and not present:
        yield f"{path}: must be set"
    kind = rules.WhichOneof("type")
    if kind is None:
        return
    limits, value = getattr(rules, kind), getattr(found, field.name)
    defined = field.enum_type.values_by_number if field.enum_type is not None and not field.is_repeated else None
    if defined is not None and kind == "enum" and limits.defined_only and value not in defined:
        yield f"{path}: {value} is not defined"
    if kind in ("any", "duration", "timestamp") and limits.required and not present:
        yield f"{path}: must be set"
    if present and not (getattr(limits, "ignore_empty", False) and not value):
        yield from (f"{path}: {text}" for text in _against(kind, limits, value))


def _against(kind: str, limits: Any, value: Any) -> Iterator[str]:
    """The limits of one kind that a value breaks."""
    if kind == "duration":
        yield from _duration(limits, value)
        return
    plain = getattr(value, "value", value) if kind not in ("any", "message", "repeated", "map") else value
    for field, limit in limits.ListFields():
        if (holds := _COMPARES.get(field.name)) and kind != "any" and not holds(plain, limit):
            yield f"{plain!r} breaks {field.name} {limit}"
        elif field.name == "well_known_regex" and (why := _header(limit, limits.strict, plain)):
            yield why
        elif field.name == "items" and (inner := limit.WhichOneof("type")):
            yield from (text for item in value for text in _against(inner, getattr(limit, inner), item))
    if kind == "repeated" and limits.unique and len({str(item) for item in value}) < len(value):
        yield "an item stands in it twice"


def _duration(limits: Any, value: Any) -> Iterator[str]:
    length = value.ToNanoseconds()
    for name in ("gt", "gte", "lt", "lte"):
        if limits.HasField(name) and not _COMPARES[name](length, limit := getattr(limits, name).ToNanoseconds()):
            yield f"{length / 1e9:g} s breaks {name} {limit / 1e9:g} s"


def _header(kind: int, strict: bool, text: str) -> str | None:
    """Why a text can be no header's name (kind 1) or value (kind 2)."""
    if kind == 1 and strict and text and not _HEADER_NAME.fullmatch(text):
        return f"{text!r} is no header name"
    return f"{text!r} holds what no header may" if _NOT_IN_HEADER[strict].search(text) else None


def _items(field: FieldDescriptor, value: Any) -> Iterator[tuple[str, Any]]:
    """The messages in a field, each with its place in it."""
    if not field.is_repeated:
        yield "", value
    elif field.message_type is not None and field.message_type.GetOptions().map_entry:
        if field.message_type.fields_by_name["value"].message_type is not None:
            yield from ((f"[{key}]", item) for key, item in value.items())
    else:
        yield from ((f"[{index}]", item) for index, item in enumerate(value))


@cache
def _ruled(kind: Descriptor) -> tuple[tuple[FieldDescriptor, Any], ...]:
    """The fields of a message that have limits, with them."""
    rules, options = pool().FindExtensionByName("validate.rules"), message("google.protobuf.FieldOptions")
    stated = ((field, options.FromString(field.GetOptions().SerializeToString())) for field in kind.fields)
    return tuple((field, found.Extensions[rules]) for field, found in stated if found.HasExtension(rules))


@cache
def _required_oneofs(kind: Descriptor) -> tuple[str, ...]:
    """The groups of fields of which one must be set."""
    rule, options = pool().FindExtensionByName("validate.required"), message("google.protobuf.OneofOptions")
    stated = ((oneof, options.FromString(oneof.GetOptions().SerializeToString())) for oneof in kind.oneofs)
    return tuple(oneof.name for oneof, found in stated if found.Extensions[rule])
