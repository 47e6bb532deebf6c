"""Who may serve what requests to a service state, and why each other region may not.

Law comes first, then the service's deployment; a region that either excludes is in no roster, however healthy it is
(L6). Regions beyond a policy's preference are in it, marked, since law lets them serve once no preferred one can: who
is in a roster depends on no health. Services that differ in their names alone share their rosters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from types import MappingProxyType

from .deployment import DeploymentView, Group
from .eligibility import attested_by, failed_over_for, has_preference, lawful_objection, part_objection
from .model import ComplianceFramework, Fleet, RoutingStrategy
from .request import Needs, Request, needs_of, shares_of
from .tiers import Member, members_of, preference_holds
from .traffic import Standing

MOST_COMBINED = 4
"""With so many attested frameworks or fewer, requests may state any of their combinations; with more, pairs."""

POLICY_BOUND = "policy-bound exhaustion"
NO_HEALTHY = "no healthy region"
"""How an exhaustion begins where law leaves no region, and all that it says where regions are left and none serves."""

Statement = tuple[ComplianceFramework, ...]


@dataclass(frozen=True, slots=True)
class Roster:
    """Who may serve a statement, for all services of a kind, by id. ``unlawful``: why the law excludes a region.

    ``shape``: all of the members that tiers depend on, in one fleet. ``reserve``: members that must take nothing now,
    since a policy prefers others and one of those can serve.
    """

    statement: tuple[str, ...]
    members: tuple[Member, ...]
    unlawful: Mapping[str, str]
    shape: tuple[tuple[str, Standing, bool, bool], ...]
    reserve: frozenset[str]

    @property
    def sides(self) -> tuple[frozenset[str], frozenset[str]]:
        """The members that policies prefer (all, where none prefers any) and those beyond: no tier mixes them."""
        beyond = frozenset(one.region.region_id for one in self.members if one.beyond)
        return frozenset(one.region.region_id for one in self.members) - beyond, beyond

    def exhaustion(self, excluded: Mapping[str, str]) -> str | None:
        """Why nobody can serve; None when somebody can. ``excluded``: why each region that is no member is none."""
        if self.members:
            serves = any(standing is Standing.SERVING for _, standing, _, _ in self.shape)
            return None if serves else NO_HEALTHY
        why = "; ".join(f"{region_id} {text}" for region_id, text in excluded.items())
        if self.unlawful:
            return f"{POLICY_BOUND}: {why}"
        return f"no region may serve this request: {why}" if why else "no region is registered"


@dataclass(frozen=True, slots=True)
class Kind:
    """All that the tiers of a service depend on; services of one kind differ in their names alone.

    ``deployed``, ``groups``, ``warm``: where it runs and in which roles, None and empty without a plan of record.
    ``weights``: by region. ``away``: regions that its traffic was moved off.
    """

    policy: str | None
    strategy: RoutingStrategy
    deployed: tuple[str, ...] | None
    groups: tuple[Group, ...] | None
    warm: tuple[str, ...]
    weights: tuple[tuple[str, float], ...]
    away: frozenset[str]

    @classmethod
    def of(cls, fleet: Fleet, needs: Needs) -> Kind:
        """The kind of the service that the needs are of."""
        service, deployment = needs.service, needs.deployment
        moved = (region for region in fleet.regions.values() if region.failed_over is not None)
        return cls(
            service.policy if service is not None else None,
            service.strategy if service is not None else RoutingStrategy.LATENCY_BASED,
            needs.deployed,
            None if deployment is None else deployment.groups,
            () if deployment is None else deployment.spares,
            tuple(sorted(shares_of(service, deployment).items())),
            frozenset(region.region_id for region in moved if failed_over_for(region, needs)),
        )


@dataclass(frozen=True, slots=True)
class Served:
    """One service with its rosters, the first of requests that state nothing.

    ``deployment``: its plan of record. ``absent``: why its deployment excludes a region, whatever requests state.
    """

    name: str
    kind: Kind
    deployment: DeploymentView | None
    rosters: tuple[Roster, ...]
    absent: Mapping[str, str]

    def excluded(self, roster: Roster) -> Mapping[str, str]:
        """Why each region that is not in a roster is not, sorted."""
        if not self.absent:
            return roster.unlawful
        reasons = {**self.absent, **roster.unlawful}
        return MappingProxyType({region_id: reasons[region_id] for region_id in sorted(reasons)})


class Rosters:
    """The rosters of a fleet's services. ``reach``: all regions that may serve one of them by law, in any health."""

    def __init__(self, fleet: Fleet, seen_alive: frozenset[str]) -> None:
        self._fleet = fleet
        self._seen_alive = seen_alive
        self._regions = [fleet.regions[region_id] for region_id in sorted(fleet.regions)]
        self._bound: dict[tuple[str | None, Statement], Needs] = {}
        self._law: dict[tuple[str | None, Statement, bool], Mapping[str, str]] = {}
        self._made: dict[Kind, tuple[Roster, ...]] = {}
        self.reach: set[str] = set()

    def of(self, name: str) -> Served:
        """A service's; one that is neither declared nor deployed stands for requests that name none."""
        own = Needs(service=self._fleet.services.get(name), deployment=self._fleet.deployments.get(name))
        kind, absent = Kind.of(self._fleet, own), self._absent(own)
        if kind not in self._made:
            statements = ((), *self._statements(own, kind))
            self._made[kind] = tuple(self._roster(own, kind, stated, absent) for stated in statements)
        return Served(name, kind, own.deployment, self._made[kind], absent)

    def _absent(self, own: Needs) -> Mapping[str, str]:
        """Why each region that a service's deployment leaves out has no part."""
        if own.deployed is None:
            return {}
        parts = ((region.region_id, part_objection(region, own)) for region in self._regions)
        return {region_id: why.text for region_id, why in parts if why is not None}

    def _statements(self, own: Needs, kind: Kind) -> tuple[Statement, ...]:
        """What requests may state; goes by the law at its widest, so that neither health nor a rollout changes it."""
        widest = self._unlawful(replace(self._needs(own, kind.policy, ()), beyond_preference=True), kind.policy, ())
        runs = self._fleet.regions if own.deployed is None else own.deployed
        reached = [r for r in self._regions if r.region_id not in widest and r.region_id in runs]
        self.reach.update(region.region_id for region in reached)
        return statements_of(attested_by(reached))

    def _roster(self, own: Needs, kind: Kind, statement: Statement, absent: Mapping[str, str]) -> Roster:
        needs = replace(self._needs(own, kind.policy, statement), beyond_preference=True)
        unlawful = self._unlawful(needs, kind.policy, statement)
        able = [r for r in self._regions if r.region_id not in unlawful and r.region_id not in absent]
        members = members_of(able, needs, self._seen_alive, self._beyond(needs, kind.policy, statement))
        shape = tuple((one.region.region_id, one.standing, one.crowded, one.beyond) for one in members)
        held = preference_holds(members, own.deployment)
        reserve = frozenset(one.region.region_id for one in members if held and one.beyond)
        return Roster(tuple(framework.value for framework in statement), members, unlawful, shape, reserve)

    def _beyond(self, needs: Needs, policy: str | None, statement: Statement) -> Mapping[str, str]:
        """Regions that law excludes while a preferred one can serve, those that it always excludes among them."""
        if not has_preference(needs):
            return {}
        return self._unlawful(replace(needs, beyond_preference=False), policy, statement)

    def _needs(self, own: Needs, policy: str | None, statement: Statement) -> Needs:
        """The needs of requests to a service; what binds them depends on its policy and on what they state alone."""
        key = (policy, statement)
        if key not in self._bound:
            name = own.service.name if own.service is not None else None
            self._bound[key] = needs_of(self._fleet, Request(service=name, requirements=frozenset(statement)))
        return replace(self._bound[key], service=own.service, deployment=own.deployment)

    def _unlawful(self, needs: Needs, policy: str | None, statement: Statement) -> Mapping[str, str]:
        """Why the law excludes a region, wherever the service runs; the same for all services under a policy."""
        key = (policy, statement, needs.beyond_preference)
        if key not in self._law:
            anywhere = replace(needs, service=None, deployment=None)
            parts = ((region.region_id, lawful_objection(region, anywhere)) for region in self._regions)
            self._law[key] = MappingProxyType({region_id: why.text for region_id, why in parts if why is not None})
        return self._law[key]


def statements_of(attested: frozenset[ComplianceFramework]) -> tuple[Statement, ...]:
    """What requests may state: each framework by itself, and combinations of attested ones; each sorted, none empty."""
    alone = [(framework,) for framework in sorted(ComplianceFramework)]
    longest = len(attested) if len(attested) <= MOST_COMBINED else 2
    return (*alone, *(several for size in range(2, longest + 1) for several in combinations(sorted(attested), size)))
