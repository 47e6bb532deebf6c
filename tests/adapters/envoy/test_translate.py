"""From plans to resources: what is in them, what is made again, what is left out and named. No Envoy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.parts import Problem
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.proto import message
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resources import (
    CLUSTER,
    ENDPOINTS,
    LISTENER,
    MARK,
    ROUTES,
    Resource,
    Snapshot,
)
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.translate import KEPT, MADE, Translator
from mahavishnu.integrations.multi_region.core.model import HealthCheck, ProbeKind, UpstreamProtocol
from mahavishnu.integrations.multi_region.core.traffic import EdgePlan, Standing

from .edge import plain
from .plans import NOWHERE, SPEC, kind, plan, service, target, translated


def endpoints(snapshot: Snapshot, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = plain(snapshot.resources[ENDPOINTS][name]).get("endpoints", [])
    return found


def cluster(snapshot: Snapshot, name: str = "api") -> dict[str, Any]:
    return plain(snapshot.resources[CLUSTER][name])


def test_a_plan_becomes_one_cluster_and_one_assignment_per_class_and_one_of_the_rest() -> None:
    snapshot, problems = translated(plan(service(kind([target("a")]), kind([target("a")], asks=("gdpr",)))))
    assert problems == ()
    assert snapshot.generation == 7
    assert {url: list(found) for url, found in snapshot.resources.items()} == {
        CLUSTER: ["api", "api~gdpr"],
        ENDPOINTS: ["api", "api~gdpr"],
        LISTENER: ["clients"],
        ROUTES: ["services"],
    }
    for name in ("api", "api~gdpr"):
        assert cluster(snapshot, name)["eds_cluster_config"]["service_name"] == name
        assert plain(snapshot.resources[ENDPOINTS][name])["cluster_name"] == name


def test_tiers_are_priorities_without_gaps_and_regions_are_localities() -> None:
    tiers = [
        [target("a", "http://192.0.2.1:81", weight=60), target("b", "http://[2001:db8::1]:82", weight=40)],
        [target("lost", "ftp://nowhere")],
        [target("c", "http://192.0.2.3", standing=Standing.DRAINING)],
        [target("d", standing=Standing.OUT)],
    ]
    snapshot, problems = translated(plan(service(kind(*tiers))))
    found = endpoints(snapshot, "api")
    assert [(each["locality"]["region"], each.get("priority", 0)) for each in found] == [
        ("a", 0),
        ("b", 0),
        ("c", 1),
        ("d", 2),
    ]
    assert [each["load_balancing_weight"] for each in found] == [60, 40, 1, 1]
    hosts = [each["lb_endpoints"][0] for each in found]
    assert [host["health_status"] for host in hosts] == ["HEALTHY", "HEALTHY", "DRAINING", "UNHEALTHY"]
    sockets = [host["endpoint"]["address"]["socket_address"] for host in hosts]
    assert [(socket["address"], socket["port_value"]) for socket in sockets] == [
        ("192.0.2.1", 81),
        ("2001:db8::1", 82),
        ("192.0.2.3", 80),
        ("192.0.2.1", 9000),
    ]
    assert [problem.resource for problem in problems] == ["api/lost"]


@given(
    st.lists(st.lists(st.integers(1, 500), min_size=1, max_size=4), max_size=4),
    st.text("abc-~", min_size=1, max_size=200),
)
def test_assignments_are_the_bytes_of_their_message(tiers: list[list[int]], name: str) -> None:
    made = [
        [target(f"r{tier}.{place}", weight=weight) for place, weight in enumerate(weights)]
        for tier, weights in enumerate(tiers)
    ]
    told = kind(*made, service=name)
    snapshot, _ = translated(plan(service(told)))
    resource = snapshot.resources[ENDPOINTS][told.name]
    whole = message("envoy.config.endpoint.v3.ClusterLoadAssignment").FromString(resource.body)
    same = Resource.of(ENDPOINTS, told.name, whole)
    assert (resource.body, resource.version.partition(MARK)[0]) == (same.body, same.version)
    assert [each.locality.region for each in whole.endpoints] == [one.region_id for tier in made for one in tier]


def test_a_class_holds_the_regions_of_its_tiers_and_no_other() -> None:
    """Also one that held more before, whatever else is wrong with it now."""
    translator = Translator()
    before = kind([target("us"), target("fra")], asks=("gdpr",))
    translator.snapshot(plan(service(before)), 1, NOWHERE)
    broken = kind([target("fra", weight=0)], asks=("gdpr",))
    snapshot, problems = translator.snapshot(plan(service(broken)), 2, NOWHERE)
    assert endpoints(snapshot, "api~gdpr") == []
    assert [problem.resource for problem in problems] == ["api~gdpr/fra"]


def test_a_class_that_no_region_can_serve_has_no_cluster() -> None:
    lawful = [kind([], asks=(framework,), exhausted="nobody may") for framework in ("gdpr", "hipaa", "soc2")]
    snapshot, problems = translated(plan(service(kind([target("a")]), *lawful)))
    assert problems == ()
    assert list(snapshot.resources[CLUSTER]) == list(snapshot.resources[ENDPOINTS]) == ["api"]
    assert snapshot.dormant == {"api~gdpr", "api~hipaa", "api~soc2"}


def test_hosts_become_all_their_addresses_and_unknown_ones_are_named() -> None:
    tier = [target("a", "https://a.test"), target("b", "http://b.test:8080")]
    snapshot, problems = translated(plan(service(kind(tier))), {"a.test": ("192.0.2.1", "192.0.2.2")})
    (found,) = endpoints(snapshot, "api")
    hosts = [host["endpoint"] for host in found["lb_endpoints"]]
    assert [host["address"]["socket_address"]["address"] for host in hosts] == ["192.0.2.1", "192.0.2.2"]
    assert {host["hostname"] for host in hosts} == {"a.test"}
    assert {host["health_check_config"]["hostname"] for host in hosts} == {"a.test"}
    unknown = Problem("api/b", "endpoint: no address is known for b.test", carried=True, host="b.test")
    assert problems == (unknown,)


def test_only_what_changed_is_made_again() -> None:
    translator = Translator()
    one, two = kind([target("a")], service="one"), kind([target("a")], service="two")
    hosts = {"one": ("one.test",), "two": ("two.test",)}

    def told(*kinds: Any) -> EdgePlan:
        return plan(*(service(found, hosts=hosts[found.service]) for found in kinds))

    first, _ = translator.snapshot(told(one, two), 1, NOWHERE)
    moved = kind([target("a", standing=Standing.OUT)], service="two")
    second, _ = translator.snapshot(told(kind([target("a")], service="one"), moved), 2, NOWHERE)
    for url in (CLUSTER, LISTENER, ROUTES):
        for name, resource in first.resources[url].items():
            assert second.resources[url][name] is resource
    assert second.resources[ENDPOINTS]["one"] is first.resources[ENDPOINTS]["one"]
    assert second.resources[ENDPOINTS]["two"].version != first.resources[ENDPOINTS]["two"].version


def test_new_addresses_are_taken_over() -> None:
    translator = Translator()
    told = plan(service(kind([target("a", "http://a.test")])))
    first, _ = translator.snapshot(told, 1, {"a.test": ("192.0.2.1",), "z.test": ()})
    second, _ = translator.snapshot(told, 1, {"a.test": ("192.0.2.1",)})
    third, _ = translator.snapshot(told, 1, {"a.test": ("192.0.2.9",)})
    assert second.resources[ENDPOINTS]["api"] is first.resources[ENDPOINTS]["api"]
    assert third.resources[ENDPOINTS]["api"].version != first.resources[ENDPOINTS]["api"].version


def test_what_is_known_of_a_service_stays_when_only_its_neighbour_changes() -> None:
    translator, web = Translator(), service(kind([target("a", "http://b.test")], service="web"))  # api has its host
    found = []
    for url in ("http://a.test", "http://c.test"):
        _, problems = translator.snapshot(plan(service(kind([target("a", url)])), web), 1, NOWHERE)
        found.append(
            (translator.hosts(SPEC.edge_id), [problem.resource for problem in problems if not problem.carried])
        )
    assert [hosts for hosts, _ in found] == [{"a.test", "b.test"}, {"c.test", "b.test"}]
    assert found[0][1] == found[1][1]
    assert "web" in found[1][1]


def test_edges_share_what_is_equal() -> None:
    translator = Translator()
    first, _ = translator.snapshot(plan(service(kind([target("a")]))), 1, NOWHERE)
    other = plan(service(kind([target("a")])), edge=replace(SPEC, edge_id="edge-us"))
    second, _ = translator.snapshot(other, 1, NOWHERE)
    for url, found in first.resources.items():
        for name, resource in found.items():
            assert second.resources[url][name] is resource


def test_what_was_built_before_changes_nothing() -> None:
    """A translator that is new says the same as one that has seen other plans."""
    told = plan(service(kind([target("a"), target("b", standing=Standing.OUT)])))
    old = Translator()
    old.snapshot(plan(service(kind([target("z")], asks=("gdpr",)), kind([target("z")]))), 1, NOWHERE)
    assert old.snapshot(told, 7, NOWHERE) == translated(told)


# --- clusters -----------------------------------------------------------------------------------


def test_clusters_hold_nothing_that_a_failover_changes() -> None:
    up = kind([target("a"), target("b")], [target("c")])
    moved = kind([target("c", weight=9)], [target("b", standing=Standing.OUT)])
    assert cluster(translated(plan(service(up)))[0]) == cluster(translated(plan(service(moved)))[0])


def test_clusters_never_try_dead_regions_nor_keep_removed_ones() -> None:
    found = cluster(translated(plan(service(kind([target("a")]))))[0])
    assert found["common_lb_config"]["healthy_panic_threshold"] == {}  # 0 %
    assert found["ignore_health_on_host_removal"] is True
    assert "lb_subset_config" not in found
    assert found["outlier_detection"]["successful_active_health_check_uneject_host"] is False
    (limits,) = found["circuit_breakers"]["thresholds"]
    assert limits["retry_budget"]["min_retry_concurrency"] == limits["max_requests"]  # all in flight fail at once
    assert found["lrs_server"] == {"self": {}}


def _http2_options(found: dict[str, Any]) -> Any:
    (options,) = found["typed_extension_protocol_options"].values()
    return options["explicit_http_config"].get("http2_protocol_options")


def test_http2_is_spoken_when_all_regions_do() -> None:
    both = [target(name, protocol=UpstreamProtocol.HTTP2) for name in "ab"]
    mixed = [both[0], target("b")]
    pings = _http2_options(cluster(translated(plan(service(kind(both))))[0]))["connection_keepalive"]
    assert pings == {"interval": "0.100s", "timeout": "0.150s"}
    assert _http2_options(cluster(translated(plan(service(kind(mixed))))[0])) is None


@pytest.mark.parametrize(
    ("rtt_ms", "connect", "pong", "check"), [(0, 0.2, 0.15, 0.2), (50, 0.2, 0.15, 0.2), (180, 0.3, 0.35, 0.8)]
)
def test_far_regions_get_more_time(rtt_ms: int, connect: float, pong: float, check: float) -> None:
    tier = [
        target("near", protocol=UpstreamProtocol.HTTP2),
        target("far", protocol=UpstreamProtocol.HTTP2, rtt_ms=rtt_ms),
    ]
    found = cluster(translated(plan(service(kind(tier))))[0])
    assert float(found["connect_timeout"][:-1]) == connect
    assert _http2_options(found)["connection_keepalive"] == {"interval": "0.100s", "timeout": f"{pong:.3f}s"}
    assert float(found["health_checks"][0]["timeout"][:-1]) == check


def test_checks_are_those_of_most_regions_and_others_go_unwatched() -> None:
    ready, tcp = HealthCheck(path="/ready"), HealthCheck(kind=ProbeKind.TCP)
    elsewhere = HealthCheck(url="http://192.0.2.77/healthz")
    tier = [target("a", check=ready), target("b", check=ready), target("c"), target("d", check=tcp)]
    tier.append(target("e", check=elsewhere))
    snapshot, problems = translated(plan(service(kind(tier))))
    assert problems == ()
    (check,) = cluster(snapshot)["health_checks"]
    assert check["http_health_check"]["path"] == "/ready"
    unwatched = [
        each["locality"]["region"]
        for each in endpoints(snapshot, "api")
        if each["lb_endpoints"][0]["endpoint"].get("health_check_config", {}).get("disable_active_health_check")
    ]
    assert unwatched == ["c", "d", "e"]


@pytest.mark.parametrize(
    ("asks", "stated", "interval"),
    [((), 30.0, "0.250s"), ((), 5.0, "5s"), (("gdpr",), 30.0, "1s"), (("gdpr",), 0.5, "1s"), (("gdpr",), 5.0, "5s")],
)
def test_the_pace_of_checks(asks: tuple[str, ...], stated: float, interval: str) -> None:
    told = plan(service(kind([target("a", check=HealthCheck(interval_s=stated))], asks=asks)))
    (check,) = cluster(translated(told)[0], "api~gdpr" if asks else "api")["health_checks"]
    assert (check["interval"], check["no_traffic_interval"]) == (interval, interval)


def test_a_check_that_no_edge_takes_costs_the_service_its_check_alone() -> None:
    bad = HealthCheck(timeout_s=1.0, fall=-1)
    fine = service(kind([target("a")], service="web"), hosts=("web.test",))
    snapshot, problems = translated(plan(service(kind([target("a", check=bad)]), hosts=("api.test",)), fine))
    assert "health_checks" not in cluster(snapshot)
    assert "health_checks" in cluster(snapshot, "web")
    (problem,) = problems
    assert (problem.resource, "unhealthy_threshold" in problem.reason) == ("api", True)


def test_a_class_of_mixed_protocols_is_told_and_said_so() -> None:
    mixed = [target("new", protocol=UpstreamProtocol.HTTP2), target("old")]
    _, (said,) = translated(plan(service(kind(mixed), kind([mixed[0]], asks=("gdpr",)))))
    assert (said.resource, said.carried) == ("api", True)
    assert "as old speak" in said.reason
    assert "; new must" in said.reason


def test_a_translation_that_was_given_up_is_no_part_of_the_next() -> None:
    translator = Translator()

    def told(region: str, *names: str) -> EdgePlan:
        return plan(*(service(kind([target(region)], service=name), hosts=(f"{name}.test",)) for name in names))

    first, _ = translator.snapshot(told("a", "one", "two"), 1, NOWHERE)
    steps = translator.steps(told("b", "one", "two", "three"), 2, NOWHERE)
    assert [next(steps) for _ in range(2)] == [MADE, MADE]
    steps.close()
    last, _ = translator.snapshot(told("a", "one", "two"), 3, NOWHERE)
    assert last.resources == first.resources


def test_a_step_that_makes_nothing_costs_little() -> None:
    translator = Translator()
    translator.snapshot(plan(service(kind([target("a")]))), 1, NOWHERE)
    assert list(translator.steps(plan(service(kind([target("a")]))), 2, NOWHERE)) == [KEPT]
