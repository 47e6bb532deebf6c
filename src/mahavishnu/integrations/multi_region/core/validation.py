"""What a region must be to be let in. Refuses with the field, the value and what is allowed; changes nothing.

What is allowed and merely odd is ``plausibility``'s.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from ipaddress import IPv6Address
from urllib.parse import SplitResult, urlsplit

from ..errors import DuplicateRegionError, InvalidInputError
from .address import is_host_name
from .figures import HEALTH_CHECK, REGION, check_number, check_whole, is_whole
from .geo import check_point
from .model import CloudProvider, HealthCheck, ProbeKind, Region, UpstreamProtocol, check_figure, parse_enum

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,62}")
NAME_ALLOWED = "1 to 63 letters, digits, '.', '_', ':' or '-', the first a letter or a digit"
"""The names of all that is declared: regions, services, policies, edges and their networks."""

SCHEMES = ("http", "https", "tcp")
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_COMMON_MISTAKES = {"UK": "GB", "EL": "GR"}
_LOAD = REGION["current_capacity"]


def validate_region(region: Region, known_ids: Collection[str], known_countries: Collection[str] | None = None) -> None:
    """Refuse a region that cannot be registered beside ``known_ids``.

    ``known_countries``: upper-case ISO 3166-1 alpha-2 codes; None accepts any two capital letters. Raises
    InvalidInputError at the first field that is wrong, DuplicateRegionError when the id is taken. Secrets that stand
    in an endpoint or a header are not repeated in the error.
    """
    check_region_id(region.region_id)
    if region.region_id in known_ids:
        raise DuplicateRegionError("region_id", region.region_id, "an id that is not registered yet")
    parse_enum(CloudProvider, region.provider, "provider")
    check_point(region.latitude, region.longitude)
    check_endpoint(region.endpoint, "endpoint")
    _check_figures(region)
    check_country(region.country, known_countries)
    check_text(region.name, "name")
    check_text(region.location, "location")
    parse_enum(UpstreamProtocol, region.protocol, "protocol")
    if region.health is not None:
        check_health(region.health)


def check_region_id(region_id: object) -> str:
    """The id, when it is one. Raises InvalidInputError."""
    return check_name(region_id, "region_id")


def check_name(name: object, field: str) -> str:
    """The name, when something can be declared under it. Raises InvalidInputError."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise InvalidInputError(field, name, NAME_ALLOWED)


def check_endpoint(endpoint: object, field: str) -> str:
    """The URL, when it is http, https or tcp with a host and no user; tcp needs a port. Raises InvalidInputError."""
    objection = _url_objection(endpoint) if isinstance(endpoint, str) else "not text"
    if objection is None:
        return str(endpoint)
    shown = re.sub(r"(//|^)[^/]*@", r"\1***@", endpoint) if isinstance(endpoint, str) else endpoint
    allowed = "a URL such as https://eu-west-1.example.com or tcp://10.0.0.7:5432, without user or password"
    raise InvalidInputError(field, shown, f"{allowed} ({objection})")


def check_health(check: HealthCheck, field: str = "health") -> None:
    """Refuse a health check that could never pass, never fail or never run. Raises InvalidInputError."""
    if not isinstance(check, HealthCheck):
        raise InvalidInputError(field, check, "None, or a HealthCheck")
    parse_enum(ProbeKind, check.kind, f"{field}.kind")
    for name, bounds in HEALTH_CHECK.items():
        value = getattr(check, name)
        if name != "slow_ms":
            bounds.check(value, f"{field}.{name}")
        elif value is not None:
            bounds.check(value, f"{field}.{name}", "None, or ")
    if not isinstance(check.path, str) or not check.path.startswith("/") or _UNPRINTABLE.search(check.path):
        raise InvalidInputError(f"{field}.path", check.path, "a path that starts with '/', no spaces or line breaks")
    if check.url is not None:
        check_endpoint(check.url, f"{field}.url")
    _check_expectations(check, field)
    _check_headers(check.headers, f"{field}.headers")


def check_count(value: object, field: str) -> int:
    """A whole number of 1 or more. Raises InvalidInputError."""
    return check_whole(value, field, 1)


def check_text(value: object, field: str, allowed: str = "a text") -> str:
    """A text that any store and any answer can carry; lone surrogates make it none. Raises InvalidInputError."""
    if isinstance(value, str) and not _SURROGATE.search(value):
        return value
    raise InvalidInputError(field, value, allowed)


def check_said(by: object, reason: object) -> None:
    """Refuse an act that the log could put down to nobody (L19). Raises InvalidInputError."""
    if not check_text(by, "by").strip():
        raise InvalidInputError("by", by, "who does it, as text")
    check_text(reason, "reason")


def check_load(load: object) -> None:
    """Refuse a load that no region can have. Raises InvalidInputError."""
    if type(load) is not float or not _LOAD.takes(load):  # the usual ones are told at once: there may be many
        check_figure("current_capacity", load)


def check_outcome(ok: object, latency_ms: object, service: object) -> None:
    """Refuse the report of a real request that cannot be counted. Raises InvalidInputError."""
    if not isinstance(ok, bool):
        raise InvalidInputError("ok", ok, "True or False")
    if latency_ms is not None:
        check_number(latency_ms, "latency_ms", "None, or a finite number, 0 or more", lambda v: v >= 0)
    _check_service_name(service)


def check_outcomes(succeeded: object, failed: object, service: object) -> None:
    """Refuse counts of real requests that are none. Raises InvalidInputError."""
    for name, count in (("succeeded", succeeded), ("failed", failed)):
        check_whole(count, name)
    _check_service_name(service)


def _check_service_name(service: object) -> None:
    if service is not None and not check_text(service, "service", "None, or the name of a service"):
        raise InvalidInputError("service", service, "None, or the name of a service")


def _check_figures(region: Region) -> None:
    check_figure("max_capacity", region.capabilities.max_capacity)
    for name in ("current_capacity", "cost_multiplier", "health_score"):
        check_figure(name, getattr(region, name))


def check_country(country: object, known: Collection[str] | None, field: str = "country") -> None:
    """Refuse what is no country's code; ``known``: upper-case codes, None for any. Raises InvalidInputError."""
    if country is None:
        return
    if isinstance(country, str) and re.fullmatch("[A-Z]{2}", country) and (known is None or country in known):
        return
    upper = country.strip().upper() if isinstance(country, str) else ""
    guess = _COMMON_MISTAKES.get(upper, upper)
    hint = f"did you mean {guess!r}? " if known is not None and guess in known else ""
    raise InvalidInputError(field, country, f"{hint}None, or two capital letters of ISO 3166-1 (DE, US, JP ...)")


def _url_objection(url: str) -> str | None:
    """Why the URL will not do, or None."""
    if _UNPRINTABLE.search(url):  # before splitting: urlsplit drops line breaks in silence
        return "it holds a space or a control character" if url else None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as err:
        return str(err).lower()
    if parts.scheme not in SCHEMES:
        return f"the scheme must be one of {', '.join(SCHEMES)}"
    if "@" in parts.netloc:
        return "it names a user"
    if not _is_host(parts):
        return "it names no valid host"
    if port == 0 or parts.netloc.endswith(":") or (parts.scheme == "tcp" and port is None):
        return "it names no valid port"
    return None


def _is_host(parts: SplitResult) -> bool:
    """Whether the host is a name in ASCII, an IPv4 address, or an IPv6 address in brackets."""
    host = parts.hostname or ""
    if not parts.netloc.startswith("["):
        return is_host_name(host)
    try:
        IPv6Address(host)
    except ValueError:
        return False
    return True


def _check_expectations(check: HealthCheck, field: str) -> None:
    """Which answers pass: status spans, body text, TLS."""
    spans = check.statuses
    if not isinstance(spans, (tuple, list)) or not spans or not all(_is_span(span) for span in spans):
        raise InvalidInputError(f"{field}.statuses", spans, "spans (low, high) of whole numbers in 100..599")
    if check.body_contains is not None and (not isinstance(check.body_contains, str) or not check.body_contains):
        raise InvalidInputError(f"{field}.body_contains", check.body_contains, "None, or text that is not empty")
    if not isinstance(check.verify_tls, bool):
        raise InvalidInputError(f"{field}.verify_tls", check.verify_tls, "true or false")


def _is_span(span: object) -> bool:
    if not isinstance(span, (tuple, list)) or len(span) != 2:
        return False
    low, high = span
    return is_whole(low) and is_whole(high) and 100 <= low <= high <= 599


def _check_headers(headers: Mapping[str, str], field: str) -> None:
    if not isinstance(headers, Mapping):
        raise InvalidInputError(field, headers, "names and values")
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise InvalidInputError(field, name, "header names of letters, digits and -, without spaces or line breaks")
        if not isinstance(value, str) or re.search(r"[\r\n\x00]", value):
            raise InvalidInputError(f"{field}.{name}", "(not shown)", "text without line breaks")
