"""The words that come from fixed lists: providers, frameworks, strategies, phases, modes; and how a text names one."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from ..errors import InvalidInputError, nearest_hint


class CloudProvider(StrEnum):
    """Who runs the region. ``OTHER`` is for data centres of one's own and providers outside the catalog."""

    AWS = "aws"
    GCP = "gcp"
    AZURE = "azure"
    OCI = "oci"
    ALIBABA = "alibaba"
    DIGITALOCEAN = "digitalocean"
    VULTR = "vultr"
    IBM = "ibm"
    LINODE = "linode"
    OTHER = "other"


class ComplianceFramework(StrEnum):
    """A framework that the operator attests for a region. An attestation, not a property we know."""

    GDPR = "gdpr"
    CCPA = "ccpa"
    HIPAA = "hipaa"
    SOC2 = "soc2"
    PCI_DSS = "pci_dss"
    ISO27001 = "iso27001"
    FEDRAMP = "fedramp"


class RoutingStrategy(StrEnum):
    """How the winner is picked among eligible regions; see ``core/ranking.py`` for each key."""

    LATENCY_BASED = "latency_based"
    CAPACITY_BASED = "capacity_based"
    COMPLIANCE_BASED = "compliance_based"
    COST_BASED = "cost_based"
    HEALTH_BASED = "health_based"
    ROUND_ROBIN = "round_robin"
    DATA_LOCALITY = "data_locality"
    WEIGHTED = "weighted"


class UpstreamProtocol(StrEnum):
    """What a region's endpoint speaks to proxies: HTTP/2 without negotiation lets them notice a silent peer at once."""

    HTTP1 = "http1"
    HTTP2 = "http2"


class Phase(StrEnum):
    """What is known of a region's health (L5). Only evidence moves it; ``UNKNOWN`` means no evidence (L2)."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    SATURATED = "saturated"
    DOWN = "down"


class AdminState(StrEnum):
    """The operator's own word on a region (L11); automation never changes it."""

    ACTIVE = "active"
    DRAINING = "draining"
    DRAINED = "drained"


class FailbackMode(StrEnum):
    """How a service returns to a region that recovered (L17)."""

    AUTO = "auto"
    MANUAL = "manual"
    SCHEDULED = "scheduled"


class FailoverMode(StrEnum):
    """How a service leaves a region that is lost. ``MANUAL``: when a person says so; all others: by itself, at once."""

    AUTOMATIC = "automatic"
    GRACEFUL = "graceful"
    IMMEDIATE = "immediate"
    MANUAL = "manual"


class ReplicationStrategy(StrEnum):
    """``full``: a copy in every region that may hold one. ``partial``: that for hot data, the primary alone for cold.
    ``sharded``: one region by hash. ``local``: the primary alone."""

    FULL = "full"
    PARTIAL = "partial"
    SHARDED = "sharded"
    LOCAL = "local"


class LocalityLevel(StrEnum):
    """How far data may stray from where a policy places it."""

    STRICT = "strict"
    REGION = "region"
    PREFERRED = "preferred"


class DeploymentType(StrEnum):
    """How a service uses its regions."""

    ACTIVE_ACTIVE = "active-active"
    ACTIVE_PASSIVE = "active-passive"
    BLUE_GREEN = "blue-green"


_E = TypeVar("_E", bound=StrEnum)


def parse_enum(kind: type[_E], value: object, field_name: str) -> _E:
    """The member that ``value`` names (a member, or a string in any case, ``-`` and ``_`` alike)."""
    if isinstance(value, kind):
        return value
    if isinstance(value, str):
        wanted = value.strip().lower().replace("-", "_").replace(" ", "_")
        for member in kind:
            if member.value.replace("-", "_") == wanted:
                return member
    raise InvalidInputError(field_name, value, nearest_hint(str(value), [member.value for member in kind]))


class ProbeKind(StrEnum):
    """What a probe speaks."""

    HTTP = "http"
    TCP = "tcp"
