"""Answers that an edge gives by itself: short problem documents (RFC 9457), each with its reason in a header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .parts import ECHO, EXHAUSTED, REASON, UNHEALTHY, UNKNOWN, UNSERVED

PROBLEM_JSON = "application/problem+json"
_TYPES = "urn:mahavishnu:multi-region:problem:"
_TITLES = {
    UNKNOWN: "The request's requirements are not understood",
    EXHAUSTED: "No region may serve this request now",
    UNHEALTHY: "No region that may serve this request answers",
    UNSERVED: "No service of this edge answers to this host name",
    ECHO: "Requests are not sent back to who sent them",
}
_NO_REGION = ("UH", "NC", "UF", "UC", "UO", "UR", "LH")
"""Envoy's marks for: no healthy host, no cluster, connection failed or ended, overflow, reset by the region or us."""
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
    """How Envoy's own 503 reads when no region of a class could be reached, and its 404 when no service is asked."""
    return {"mappers": [_mapper(_NO_REGION, UNHEALTHY, 503), _mapper(_NO_ROUTE, UNSERVED, 404)]}


def _mapper(flags: tuple[str, ...], reason: str, status: int) -> Mapping[str, Any]:
    """Answers of Envoy's own with one of these marks and this status get the document and the reason."""
    both = [
        {"response_flag_filter": {"flags": list(flags)}},
        {"status_code_filter": {"comparison": {"op": "EQ", "value": _status(status)}}},
    ]
    return {
        "filter": {"and_filter": {"filters": both}},
        "body_format_override": {
            "text_format_source": {"inline_string": body(reason, status)},
            "content_type": PROBLEM_JSON,
        },
        "headers_to_add": [header(REASON, reason)],
    }


def _status(code: int) -> Mapping[str, Any]:
    """A figure that could be overridden at run time under this name; Envoy asks for one."""
    return {"default_value": code, "runtime_key": f"multi_region.status_{code}"}
