"""What the parts of a translation share: names that edges and clients see, settings of edges, what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mahavishnu.integrations.multi_region.core.rosters import NO_HEALTHY, POLICY_BOUND
from mahavishnu.integrations.multi_region.core.traffic import Target

REQUIREMENTS = "x-compliance-requirements"
"""Request header: what the request asks of the law, such as ``gdpr`` or ``gdpr, hipaa``."""

ASKED = "x-multi-region-asked"
"""Request header between parts of an edge: what a request asks of the law, read and in order."""

REASON = "x-multi-region-reason"
"""Response header: why the edge itself refused."""

REGION = "x-multi-region-region"
"""Response header: the region that answered, or the last one that was tried and did not."""

COUNTRY = "x-geo-country"
"""Request header: the client's country, by the edge's own database; whatever a client says there is removed."""

IP_TAGS = "x-envoy-ip-tags"
"""Request header: the networks that the client's address lies in."""

EXHAUSTED, UNHEALTHY = POLICY_BOUND, NO_HEALTHY
LOST = "connection lost"
UNKNOWN = "unknown requirement"
UNSERVED = "no such service"
ECHO = "method not allowed"

METADATA = "multi-region"
"""Under this name an endpoint says which region it belongs to."""

LISTENER_NAME = "clients"
ROUTES_NAME = "services"
READING_FILTER = "requirements"


@dataclass(frozen=True, slots=True)
class EdgeOptions:
    """What holds for all edges of an installation. Paths are of the edge's machine.

    ``geoip_database``: an MMDB with countries, for edges that place clients by it. ``ca_file``: whom to trust when
    regions speak TLS. ``access_log``: one JSON object per request on standard output. ``descriptors``: how many files
    and connections an edge may have open, None when that is not known.
    """

    geoip_database: str | None = None
    ca_file: str = "/etc/ssl/certs/ca-certificates.crt"
    access_log: bool = False
    descriptors: int | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A part of a plan that cannot be told to an edge, and why; it was left out, or left as it was.

    ``carried``: it is told after all, in a way that may not be what was meant; the plan can be taken over whole.
    ``host``: the name whose address is all that is missing.
    """

    resource: str
    reason: str
    carried: bool = False
    host: str = ""


Addresses = Mapping[str, tuple[str, ...]]
"""IP addresses by host name, in a stable order; endpoints that are written with an address need none."""


@dataclass(frozen=True, slots=True)
class Former:
    """An IP address at which a region was a moment ago. ``target``: the region as it was spoken to there."""

    ip: str
    target: Target


Leaving = Mapping[str, tuple[Former, ...]]
"""By region: addresses that edges are told beside those where it is now, for as long as these may be unproven."""

NOBODY_LEAVES: Leaving = MappingProxyType({})


def seconds(length_s: float) -> str:
    """A length of time as Envoy's JSON writes it."""
    return f"{length_s:.6f}".rstrip("0").rstrip(".") + "s"
