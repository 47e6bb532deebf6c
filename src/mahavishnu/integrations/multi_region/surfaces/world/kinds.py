"""The kinds of value that a world file holds: each a plain check, and what it looks like in JSON Schema.

A check returns the value as the models keep it or raises ``InvalidInputError``, whose ``allowed`` text is shown to
the person who wrote the file. The schema is never laxer in kind than the check, only in spelling (``Active_Active``
passes the check).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, GetPydanticSchema, PlainValidator, WithJsonSchema

from mahavishnu.integrations.multi_region.core.edges import ClientPlace, parse_cidr, parse_listen
from mahavishnu.integrations.multi_region.core.figures import (
    HEALTH_CHECK,
    REGION,
    ROUTE,
    TRUSTED_HOPS,
    Bounds,
)
from mahavishnu.integrations.multi_region.core.model import (
    CloudProvider,
    ComplianceFramework,
    DeploymentType,
    FailbackMode,
    LocalityLevel,
    ProbeKind,
    RoutingStrategy,
    UpstreamProtocol,
    parse_enum,
)
from mahavishnu.integrations.multi_region.core.routes import check_prefix
from mahavishnu.integrations.multi_region.core.validation import check_country, check_endpoint
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


def _figure(bounds: Bounds) -> PlainValidator:
    return PlainValidator(units.number(bounds))


def _span(bounds: Bounds) -> WithJsonSchema:
    least = "exclusiveMinimum" if bounds.above else "minimum"
    return WithJsonSchema(
        {"type": "integer" if bounds.whole else "number", least: bounds.least, "maximum": bounds.most}
    )


def member(kind: type[StrEnum], listed: Iterable[StrEnum] = ()) -> GetPydanticSchema:
    """A member of ``kind``, by its name in any case. ``listed``: those that the schema shows; default: all."""
    schema = {"type": "string", "enum": [one.value for one in listed or kind]}
    return GetPydanticSchema(
        lambda source, handler: PlainValidator(partial(_parsed, kind)).__get_pydantic_core_schema__(source, handler),
        lambda core, handler: dict(schema),
    )


def _parsed(kind: type[StrEnum], value: object) -> StrEnum:
    return parse_enum(kind, value, kind.__name__)


def _country(value: object) -> str:
    """A country code that exists; the rule and its hints are those for any region."""
    if not isinstance(value, str):
        raise InvalidInputError("country", value, "two capital letters, in quotes if they read as something else")
    check_country(value, countries())
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

Provider = Annotated[CloudProvider | None, member(CloudProvider)]
Framework = Annotated[ComplianceFramework, member(ComplianceFramework)]
Strategy = Annotated[RoutingStrategy, member(RoutingStrategy)]
Failback = Annotated[FailbackMode | None, member(FailbackMode)]
Locality = Annotated[LocalityLevel, member(LocalityLevel)]
Deployment = Annotated[
    DeploymentType, PlainValidator(_lasting), WithJsonSchema({"type": "string", "enum": list(_LASTING)})
]
Protocol = Annotated[UpstreamProtocol, member(UpstreamProtocol)]
PlaceOfClients = Annotated[ClientPlace, member(ClientPlace)]
Kind = Annotated[ProbeKind | None, member(ProbeKind)]
_FLAG_SCHEMA = WithJsonSchema({"anyOf": [{"type": "boolean"}, {"enum": ["yes", "no", "on", "off"]}]})
Flag = Annotated[bool, PlainValidator(units.parse_flag), _FLAG_SCHEMA]
OptionalFlag = Annotated[bool | None, PlainValidator(units.parse_flag), _FLAG_SCHEMA]

# --- numbers -----------------------------------------------------------------------------------

_ONE = Bounds(1, 1, whole=True)
Version = Annotated[int, PlainValidator(units.number(_ONE, "1")), WithJsonSchema({"const": 1})]
_LATITUDE, _LONGITUDE = REGION["latitude"], REGION["longitude"]
Latitude = Annotated[float | None, _figure(_LATITUDE), _span(_LATITUDE)]
Longitude = Annotated[float | None, _figure(_LONGITUDE), _span(_LONGITUDE)]
Score = Annotated[float | None, _figure(REGION["health_score"]), _span(REGION["health_score"])]
Amount = Annotated[float, _figure(REGION["current_capacity"]), _span(REGION["current_capacity"])]
Factor = Annotated[float | None, _figure(REGION["cost_multiplier"]), _span(REGION["cost_multiplier"])]
Limit = Annotated[float, _figure(REGION["max_capacity"]), _span(REGION["max_capacity"])]
_SERVING = Bounds(1, 1000, whole=True)
Serving = Annotated[int, _figure(_SERVING), _span(_SERVING)]
Fall = Annotated[int | None, _figure(HEALTH_CHECK["fall"]), _span(HEALTH_CHECK["fall"])]
Rise = Annotated[int | None, _figure(HEALTH_CHECK["rise"]), _span(HEALTH_CHECK["rise"])]
Leak = Annotated[float | None, _figure(HEALTH_CHECK["leak_limit"]), _span(HEALTH_CHECK["leak_limit"])]
Hops = Annotated[int, _figure(TRUSTED_HOPS), _span(TRUSTED_HOPS)]
Retries = Annotated[int, _figure(ROUTE["retries"]), _span(ROUTE["retries"])]
_PRIORITY = Bounds(0, 1_000_000, whole=True)
_PRIORITY_WORDS = f"{_PRIORITY.allowed}; the lowest is shed last"
Priority = Annotated[int, PlainValidator(units.number(_PRIORITY, _PRIORITY_WORDS)), _span(_PRIORITY)]

# --- in seconds and milliseconds, as HTTP bodies have them ---------------------------------------

Interval = Annotated[float | None, _figure(HEALTH_CHECK["interval_s"]), _span(HEALTH_CHECK["interval_s"])]
ProbeTimeout = Annotated[float | None, _figure(HEALTH_CHECK["timeout_s"]), _span(HEALTH_CHECK["timeout_s"])]
HoldDown = Annotated[float | None, _figure(HEALTH_CHECK["hold_down_s"]), _span(HEALTH_CHECK["hold_down_s"])]
Slow = Annotated[float | None, _figure(HEALTH_CHECK["slow_ms"]), _span(HEALTH_CHECK["slow_ms"])]
Timeout = Annotated[float, _figure(ROUTE["timeout_s"]), _span(ROUTE["timeout_s"])]
AttemptTimeout = Annotated[float | None, _figure(ROUTE["attempt_timeout_s"]), _span(ROUTE["attempt_timeout_s"])]

# --- durations as people write them, shares, status codes ----------------------------------------


def _duration(bounds: Bounds) -> PlainValidator:
    return PlainValidator(partial(units.parse_duration, bounds=bounds))


def _lasts(bounds: Bounds) -> WithJsonSchema:
    number = _span(bounds).json_schema
    return WithJsonSchema({"anyOf": [{"type": "string", "pattern": units.DURATION_PATTERN}, number]})


_SLOW = Bounds(0, HEALTH_CHECK["slow_ms"].most / 1000, above=True)
Duration = Annotated[float, _duration(units.SOME_TIME), _lasts(units.SOME_TIME)]
IntervalDuration = Annotated[float | None, _duration(HEALTH_CHECK["interval_s"]), _lasts(HEALTH_CHECK["interval_s"])]
ProbeDuration = Annotated[float | None, _duration(HEALTH_CHECK["timeout_s"]), _lasts(HEALTH_CHECK["timeout_s"])]
HoldDownDuration = Annotated[float | None, _duration(HEALTH_CHECK["hold_down_s"]), _lasts(HEALTH_CHECK["hold_down_s"])]
SlowDuration = Annotated[float | None, _duration(_SLOW), _lasts(_SLOW)]
RouteDuration = Annotated[float, _duration(ROUTE["timeout_s"]), _lasts(ROUTE["timeout_s"])]
AttemptDuration = Annotated[float | None, _duration(ROUTE["attempt_timeout_s"]), _lasts(ROUTE["attempt_timeout_s"])]
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
