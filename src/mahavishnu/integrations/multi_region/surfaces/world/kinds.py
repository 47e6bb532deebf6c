"""The kinds of value that a world file holds: each a plain check, and what it looks like in JSON Schema.

A check returns the value as the models keep it or raises ``InvalidInputError``, whose ``allowed`` text is shown to
the person who wrote the file. The schema is never laxer in kind than the check, only in spelling (``Active_Active``
passes the check).
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from mahavishnu.integrations.multi_region.core.carrying import (
    LONGEST_S,
    MOST_HOPS,
    MOST_RETRIES,
    check_prefix,
    parse_cidr,
    parse_listen,
)
from mahavishnu.integrations.multi_region.core.edges import ClientPlace
from mahavishnu.integrations.multi_region.core.model import (
    CloudProvider,
    ComplianceFramework,
    DeploymentType,
    FailbackMode,
    LocalityLevel,
    ProbeKind,
    Region,
    RoutingStrategy,
    UpstreamProtocol,
    parse_enum,
)
from mahavishnu.integrations.multi_region.core.validation import check_endpoint, validate_region
from mahavishnu.integrations.multi_region.errors import InvalidInputError
from mahavishnu.integrations.multi_region.facts.places import countries

from . import units

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,62}$"
HOST_PATTERN = r"^(\*\.)?([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$"
HEADER_PATTERN = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$"
URL_PATTERN = r"^(https?|tcp)://[^\s/?#@]+([/?#]\S*)?$"
PATH_PATTERN = r"^/[^\s#]*$"
PREFIX_PATTERN = r"^/[^\s?#]*$"
LISTEN_PATTERN = r"^(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]{1,5}$"
CIDR_PATTERN = r"^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$"
_MOST = 1e12


def _text(allowed: str, longest: int, pattern: str = "", *, lines: bool = False) -> PlainValidator:
    """Text of 1 to ``longest`` characters without control characters; ``lines`` lets line breaks and tabs through."""

    def check(value: object) -> str:
        if not isinstance(value, str):
            raise InvalidInputError("text", value, f"{allowed}; put a number or a true/false in quotes to make it text")
        odd = any(unicodedata.category(c) in ("Cc", "Cs") and not (lines and c in "\r\n\t") for c in value)
        if odd or not value.strip() or len(value) > longest or (pattern and not re.fullmatch(pattern, value)):
            raise InvalidInputError("text", value, allowed)
        return value

    return PlainValidator(check)


def _shape(longest: int, pattern: str = "") -> WithJsonSchema:
    schema: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": longest}
    return WithJsonSchema({**schema, "pattern": pattern} if pattern else schema)


def _either(pattern: str, low: float, high: float, kind: str = "number") -> WithJsonSchema:
    words = {"type": "string", "pattern": pattern}
    return WithJsonSchema({"anyOf": [words, {"type": kind, "minimum": low, "maximum": high}]})


def _span(low: float, high: float, kind: str = "number") -> WithJsonSchema:
    return WithJsonSchema({"type": kind, "minimum": low, "maximum": high})


def _over(high: float) -> WithJsonSchema:
    return WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": high})


def _member(kind: type[StrEnum]) -> PlainValidator:
    return PlainValidator(lambda value: parse_enum(kind, value, kind.__name__))


def _members(kind: type[StrEnum]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": [member.value for member in kind]})


def _country(value: object) -> str:
    """A country code that exists; the rule and its hints are those for any region."""
    if not isinstance(value, str):
        raise InvalidInputError("country", value, "two capital letters, in quotes if they read as something else")
    validate_region(Region("any", endpoint="http://any", country=value), (), countries())
    return value


_LASTING = (DeploymentType.ACTIVE_ACTIVE.value, DeploymentType.ACTIVE_PASSIVE.value)


def _lasting(value: object) -> DeploymentType:
    """A type of deployment that lasts: a blue-green switch is something that happens once."""
    found = parse_enum(DeploymentType, value, "type")
    if found is DeploymentType.BLUE_GREEN:
        where = "where the service runs when nothing is switched"
        allowed = f"{' or '.join(_LASTING)}, for {where}; `multi-region deploy blue-green` begins a switch"
        raise InvalidInputError("type", value, allowed)
    return found


def _listen(value: object) -> str:
    """An address to listen on, as written."""
    parse_listen(value)
    return str(value)


_T = TypeVar("_T")


def _each_once(values: list[_T]) -> list[_T]:
    seen: set[_T] = set()
    for value in values:
        if value in seen:
            raise InvalidInputError("list", value, "each entry once")
        seen.add(value)
    return values


def _at_least_one(allowed: str, values: list[_T]) -> list[_T]:
    if not values:
        raise InvalidInputError("list", values, allowed)
    return values


_ONCE = AfterValidator(_each_once)
_UNIQUE = Field(json_schema_extra={"uniqueItems": True})
_UNIQUE_SOME = Field(json_schema_extra={"uniqueItems": True, "minItems": 1})
_SOME_STATUS = AfterValidator(partial(_at_least_one, f"at least one entry, each {units.STATUS}"))
_SOME_REGION = AfterValidator(partial(_at_least_one, "at least one region; leave the key out to set no limit"))

# --- text --------------------------------------------------------------------------------------

_ID = "a name of 1 to 63 letters, digits and . _ : - that begins with a letter or digit"
Id = Annotated[str, _text(_ID, 63, ID_PATTERN), _shape(63, ID_PATTERN)]
OptionalId = Annotated[str | None, _text(_ID, 63, ID_PATTERN), _shape(63, ID_PATTERN)]
Name = Annotated[str, _text("text of 1 to 200 characters", 200), _shape(200)]
OptionalName = Annotated[str | None, _text("text of 1 to 200 characters", 200), _shape(200)]
Label = Annotated[str, _text("text of 1 to 100 characters", 100), _shape(100)]
Body = Annotated[str | None, _text("text of 1 to 10000 characters", 10_000, lines=True), _shape(10_000)]
_URL = PlainValidator(lambda value: check_endpoint(value, "url"))
Url = Annotated[str, _URL, _shape(2000, URL_PATTERN)]
OptionalUrl = Annotated[str | None, _URL, _shape(2000, URL_PATTERN)]
_PATH = "a path that begins with /, such as /healthz"
Path = Annotated[str | None, _text(_PATH, 2000, PATH_PATTERN), _shape(2000, PATH_PATTERN)]
_HOST = "a host name such as api.example.test or *.example.test"
Host = Annotated[str, _text(_HOST, 253, HOST_PATTERN), _shape(253, HOST_PATTERN)]
_HEADER = "a header's name, such as X-Probe"
HeaderName = Annotated[str, _text(_HEADER, 100, HEADER_PATTERN), _shape(100, HEADER_PATTERN)]
HeaderValue = Annotated[str, _text("a header's value, on one line", 4000), _shape(4000)]
Prefix = Annotated[str, PlainValidator(check_prefix), _shape(2000, PREFIX_PATTERN)]
Listen = Annotated[str, PlainValidator(_listen), _shape(60, LISTEN_PATTERN)]
Cidr = Annotated[str, PlainValidator(parse_cidr), _shape(60, CIDR_PATTERN)]
Country = Annotated[str | None, PlainValidator(_country), _shape(2, "^[A-Z]{2}$")]

# --- one of a few ------------------------------------------------------------------------------

Provider = Annotated[CloudProvider | None, _member(CloudProvider), _members(CloudProvider)]
Framework = Annotated[ComplianceFramework, _member(ComplianceFramework), _members(ComplianceFramework)]
Strategy = Annotated[RoutingStrategy, _member(RoutingStrategy), _members(RoutingStrategy)]
Failback = Annotated[FailbackMode | None, _member(FailbackMode), _members(FailbackMode)]
Locality = Annotated[LocalityLevel, _member(LocalityLevel), _members(LocalityLevel)]
Deployment = Annotated[
    DeploymentType, PlainValidator(_lasting), WithJsonSchema({"type": "string", "enum": list(_LASTING)})
]
Protocol = Annotated[UpstreamProtocol, _member(UpstreamProtocol), _members(UpstreamProtocol)]
PlaceOfClients = Annotated[ClientPlace, _member(ClientPlace), _members(ClientPlace)]
Kind = Annotated[ProbeKind | None, _member(ProbeKind), _members(ProbeKind)]
_FLAG_SCHEMA = WithJsonSchema({"anyOf": [{"type": "boolean"}, {"enum": ["yes", "no", "on", "off"]}]})
Flag = Annotated[bool, PlainValidator(units.parse_flag), _FLAG_SCHEMA]
OptionalFlag = Annotated[bool | None, PlainValidator(units.parse_flag), _FLAG_SCHEMA]

# --- numbers -----------------------------------------------------------------------------------

_check = units.number
Version = Annotated[int, PlainValidator(_check("1", 1, 1, whole=True)), WithJsonSchema({"const": 1})]
Latitude = Annotated[float | None, PlainValidator(_check("degrees from -90 to 90", -90, 90)), _span(-90, 90)]
Longitude = Annotated[float | None, PlainValidator(_check("degrees from -180 to 180", -180, 180)), _span(-180, 180)]
Score = Annotated[float | None, PlainValidator(_check("a number from 0 to 100", 0, 100)), _span(0, 100)]
Amount = Annotated[float, PlainValidator(_check("a number, 0 or more", 0, _MOST)), _span(0, _MOST)]
Factor = Annotated[float | None, PlainValidator(_check("a number above 0", 0, 1e6, above=True)), _over(1e6)]
Limit = Annotated[float, PlainValidator(_check("a number above 0", 0, _MOST, above=True)), _over(_MOST)]
_COUNT = _check("a whole number from 1 to 1000", 1, 1000, whole=True)
Count = Annotated[int, PlainValidator(_COUNT), _span(1, 1000, "integer")]
OptionalCount = Annotated[int | None, PlainValidator(_COUNT), _span(1, 1000, "integer")]
Leak = Annotated[float | None, PlainValidator(_check("a number from 1 to 1000", 1, 1000)), _span(1, 1000)]
_HOPS = _check(f"a whole number from 0 to {MOST_HOPS}", 0, MOST_HOPS, whole=True)
Hops = Annotated[int, PlainValidator(_HOPS), _span(0, MOST_HOPS, "integer")]
_RETRIES = _check(f"a whole number from 0 to {MOST_RETRIES}", 0, MOST_RETRIES, whole=True)
Retries = Annotated[int, PlainValidator(_RETRIES), _span(0, MOST_RETRIES, "integer")]
Seconds = Annotated[float, PlainValidator(_check("a number of seconds, 0 or more", 0, LONGEST_S)), _span(0, LONGEST_S)]
_MORE_SECONDS = PlainValidator(_check("a number of seconds above 0", 0, LONGEST_S, above=True))
OptionalSeconds = Annotated[float | None, _MORE_SECONDS, _over(LONGEST_S)]
_PRIORITY = _check("a whole number from 0 to 1000000; the lowest is shed last", 0, 1e6, whole=True)
Priority = Annotated[int, PlainValidator(_PRIORITY), _span(0, 1e6, "integer")]

# --- durations, shares, status codes -------------------------------------------------------------

_DURATION_SCHEMA = _either(units.DURATION_PATTERN, 0, units.DAY_S)
_longer = PlainValidator(units.parse_duration)
Duration = Annotated[float, _longer, _DURATION_SCHEMA]
OptionalDuration = Annotated[float | None, _longer, _DURATION_SCHEMA]
_pause = PlainValidator(partial(units.parse_duration, least_s=0))
Interval = Annotated[float | None, PlainValidator(partial(units.parse_duration, least_s=0.01)), _DURATION_SCHEMA]
Pause = Annotated[float, _pause, _DURATION_SCHEMA]
OptionalPause = Annotated[float | None, _pause, _DURATION_SCHEMA]
Share = Annotated[float, PlainValidator(units.parse_share), _either(units.SHARE_PATTERN, 0, 1)]
Status = Annotated[
    tuple[int, int], PlainValidator(units.parse_statuses), _either(units.STATUS_PATTERN, 100, 599, "integer")
]

# --- lists and mappings -------------------------------------------------------------------------

Hosts = Annotated[list[Host], _ONCE, _UNIQUE]
Labels = Annotated[list[Label], _ONCE, _UNIQUE]
Frameworks = Annotated[list[Framework], _ONCE, _UNIQUE]
RegionIds = Annotated[list[Id], _SOME_REGION, _ONCE, _UNIQUE_SOME]
OptionalRegionIds = Annotated[list[Id] | None, _SOME_REGION, _ONCE, _UNIQUE_SOME]
_SOME_CIDR = AfterValidator(partial(_at_least_one, "at least one block of addresses, such as 192.0.2.0/24"))
Cidrs = Annotated[list[Cidr], _SOME_CIDR, _ONCE, _UNIQUE_SOME]
Statuses = Annotated[list[Status] | None, _SOME_STATUS, _UNIQUE_SOME]
Headers = Annotated[dict[HeaderName, HeaderValue], Field(json_schema_extra={"additionalProperties": False})]
Weights = Annotated[dict[Id, Amount], Field(json_schema_extra={"additionalProperties": False})]
