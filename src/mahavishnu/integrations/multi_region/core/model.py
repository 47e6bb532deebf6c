"""The nouns: regions (public and mutable), their frozen copies in a Fleet, services, policies, enums.

Decides nothing. A ``Region`` tells its keeper when a field changes, so that frozen snapshots can be cached safely.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

from ..errors import InvalidInputError, nearest_hint
from .deployment import DeploymentView
from .facts import NO_FACTS, STATED, Attestation, Facts, check_attestation
from .figures import REGION, Bounds, check_number, check_whole
from .kinds import (
    AdminState as AdminState,
    CloudProvider as CloudProvider,
    ComplianceFramework as ComplianceFramework,
    DeploymentType as DeploymentType,
    FailbackMode as FailbackMode,
    LocalityLevel as LocalityLevel,
    Phase as Phase,
    ProbeKind as ProbeKind,
    RoutingStrategy as RoutingStrategy,
    UpstreamProtocol as UpstreamProtocol,
    parse_enum as parse_enum,
)
from .policy import Rule, parse_rules
from .routes import RouteClass as RouteClass
from .watched import Watched


@dataclass(frozen=True, slots=True)
class Point:
    """A place on earth in degrees, WGS 84: latitude -90..90, longitude -180..180."""

    latitude: float
    longitude: float


_SHARE = Bounds(0, 1)
ID_CHARS = 63
"""How long an id that follows from a name is at most."""

_DIGEST_CHARS = 8


def check_figure(name: str, value: object) -> None:
    """Refuse what is no figure of a region; ``name``: a field of it, or ``max_capacity``. Raises InvalidInputError."""
    if name == "health_score":
        if value is not None:
            REGION[name].check(value, name, "None (nothing is stated), or ")
        return
    REGION[name].check(value, f"capabilities.{name}" if name == "max_capacity" else name)


@dataclass(eq=True)
class RegionCapabilities(Watched):
    """What a region can do. ``max_capacity`` and ``current_capacity`` share one unit (requests/s by default).

    ``compliance``: frameworks the operator attests; kept as a tuple.
    ``features``: free labels, e.g. ``{"gpu", "arm64"}``.
    ``attestations``: by framework, or by another fact that an owner may state (``baa_on_file``): what it rests on and
    when it ends. One for a framework counts as listed in ``compliance``.
    """

    compliance: Iterable[ComplianceFramework] = ()
    max_capacity: float = 100
    features: Iterable[str] = ()
    attestations: Mapping[str, Attestation] = field(default_factory=dict)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "compliance":
            value = tuple(dict.fromkeys(parse_enum(ComplianceFramework, v, "capabilities.compliance") for v in value))
        elif name == "features":
            value = tuple(value)
        elif name == "attestations":
            value = _parse_attestations(value)
        elif name == "max_capacity" and self._in_use:
            check_figure(name, value)
        Watched.__setattr__(self, name, value)

    @property
    def _in_use(self) -> bool:
        """Whether a region that they belong to is kept itself."""
        regions = (owner() for owner, _ in self._watchers)
        return any(region is not None and region._kept for region in regions)


def _parse_attestations(given: Mapping[str, Attestation | Mapping[str, Any]]) -> Mapping[str, Attestation]:
    """Attestations by framework or stated fact. Raises InvalidInputError for another name, naming the nearest."""
    where, frameworks = "capabilities.attestations", [f.value for f in ComplianceFramework]
    if not isinstance(given, Mapping):
        raise InvalidInputError(where, given, "a mapping from a framework to its attestation")
    found: dict[str, Attestation] = {}
    for name, attestation in given.items():
        if name not in STATED:
            if str(name).lower().replace("-", "_") not in frameworks:
                raise InvalidInputError(where, name, nearest_hint(str(name), [*frameworks, *STATED]))
            name = parse_enum(ComplianceFramework, name, where).value
        found[name] = check_attestation(name, attestation, STATED[name][0] if name in STATED else bool)
    return found


@dataclass(eq=True)
class Region(Watched):
    """A region as its owner declares it; mutable, and every change is seen by the next decision.

    ``health_score`` (0..100) is what the owner states until probes have spoken; None: nothing is stated (unknown).
    ``current_capacity`` is the load now, in the unit of ``capabilities.max_capacity``.
    ``country`` is ISO 3166-1 alpha-2. ``cost_multiplier``: 1.0 is the provider's reference region.
    ``health``: how it is probed (``HealthCheck``), None for the manager's defaults. ``protocol``: what it speaks to
    proxies.
    """

    region_id: str
    name: str = ""
    provider: CloudProvider = CloudProvider.OTHER
    location: str = ""
    latitude: float = 0.0
    longitude: float = 0.0
    endpoint: str = ""
    capabilities: RegionCapabilities = field(default_factory=RegionCapabilities)
    health_score: float | None = None
    current_capacity: float = 0
    cost_multiplier: float = 1.0
    country: str | None = None
    health: HealthCheck | None = None
    protocol: UpstreamProtocol = UpstreamProtocol.HTTP1

    @property
    def compliance_frameworks(self) -> tuple[ComplianceFramework, ...]:
        """The frameworks that the operator attests for this region."""
        return tuple(self.capabilities.compliance)

    @property
    def stated(self) -> Mapping[str, Attestation]:
        """All that the owner states, by framework or fact; a framework that is only listed rests on nothing named."""
        listed = {framework.value: Attestation() for framework in self.compliance_frameworks}
        return {**listed, **self.capabilities.attestations}

    @property
    def capacity_utilization(self) -> float:
        """Load as a percentage of the limit, 0 when no limit is set."""
        limit = self.capabilities.max_capacity
        return 100.0 * self.current_capacity / limit if limit else 0.0

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "region_id" and self._kept and value != self.region_id:
            raise InvalidInputError("region_id", value, f"{self.region_id!r} for good: register another region instead")
        if name == "capabilities" and not isinstance(value, RegionCapabilities):
            raise InvalidInputError("capabilities", value, "a RegionCapabilities")
        if name in REGION and self._kept:
            check_figure(name, value)
        Watched.__setattr__(self, name, value)
        if name == "capabilities":
            value._watch(self._tell)


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How one region is probed, and how its results are counted.

    Times in seconds. ``fall`` consecutive failures (or ``leak_limit`` in the leaky counter) take it down, ``rise``
    consecutive passes bring it back once the hold-down is over. ``url`` overrides the endpoint as the target.
    ``statuses``: accepted HTTP codes as inclusive ranges. ``body_contains``: text that a passing answer must hold.
    ``slow_ms``: a passing probe slower than this counts as degraded; None: never.
    """

    kind: ProbeKind = ProbeKind.HTTP
    path: str = "/healthz"
    url: str | None = None
    interval_s: float = 30.0
    timeout_s: float = 5.0
    fall: int = 2
    rise: int = 3
    leak_limit: float = 4.0
    hold_down_s: float = 10.0
    slow_ms: float | None = None
    statuses: tuple[tuple[int, int], ...] = ((200, 399),)
    body_contains: str | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    verify_tls: bool = True


@dataclass(frozen=True, slots=True)
class RegionHealth:
    """A region's health as a reader wants it.

    ``error_rate`` is a fraction 0..1, ``capacity_utilization`` a percentage, ``health_score`` 0..100. ``latency_ms``:
    None until something was measured. ``last_checked``: seconds since the epoch, None before any evidence.
    """

    region_id: str
    status: Phase
    health_score: float
    error_rate: float
    capacity_utilization: float
    latency_ms: float | None
    reason: str
    consecutive_failures: int
    consecutive_successes: int
    last_checked: float | None
    circuit_breaker: str
    admin_state: AdminState
    held: str | None = None

    @property
    def is_healthy(self) -> bool:
        """Whether new traffic is welcome by health alone."""
        return self.status is Phase.HEALTHY


@dataclass(frozen=True, slots=True)
class RegionView:
    """One region, frozen: all that a decision may look at.

    ``held`` is set when safety keeps a region in service although its verdict is down (L9, L10); it says why, and
    ``serves_as`` is the phase it is then ranked with.
    ``failed_over`` names why traffic was moved away and has not been given back; ``failed_services`` limits that
    to some services (None: all).
    ``facts``: what is held to be true of it, as it stands at ``as_of`` (seconds since the epoch); ``compliance`` lists
    the frameworks whose attestation stands then.
    """

    region_id: str
    name: str
    provider: CloudProvider
    point: Point
    country: str | None
    endpoint: str
    phase: Phase
    health_score: float
    admin: AdminState
    load: float
    max_capacity: float
    cost_multiplier: float
    compliance: frozenset[ComplianceFramework]
    held: str | None = None
    serves_as: Phase | None = None
    failed_over: str | None = None
    failed_services: frozenset[str] | None = None
    facts: Facts = field(default_factory=lambda: NO_FACTS, hash=False)
    as_of: float = 0.0
    protocol: UpstreamProtocol = UpstreamProtocol.HTTP1

    @property
    def standing(self) -> Phase:
        """The phase that decisions go by: the verdict, or what safety lets the region serve as."""
        return self.serves_as or self.phase

    @property
    def utilization(self) -> float:
        """Load as a fraction of the limit; 0 when no limit is set."""
        return self.load / self.max_capacity if self.max_capacity else 0.0


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """Where a service runs. ``regions`` in order (the first is the primary of active-passive); weights are relative."""

    type: DeploymentType
    regions: tuple[str, ...]
    weights: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Service:
    """A service: its host names, how it is routed, which policy binds it, who is shed last (lower priority number).

    ``routes``: how proxies carry its requests, the first that fits a path; none: as ``RouteClass`` has it by default.
    """

    name: str
    hosts: tuple[str, ...] = ()
    strategy: RoutingStrategy = RoutingStrategy.LATENCY_BASED
    policy: str | None = None
    deployment: DeploymentSpec | None = None
    priority: int = 100
    failback: FailbackMode | None = None
    routes: tuple[RouteClass, ...] = ()

    @property
    def failback_mode(self) -> FailbackMode:
        """The stated mode, or the default: manual for active-passive, automatic otherwise (L17)."""
        if self.failback is not None:
            return self.failback
        passive = self.deployment is not None and self.deployment.type is DeploymentType.ACTIVE_PASSIVE
        return FailbackMode.MANUAL if passive else FailbackMode.AUTO


@dataclass(eq=True)
class DataPlacementPolicy:
    """Where data and its requests may go.

    ``allowed_regions``: None allows every region that meets the requirements; a list allows only those.
    ``locality_level``: how far data may stray, exactly as ``core/eligibility.py`` says.
    ``cross_region_transfer``: whether data of level ``region`` may be copied out of the allowed regions.
    ``rules``: conditions over facts that a region must meet besides; with rules, one of them must allow.
    """

    name: str
    compliance_requirements: Iterable[ComplianceFramework] = ()
    allowed_regions: Iterable[str] | None = None
    locality_level: LocalityLevel = LocalityLevel.STRICT
    cross_region_transfer: bool = False
    policy_id: str = ""
    rules: Iterable[Rule] = ()

    def __post_init__(self) -> None:
        self.rules = parse_rules(self.rules)
        self.compliance_requirements = tuple(
            parse_enum(ComplianceFramework, v, "compliance_requirements") for v in self.compliance_requirements
        )
        self.locality_level = parse_enum(LocalityLevel, self.locality_level, "locality_level")
        self.allowed_regions = None if self.allowed_regions is None else tuple(self.allowed_regions)
        self.policy_id = self.policy_id or slug(self.name)


def words(name: str) -> str:
    """The words of a name, letters and digits of any script, in lower case and joined by ``-``."""
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def slug(name: str) -> str:
    """A name as an id, at most 63 letters of a to z, digits and ``-``; empty when it has no letter and no digit.

    Its ``words``; where these say more than fits, as much as does, and a digest that tells it from other names.
    """
    spelled = words(name)
    plain = words(unicodedata.normalize("NFKD", spelled).encode("ascii", "ignore").decode())
    if plain == spelled and len(plain) <= ID_CHARS:
        return plain
    digest = hashlib.sha256(spelled.encode()).hexdigest()[:_DIGEST_CHARS]
    return f"{plain[: ID_CHARS - _DIGEST_CHARS - 1]}-{digest}".replace("--", "-").strip("-")


@dataclass(frozen=True, slots=True)
class PolicyView:
    """One policy, frozen, as decisions read it."""

    policy_id: str
    name: str
    requirements: frozenset[ComplianceFramework]
    allowed_regions: frozenset[str] | None
    locality_level: LocalityLevel
    cross_region_transfer: bool
    rules: tuple[Rule, ...] = ()

    @classmethod
    def of(cls, policy: DataPlacementPolicy) -> Self:
        """The frozen copy of a policy."""
        allowed = policy.allowed_regions
        return cls(
            policy_id=policy.policy_id,
            name=policy.name,
            requirements=frozenset(policy.compliance_requirements),
            allowed_regions=None if allowed is None else frozenset(allowed),
            locality_level=policy.locality_level,
            cross_region_transfer=policy.cross_region_transfer,
            rules=tuple(policy.rules),
        )

    def document(self) -> dict[str, Any]:
        """The policy as plain data, for its digest."""
        return {
            "policy_id": self.policy_id,
            "requirements": sorted(r.value for r in self.requirements),
            "allowed_regions": None if self.allowed_regions is None else sorted(self.allowed_regions),
            "locality_level": self.locality_level.value,
            "cross_region_transfer": self.cross_region_transfer,
            "rules": [rule.document() for rule in self.rules],
        }


@dataclass(frozen=True, slots=True)
class Binding:
    """Which policy binds a piece of data, and what kind of data it is (the operator's own word)."""

    policy_id: str | None
    data_class: str | None = None


@dataclass(frozen=True, slots=True)
class SafetyLimits:
    """What automation may never exceed (L9).

    ``min_serving``: regions that always stay in service. ``max_removed``: the share of all capacity (0..1) that
    automation may take out within ``window_s`` seconds. ``headroom``: the share of a region's limit kept free when
    load is moved onto it (L7). ``blind_share``: when more than this share of targets fails at once, the observer
    is distrusted, not the regions (L2, L10).
    """

    min_serving: int = 1
    max_removed: float = 0.5
    window_s: float = 60.0
    headroom: float = 0.1
    blind_share: float = 0.5

    def __post_init__(self) -> None:
        """Raises InvalidInputError: 50 for 50 %, or a number that is none, would switch a limit off without a word."""
        check_whole(self.min_serving, "min_serving")
        for name in ("max_removed", "headroom", "blind_share"):
            check_number(getattr(self, name), name, "a share from 0 to 1 (0.5 is half)", _SHARE.takes)
        check_number(self.window_s, "window_s", "a number of seconds, 0 or more", lambda v: v >= 0)


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything a decision needs, frozen. Regions are in order of registration.

    ``deployments``: the plan of record of each service that has one, by the service's name.
    ``revision`` is the store's: it counts changes of intent. ``generation`` counts every change that this process has
    seen, of health and load too; two fleets of one generation are the same object. ``frozen``: why automation is
    stopped, None when it is not. ``bindings``: which policy binds which piece of data.
    """

    revision: int
    regions: Mapping[str, RegionView]
    services: Mapping[str, Service] = field(default_factory=lambda: MappingProxyType({}))
    policies: Mapping[str, PolicyView] = field(default_factory=lambda: MappingProxyType({}))
    deployments: Mapping[str, DeploymentView] = field(default_factory=lambda: MappingProxyType({}))
    limits: SafetyLimits = SafetyLimits()
    frozen: str | None = None
    generation: int = 0
    bindings: Mapping[str, Binding] = field(default_factory=lambda: MappingProxyType({}))
