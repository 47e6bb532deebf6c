"""Services as virtual hosts, and the listener: hosts, routes, refusals, and what is left out and named. No Envoy."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.parts import EdgeOptions
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resources import (
    CLUSTER,
    ENDPOINTS,
    LISTENER,
    ROUTES,
    Snapshot,
)
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.translate import Translator
from mahavishnu.integrations.multi_region.core.edges import ClientPlace, EdgeSpec, Network
from mahavishnu.integrations.multi_region.core.figures import DAY_S
from mahavishnu.integrations.multi_region.core.model import Point
from mahavishnu.integrations.multi_region.core.routes import RouteClass
from mahavishnu.integrations.multi_region.core.traffic import Area, Standing, Target
from mahavishnu.integrations.multi_region.surfaces.demo.ledger import Outcome
from mahavishnu.integrations.multi_region.testing.open_loop import Answer

from .edge import plain
from .plans import NOWHERE, SPEC, kind, plan, service, target, translated


def hosts_of(snapshot: Snapshot) -> dict[str, list[str]]:
    found = plain(snapshot.resources[ROUTES]["services"]).get("virtual_hosts", [])
    return {host["name"]: host["domains"] for host in found}


def test_a_host_name_belongs_to_the_service_that_claims_it_first() -> None:
    first = service(kind([target("a")]), hosts=("a.test", "A.test", "b.test"))
    second = service(kind([target("a")], service="web"), hosts=("b.test", "c.test"))
    third = service(kind([target("a")], service="late"), hosts=("c.test",))
    snapshot, problems = translated(plan(first, second, third))
    assert hosts_of(snapshot) == {"api": ["a.test", "b.test"], "web": ["c.test"]}
    assert [problem.resource for problem in problems] == ["web", "late", "late"]


@pytest.mark.parametrize("host", ["", "a b", "a/b", "a*b", "**", "*", "a\nb"])
def test_one_bad_host_name_spoils_nothing_else(host: str) -> None:
    snapshot, problems = translated(plan(service(kind([target("a")]), hosts=("good.test", host))))
    assert hosts_of(snapshot) == {"api": ["good.test"] + (["*"] if host == "*" else [])}
    assert len(problems) == (0 if host == "*" else 1)


@pytest.mark.parametrize(
    "bad",
    [
        RouteClass("no-slash"),
        RouteClass("/bad", timeout_s=-1.0),
        RouteClass("/bad", timeout_s=float("nan")),
        RouteClass("/bad", attempt_timeout_s=0.0),
        RouteClass("/bad", attempt_timeout_s=20.0),
        RouteClass("/bad", timeout_s=DAY_S + 1),
        RouteClass("/bad", retries=-1),
        RouteClass("/bad", retries=11),
    ],
)
def test_a_route_that_no_edge_takes_leaves_its_requests_to_the_next(bad: RouteClass) -> None:
    snapshot, problems = translated(plan(service(kind([target("a")]), routes=(bad, RouteClass("/", retries=1)))))
    (host,) = plain(snapshot.resources[ROUTES]["services"])["virtual_hosts"]
    assert {route["match"]["prefix"] for route in host["routes"]} == {"/"}
    (problem,) = problems
    assert problem.resource == f"api {bad.prefix}"


def test_what_edges_repeat_is_what_counts_as_idempotent() -> None:
    snapshot, _ = translated(plan(service(kind([target("a")]))))
    (host,) = plain(snapshot.resources[ROUTES]["services"])["virtual_hosts"]
    matchers = [header for route in host["routes"] for header in route["match"].get("headers", ())]
    patterns = {m["string_match"]["safe_regex"]["regex"] for m in matchers if "safe_regex" in m.get("string_match", {})}
    assert patterns == {"GET|HEAD|OPTIONS|PUT|DELETE"}
    for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH", "TRACE"):
        repeated = any(re.fullmatch(pattern, method) for pattern in patterns)
        assert repeated == Answer(0.0, 1.0, method).idempotent
        assert repeated == Outcome("Berlin", "web", 0.0, 1.0, (), method=method).repeatable


def test_statements_come_before_the_refusal_and_the_refusal_before_the_rest() -> None:
    kinds = [kind([target("a")], asks=asks) for asks in ((), ("gdpr",), ("gdpr", "hipaa"))]
    snapshot, _ = translated(plan(service(*kinds)))
    (host,) = plain(snapshot.resources[ROUTES]["services"])["virtual_hosts"]
    order = [
        route["route"]["cluster"] if "route" in route else route["direct_response"]["status"]
        for route in host["routes"]
    ]
    assert list(dict.fromkeys(order)) == [405, "api~gdpr+hipaa", "api~gdpr", 403, "api"]


@pytest.mark.parametrize("name", ["api", "a~b", "a@b", "50%", "a b"])
def test_routes_lead_to_clusters_that_are_there(name: str) -> None:
    """Whatever the service is called, and the area for everybody else adds no routes of its own."""
    kinds = [
        kind([target("a")], asks=asks, area=area, service=name)
        for asks in ((), ("gdpr",))
        for area in ("", "de", "off")
    ]
    areas = (Area("de", countries=("DE",)), Area("off", network="office"), Area("", countries=("FR",)))
    snapshot, problems = translated(plan(service(*kinds), areas=areas))
    (host,) = plain(snapshot.resources[ROUTES]["services"])["virtual_hosts"]
    named = [route["route"]["cluster"] for route in host["routes"] if "route" in route]
    assert problems == ()
    assert set(named) == set(snapshot.resources[CLUSTER]) == {found.name for found in kinds}
    assert len(named) == 2 * len(kinds)  # what may be repeated, and what may not


def test_services_without_a_class_for_everybody_refuse_everybody() -> None:
    snapshot, _ = translated(plan(service(kind([target("a")], asks=("gdpr",)))))
    (host,) = plain(snapshot.resources[ROUTES]["services"])["virtual_hosts"]
    assert host["routes"][-1]["direct_response"]["status"] == 503


def test_streams_have_no_limit_and_only_stated_attempts_have_one() -> None:
    routes = (
        RouteClass("/stream", timeout_s=0.0),
        RouteClass("/quick", attempt_timeout_s=0.3),
        RouteClass("/", retries=0),
    )
    snapshot, _ = translated(plan(service(kind([target("a")]), routes=routes)))
    (host,) = plain(snapshot.resources[ROUTES]["services"])["virtual_hosts"]
    actions = [(route["match"]["prefix"], route["route"]) for route in host["routes"] if "route" in route]
    by_prefix: dict[str, list[dict[str, Any]]] = {}
    for prefix, action in actions:
        by_prefix.setdefault(prefix, []).append(action)
    for action in by_prefix["/stream"]:
        assert (action["timeout"], action["idle_timeout"]) == ("0s", "0s")
        assert "per_try_timeout" not in action["retry_policy"]
    repeated, once = by_prefix["/quick"]
    assert (repeated["retry_policy"]["per_try_timeout"], repeated["hedge_policy"]) == (
        "0.300s",
        {"hedge_on_per_try_timeout": True},
    )
    assert "per_try_timeout" not in once["retry_policy"] and "hedge_policy" not in once
    assert not any("retry_policy" in action for action in by_prefix["/"])


# --- the listener -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "listen", ["", "nowhere", "example.test:80", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x", "::1:80"]
)
def test_a_listener_without_an_address_is_left_as_it_was(listen: str) -> None:
    translator = Translator()
    before, _ = translator.snapshot(plan(service(kind([target("a")]))), 1, NOWHERE)
    told = plan(service(kind([target("a")])), edge=replace(SPEC, listen=listen))
    snapshot, problems = translator.snapshot(told, 2, NOWHERE)
    assert snapshot.resources[LISTENER]["clients"] is before.resources[LISTENER]["clients"]
    assert [problem.resource for problem in problems] == ["listener"]
    assert translated(told)[0].resources[LISTENER] == {}


def test_placing_clients_needs_a_database_and_readable_networks() -> None:
    geo = replace(SPEC, client_place=ClientPlace.GEOIP)
    nets = (Network("office", ("192.0.2.0/24", "nonsense"), Point(0, 0)),)
    cidr = replace(SPEC, client_place=ClientPlace.CIDR, networks=nets)
    for edge in (geo, cidr):
        snapshot, problems = translated(plan(service(kind([target("a")])), edge=edge))
        assert [problem.resource for problem in problems] == ["listener"]
        assert "clients" in snapshot.resources[LISTENER]
    options = EdgeOptions(geoip_database="/var/lib/geo.mmdb")
    assert Translator(options).snapshot(plan(service(kind([target("a")])), edge=geo), 1, NOWHERE)[1] == ()


@pytest.mark.parametrize(
    ("edge", "says"),
    [
        (replace(SPEC, trusted_hops=101), "trusted_hops: 101 is not allowed; allowed: a whole number from 0 to 100"),
        (
            replace(SPEC, client_place=ClientPlace.CIDR, networks=(Network("office", ("10.0.0.1/8",), Point(0, 0)),)),
            "networks.office: '10.0.0.1/8' is not allowed; allowed: did you mean '10.0.0.0/8'?",
        ),
    ],
)
def test_what_nobody_could_have_declared_of_an_edge_is_left_out_and_said_in_the_same_words(
    edge: EdgeSpec, says: str
) -> None:
    snapshot, (problem,) = translated(plan(service(kind([target("a")])), edge=edge))
    assert problem.resource == "listener"
    assert problem.reason.startswith(says)
    (manager,) = plain(snapshot.resources[LISTENER]["clients"])["filter_chains"][0]["filters"]
    assert manager["typed_config"].get("xff_num_trusted_hops", 0) == 0
    assert not any("ip_tagging" in found["name"] for found in manager["typed_config"]["http_filters"])


def clusters_of(snapshot: Snapshot) -> dict[str, set[str]]:
    """The clusters that each service's routes name."""
    found = plain(snapshot.resources[ROUTES]["services"]).get("virtual_hosts", [])
    return {host["name"]: {r["route"]["cluster"] for r in host["routes"] if "route" in r} for host in found}


def test_a_service_that_is_called_like_a_class_of_another_has_clusters_of_its_own() -> None:
    api = service(kind([target("a")]), kind([target("eu")], asks=("gdpr",)), hosts=("api.test",))
    like = service(kind([target("us")], service="api~gdpr"), hosts=("like.test",))
    percent = service(kind([target("us")], service="api%7Egdpr"), hosts=("percent.test",))
    snapshot, problems = translated(plan(api, like, percent))
    named = clusters_of(snapshot)
    assert problems == ()
    assert named["api"] == {"api", "api~gdpr"}
    assert [len(names) for names in named.values()] == [2, 1, 1]
    assert not named["api"] & named["api~gdpr"]
    assert not named["api~gdpr"] & named["api%7Egdpr"]
    assert set().union(*named.values()) == snapshot.resources[CLUSTER].keys() == snapshot.resources[ENDPOINTS].keys()


@pytest.mark.parametrize(
    ("tiers", "why", "refused"),
    [
        ([[target("a")]], None, False),
        ([[target("a", standing=Standing.OUT)]], "no healthy region", False),
        ([[]], "policy-bound exhaustion: a lacks gdpr", True),
        ([], "policy-bound exhaustion: a lacks gdpr", True),
    ],
)
def test_an_edge_refuses_by_itself_only_where_no_region_may_serve(
    tiers: list[list[Target]], why: str | None, refused: bool
) -> None:
    """Whether a region that may serve is well is for the edge to see."""
    told = service(kind([target("a")]), kind(*tiers, asks=("gdpr",), exhausted=why))
    snapshot, _ = translated(plan(told))
    assert ("api~gdpr" in clusters_of(snapshot)["api"]) == (not refused)
