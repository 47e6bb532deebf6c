"""Answers that an edge gives by itself: short problem documents (RFC 9457), each with its reason in a header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .parts import ECHO, EXHAUSTED, LOST, REASON, UNHEALTHY, UNKNOWN, UNSERVED

PROBLEM_JSON = "application/problem+json"
_TYPES = "urn:mahavishnu:multi-region:problem:"
_TITLES = {
    UNKNOWN: "The request's requirements are not understood",
    EXHAUSTED: "No region may serve this request now",
    UNHEALTHY: "No region that may serve this request answers",
    LOST: "The region broke off before it answered; it may have carried the request out",
    UNSERVED: "No service of this edge answers to this host name",
    ECHO: "Requests are not sent back to who sent them",
}
_NO_REGION = ("UH", "NC", "UF", "UO", "LH")
"""Envoy's marks for: no healthy host, no cluster, connection failed, overflow, failed checks here: nothing was sent."""
_BROKEN_OFF = ("UC", "UR")
"""Envoy's marks for: connection ended, reset by the region. It had the request, and may have done what it asks."""
_NO_ROUTE = ("NR",)


def body(reason: str, status: int) -> str:
    """The document of a refusal."""
    kind = reason.replace(" ", "-")
    return json.dumps({"type": _TYPES + kind, "title": _TITLES[reason], "status": status, "detail": reason})


def direct(reason: str, status: int, *more: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a route that refuses whatever matches. ``more``: headers beside the reason."""
    return {
        "direct_response": {"status": status, "body": {"inline_string": body(reason, status)}},
        "response_headers_to_add": [header(REASON, reason), header("content-type", PROBLEM_JSON), *more],
    }


def header(name: str, value: str) -> Mapping[str, Any]:
    """A header that is set, whatever it was."""
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def own_answers() -> Mapping[str, Any]:
    """How answers of Envoy's own read: no region of a class in reach, a region that broke off, no service asked.

    Envoy says 503 of both of the first; who broke off gets 502, since "come again later" would invite a second write.
    """
    mappers = [
        _mapper(_NO_REGION, 503, UNHEALTHY, 503),
        _mapper(_BROKEN_OFF, 503, LOST, 502),
        _mapper(_NO_ROUTE, 404, UNSERVED, 404),
    ]
    return {"mappers": mappers}


def _mapper(flags: tuple[str, ...], found: int, reason: str, status: int) -> Mapping[str, Any]:
    """Answers of Envoy's own with one of these marks and the status ``found`` get ``status``, document and reason."""
    both = [
        {"response_flag_filter": {"flags": list(flags)}},
        {"status_code_filter": {"comparison": {"op": "EQ", "value": _status(found)}}},
    ]
    return {
        "filter": {"and_filter": {"filters": both}},
        "status_code": status,
        "body_format_override": {
            "text_format_source": {"inline_string": body(reason, status)},
            "content_type": PROBLEM_JSON,
        },
        "headers_to_add": [header(REASON, reason)],
    }


def _status(code: int) -> Mapping[str, Any]:
    """A figure that could be overridden at run time under this name; Envoy asks for one."""
    return {"default_value": code, "runtime_key": f"multi_region.status_{code}"}
