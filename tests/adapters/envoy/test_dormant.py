"""Classes that no region can serve: an edge that never held one is told nothing, one that may is told it is empty."""

from __future__ import annotations

from collections.abc import Iterable

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.edge_record import Link
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.exchange import EVERYTHING, Ask
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.parts import ROUTES_NAME
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.proto import message
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resources import (
    CLUSTER,
    ENDPOINTS,
    IN_ORDER,
    LISTENER,
    ROUTES,
    Resource,
    Snapshot,
)
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.roster import Roster
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.translate import Translator

from .plans import NOWHERE, kind, plan, service, target


def told(translator: Translator, generation: int, *, lawful: bool) -> Snapshot:
    """Of a service with a class of the law that a region can serve, or none can."""
    own = kind([target("us")])
    law = kind([target("eu")], asks=("gdpr",)) if lawful else kind([], asks=("gdpr",), exhausted="nobody may")
    return translator.snapshot(plan(service(own, law)), generation, NOWHERE)[0]


class Edge:
    """An edge that refuses routes if told to. What it holds outlives its streams."""

    def __init__(self, *, refuses_routes: bool = False) -> None:
        self.holds: dict[str, dict[str, Resource]] = {url: {} for url in IN_ORDER}
        self.refuses_routes = refuses_routes

    def connect(self, roster: Roster) -> None:
        """Open a stream, say what it holds, and answer until there is nothing more to answer."""
        self.link: Link = roster.connect("e1", "1", delta=True)
        named = {
            CLUSTER: (EVERYTHING,),
            ENDPOINTS: self.holds[CLUSTER],
            LISTENER: (EVERYTHING,),
            ROUTES: (ROUTES_NAME,),
        }
        for url, names in named.items():
            holds = {name: one.version for name, one in self.holds[url].items()}
            roster.hear(self.link, Ask(url, subscribe=tuple(names), holds=holds))
        self.talk(roster)

    def talk(self, roster: Roster) -> None:
        """See ``connect``."""
        while replies := self.link.stream.replies():
            for reply in replies:
                if reply.type_url == ROUTES and self.refuses_routes:
                    roster.hear(self.link, Ask(ROUTES, nonce=reply.nonce, error="no good"))
                    continue
                self._take(reply.type_url, reply.resources, reply.removed)
                if reply.type_url == CLUSTER and reply.resources:
                    names = tuple(one.name for one in reply.resources)
                    roster.hear(self.link, Ask(ENDPOINTS, subscribe=names))
                roster.hear(self.link, Ask(reply.type_url, nonce=reply.nonce))

    def _take(self, url: str, resources: Iterable[Resource], removed: Iterable[str]) -> None:
        held = self.holds.setdefault(url, {})
        held.update({one.name: one for one in resources})
        for name in removed:
            held.pop(name, None)

    def regions(self, name: str) -> list[str]:
        """Where requests would go that an old route sends to a cluster."""
        if name not in self.holds[CLUSTER]:
            return []
        found = message("envoy.config.endpoint.v3.ClusterLoadAssignment").FromString(self.holds[ENDPOINTS][name].body)
        return [each.locality.region for each in found.endpoints]


def test_an_edge_that_never_held_one_is_not_told_of_it() -> None:
    roster, edge = Roster(), Edge()
    roster.publish({"e1": told(Translator(), 1, lawful=False)}, {})
    edge.connect(roster)
    assert list(edge.holds[CLUSTER]) == list(edge.holds[ENDPOINTS]) == ["api"]


def test_one_that_lost_its_last_region_stays_empty_though_the_edge_refuses_the_new_routes() -> None:
    roster, edge, translator = Roster(), Edge(), Translator()
    roster.publish({"e1": told(translator, 1, lawful=True)}, {})
    edge.connect(roster)
    assert edge.regions("api~gdpr") == ["eu"]
    edge.refuses_routes = True
    for generation in (2, 3):
        roster.publish({"e1": told(translator, generation, lawful=False)}, {})
        edge.talk(roster)
        assert "api~gdpr" in edge.holds[CLUSTER]
        assert edge.regions("api~gdpr") == []
    roster.publish({"e1": told(translator, 4, lawful=True)}, {})
    edge.talk(roster)
    assert edge.regions("api~gdpr") == ["eu"]


def test_a_controller_that_is_new_empties_what_the_edge_brings() -> None:
    edge, first = Edge(), Roster()
    first.publish({"e1": told(Translator(), 1, lawful=True)}, {})
    edge.connect(first)
    edge.refuses_routes = True
    second = Roster()
    second.publish({"e1": told(Translator(), 2, lawful=False)}, {})
    edge.connect(second)
    assert "api~gdpr" in edge.holds[CLUSTER]
    assert edge.regions("api~gdpr") == []


def test_so_does_one_that_has_its_plan_only_after_the_edge_spoke() -> None:
    edge, first = Edge(), Roster()
    first.publish({"e1": told(Translator(), 1, lawful=True)}, {})
    edge.connect(first)
    edge.refuses_routes = True
    second = Roster()
    edge.connect(second)
    second.publish({"e1": told(Translator(), 2, lawful=False)}, {})
    edge.talk(second)
    assert edge.regions("api~gdpr") == []
    assert "api~gdpr" in edge.holds[CLUSTER]


def test_it_goes_with_the_class() -> None:
    roster, edge, translator = Roster(), Edge(), Translator()
    for generation, lawful in ((1, True), (2, False)):
        roster.publish({"e1": told(translator, generation, lawful=lawful)}, {})
        if generation == 1:
            edge.connect(roster)
        edge.talk(roster)
    snapshot, _ = translator.snapshot(plan(service(kind([target("us")]))), 3, NOWHERE)
    roster.publish({"e1": snapshot}, {})
    edge.talk(roster)
    assert list(edge.holds[CLUSTER]) == ["api"]
