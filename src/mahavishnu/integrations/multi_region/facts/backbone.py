"""Measured round-trip times between regions of one provider, on the provider's own backbone.

Good for region-to-region decisions and as a bound on distance; a user's Internet looks different.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from mahavishnu.integrations.multi_region.core.model import CloudProvider, parse_enum

from .files import read_json

_FILES: Mapping[CloudProvider, str] = MappingProxyType(
    {
        CloudProvider.AWS: "rtt_aws_2025.json",
        CloudProvider.AZURE: "rtt_azure_2025.json",
        CloudProvider.GCP: "rtt_gcp_2020.json",
    }
)


@dataclass(frozen=True, slots=True)
class MeasuredPair:
    """Two regions of one provider. ``rtt_ms``: the typical round trip; ``least_ms``: the shortest that is on record."""

    source: str
    target: str
    rtt_ms: float
    least_ms: float


@dataclass(frozen=True, slots=True)
class Matrix:
    """All pairs of one provider by (source, target), and where the figures come from. ``statistic``: of ``rtt_ms``."""

    provider: CloudProvider
    source: str
    kind: str
    statistic: str
    regions: tuple[str, ...]
    pairs: Mapping[tuple[str, str], MeasuredPair]


def matrix(provider: CloudProvider | str) -> Matrix | None:
    """The provider's matrix; None when none ships. Raises InvalidInputError when ``provider`` names no provider."""
    return _matrix(parse_enum(CloudProvider, provider, "provider"))


def measured_rtt_ms(provider: CloudProvider | str, a: str, b: str) -> float | None:
    """Typical round trip in ms, asked from ``a`` to ``b``; the way back stands in where only that was measured.

    None when neither was. Within one region (``a == b``) it is what the region measured to itself, if it did.
    """
    known = matrix(provider)
    pair = None if known is None else known.pairs.get((a, b)) or known.pairs.get((b, a))
    return None if pair is None else pair.rtt_ms


def measured_pairs(provider: CloudProvider | str) -> tuple[MeasuredPair, ...]:
    """Every measured pair of two different regions, each direction by itself; empty when no matrix ships."""
    known = matrix(provider)
    return () if known is None else tuple(p for p in known.pairs.values() if p.source != p.target)


@cache
def _matrix(provider: CloudProvider) -> Matrix | None:
    if provider not in _FILES:
        return None
    raw = read_json(_FILES[provider])
    statistic = "p50" if "p50" in raw else "avg"
    return Matrix(
        provider=provider,
        source=raw["source"],
        kind=raw["kind"],
        statistic=statistic,
        regions=tuple(raw["regions"]),
        pairs=MappingProxyType(_pairs(raw["regions"], raw[statistic], raw.get("min", raw[statistic]))),
    )


def _pairs(regions: list[str], typical: Any, least: Any) -> dict[tuple[str, str], MeasuredPair]:
    """Square tables of ms, None where nothing was measured, as pairs."""
    return {
        (a, b): MeasuredPair(a, b, typical[i][j], least[i][j])
        for i, a in enumerate(regions)
        for j, b in enumerate(regions)
        if typical[i][j] is not None
    }
