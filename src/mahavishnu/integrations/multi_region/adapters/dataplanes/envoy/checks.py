"""How an edge asks a region whether it is well, from how the region's owner has it probed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from mahavishnu.integrations.multi_region.core.model import HealthCheck, ProbeKind
from mahavishnu.integrations.multi_region.core.targets import target_url
from mahavishnu.integrations.multi_region.core.traffic import Target
from mahavishnu.integrations.multi_region.errors import InvalidInputError

from .endpoints import located
from .parts import seconds

USUAL = HealthCheck()
"""What a check says when its owner said nothing; edges then go by a pace of their own, since they are much nearer."""

_PATIENCE_S = 0.2
_EDGE_S = 0.1
_JITTER_PERCENT = 10


@dataclass(frozen=True, slots=True)
class Question:
    """What a region is asked: a path and the answers that pass, or (``path`` None) just to take a connection.

    ``headers``: all but the host, which may differ between regions and goes with their endpoints.
    """

    path: str | None
    statuses: tuple[tuple[int, int], ...] = ()
    body_contains: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class EdgeCheck:
    """A question, how often it is asked and how its answers are counted; times in seconds.

    ``spread_s``: within which time after its start a cluster asks first.
    """

    question: Question
    interval_s: float
    timeout_s: float
    fall: int
    rise: int
    spread_s: float = 0.0


def question(target: Target) -> Question | None:
    """What a region is asked; None when its check points elsewhere than at its endpoint, where edges do not look."""
    check = target.check
    if check.kind is ProbeKind.TCP:
        return Question(None) if check.url is None else None
    path = _path(target.endpoint, check.path, check.url)
    if path is None:
        return None
    headers = tuple(sorted((key, value) for key, value in check.headers.items() if key.lower() != "host"))
    return Question(path, check.statuses, check.body_contains, headers)


@lru_cache(maxsize=16_384)
def _path(endpoint: str, path: str, url: str | None) -> str | None:
    """Path and query of a check, None when it is not aimed at the endpoint's own host and port."""
    try:
        found = target_url(endpoint, HealthCheck(path=path, url=url))
    except InvalidInputError:
        return None
    if located(found) is None or located(found) != located(endpoint):
        return None
    parts = urlsplit(found)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def together(
    asked: Question, checks: Sequence[HealthCheck], pace: tuple[float, float], distance: int, floor_s: float = 0.0
) -> EdgeCheck:
    """One check for regions that are asked the same: the pace of the most eager, the patience of the most patient.

    ``pace``: the interval in seconds when none is stated, and the shortest there may be. ``distance``: how many times
    the usual time limit it takes. ``floor_s``: the shortest interval that the edge's budget allows, 0 for any.
    """
    intervals = [check.interval_s for check in checks if check.interval_s != USUAL.interval_s]
    limits = [check.timeout_s for check in checks if check.timeout_s != USUAL.timeout_s]
    return EdgeCheck(
        asked,
        interval_s=max(min(intervals, default=pace[0]), pace[1], floor_s),
        timeout_s=max([*limits, _PATIENCE_S * distance]),
        fall=max(check.fall for check in checks),
        rise=max(check.rise for check in checks),
        spread_s=floor_s / 2,
    )


def settling_s(check: EdgeCheck) -> float:
    """How long a host that an edge is told anew may take until it counts as healthy, though one answer goes amiss."""
    rounds = check.rise + 1
    return check.spread_s + rounds * (check.interval_s * (1 + _JITTER_PERCENT / 100) + check.timeout_s)


def document(check: EdgeCheck, http2: bool) -> Mapping[str, Any]:
    """The check in Envoy's JSON form. A region that fails once is asked again sooner.

    Each interval is up to a tenth longer, so that what began together does not go on asking together.
    """
    interval = seconds(check.interval_s)
    spread = {"initial_jitter": seconds(check.spread_s)} if check.spread_s else {}
    return {
        **spread,
        "interval_jitter_percent": _JITTER_PERCENT,
        "timeout": seconds(check.timeout_s),
        "interval": interval,
        "no_traffic_interval": interval,
        "no_traffic_healthy_interval": interval,
        "unhealthy_edge_interval": seconds(min(_EDGE_S, check.interval_s)),
        "unhealthy_threshold": check.fall,
        "healthy_threshold": check.rise,
        **_asked(check.question, http2),
    }


def _asked(asked: Question, http2: bool) -> Mapping[str, Any]:
    if asked.path is None:
        return {"tcp_health_check": {}}
    found: dict[str, Any] = {
        "path": asked.path,
        "codec_client_type": "HTTP2" if http2 else "HTTP1",
        "expected_statuses": [{"start": first, "end": last + 1} for first, last in asked.statuses],
        "request_headers_to_add": [_header(key, value) for key, value in asked.headers],
    }
    if asked.body_contains:
        found["receive"] = [{"text": asked.body_contains.encode().hex()}]
    return {"http_health_check": found}


def _header(key: str, value: str) -> Mapping[str, Any]:
    """A header to add; to Envoy, a percent sign begins a name of its own unless there are two."""
    return {"header": {"key": key, "value": value.replace("%", "%%")}}
