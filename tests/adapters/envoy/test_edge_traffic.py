"""A real Envoy that carries a translated plan: who is served where, what is repeated, what happens when regions go."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.admin import Admin
from mahavishnu.integrations.multi_region.core.model import HealthCheck
from mahavishnu.integrations.multi_region.core.routes import RouteClass
from mahavishnu.integrations.multi_region.core.traffic import Standing, Target

from .edge import static_edge
from .plans import kind, plan, service, target
from .regions import Answer, TestRegion, ask, regions

pytestmark = pytest.mark.slow

REGION, REASON = "x-multi-region-region", "x-multi-region-reason"
UNHURRIED = HealthCheck(interval_s=60.0)
"""For tests in which the edge must learn of a lost region from its requests, not from its checks."""


def at(
    region: TestRegion, weight: int = 1, check: HealthCheck | None = None, standing: Standing = Standing.SERVING
) -> Target:
    return target(region.region_id, region.url, weight=weight, check=check or HealthCheck(), standing=standing)


async def until(port: int, holds: Callable[[Answer], bool], *headers: tuple[str, str]) -> Answer:
    """Ask until an answer is as wanted; the last one when it never is."""
    for _ in range(300):
        answer = await ask(port, headers=headers)
        if holds(answer):
            break
        await asyncio.sleep(0.05)
    return answer


async def test_a_response_names_the_region_and_hides_the_rest(tmp_path: Path) -> None:
    async with regions(["fra"]) as found:
        found["fra"].extra = (f"{REGION}: forged", f"{REASON}: forged", "server: secret", "x-app: kept")
        async with static_edge(plan(service(kind([at(found["fra"])]))), tmp_path) as (port, _):
            answer = await ask(port, "/a/path?x=1")
    assert (answer.status, answer.body) == (200, "fra GET /a/path?x=1\n")
    assert (answer.value(REGION), answer.value(REASON)) == ("fra", None)
    assert (answer.value("server"), answer.value("x-app")) == ("multi-region", "kept")
    assert not [name for name, _ in answer.headers if name.startswith("x-envoy")]


async def test_shares_follow_the_weights(tmp_path: Path) -> None:
    async with regions(["a", "b", "c"]) as found:
        tier = [at(found["a"], 60), at(found["b"], 30), at(found["c"], 10)]
        async with static_edge(plan(service(kind(tier))), tmp_path) as (port, _):
            counts = Counter([(await ask(port)).value(REGION) for _ in range(300)])
    assert 150 <= counts["a"] <= 210
    assert 60 <= counts["b"] <= 120
    assert 10 <= counts["c"] <= 60


async def test_the_next_tier_serves_when_the_first_is_out_or_draining(tmp_path: Path) -> None:
    async with regions(["a", "b", "c"]) as found:
        tiers = [
            [at(found["a"], standing=Standing.OUT), at(found["b"], standing=Standing.DRAINING)],
            [at(found["c"])],
        ]
        async with static_edge(plan(service(kind(*tiers))), tmp_path) as (port, _):
            served = {(await ask(port)).value(REGION) for _ in range(20)}
    assert served == {"c"}


async def test_a_lost_region_is_retried_in_the_next_tier_without_a_failure(tmp_path: Path) -> None:
    async with regions(["near", "far"]) as found:
        tiers = [[at(found["near"], check=UNHURRIED)], [at(found["far"], check=UNHURRIED)]]
        async with static_edge(plan(service(kind(*tiers))), tmp_path) as (port, _):
            before = await ask(port)
            await found["near"].lose()
            after = [await ask(port, method=method) for method in ("GET", "PUT", "DELETE", "HEAD", "POST")]
    assert before.value(REGION) == "near"
    assert [(answer.status, answer.value(REGION)) for answer in after] == [(200, "far")] * 5


@pytest.mark.parametrize(
    ("method", "headers", "keyed", "served"),
    [
        ("GET", (), False, True),
        ("DELETE", (), False, True),
        ("POST", (), False, False),
        ("PATCH", (), False, False),
        ("POST", (("idempotency-key", "k1"),), False, False),
        ("POST", (("idempotency-key", "k1"),), True, True),
        ("POST", (), True, False),
        ("POST", (("x-envoy-retry-on", "reset,5xx"), ("x-envoy-max-retries", "3")), False, False),
    ],
)
async def test_what_a_region_has_begun_is_repeated_only_where_that_is_harmless(
    tmp_path: Path, method: str, headers: tuple[tuple[str, str], ...], keyed: bool, served: bool
) -> None:
    async with regions(["near", "far"]) as found:
        found["near"].cut = True
        tiers = [[at(found["near"], check=UNHURRIED)], [at(found["far"], check=UNHURRIED)]]
        carried = service(kind(*tiers), routes=(RouteClass(retry_keyed=keyed),))
        async with static_edge(plan(carried), tmp_path) as (port, _):
            answer = await ask(port, method=method, headers=headers, body=b"x" if method == "POST" else b"")
    assert len(found["near"].asked) == 1
    assert len(found["far"].asked) == (1 if served else 0)
    assert (answer.status, answer.value(REASON)) == ((200, None) if served else (502, "connection lost"))
    assert served or json.loads(answer.body)["type"].endswith(":connection-lost")


async def test_an_answer_503_of_a_region_is_passed_on_for_what_may_not_be_repeated(tmp_path: Path) -> None:
    async with regions(["near", "far"]) as found:
        found["near"].status = 503
        tiers = [[at(found["near"])], [at(found["far"])]]
        async with static_edge(plan(service(kind(*tiers))), tmp_path) as (port, _):
            posted, got = await ask(port, method="POST"), await ask(port)
    assert (posted.status, posted.value(REGION), posted.value(REASON)) == (503, "near", None)
    assert (got.status, got.value(REGION)) == (200, "far")


async def test_a_silent_region_is_hedged_where_the_route_says_how_long_to_wait(tmp_path: Path) -> None:
    async with regions(["near", "far"]) as found:
        tiers = [[at(found["near"], check=UNHURRIED)], [at(found["far"], check=UNHURRIED)]]
        routes = (RouteClass("/quick", attempt_timeout_s=0.1), RouteClass("/", timeout_s=1.0))
        async with static_edge(plan(service(kind(*tiers), routes=routes)), tmp_path) as (port, _):
            found["near"].silent = True
            quick, slow = await ask(port, "/quick"), await ask(port, "/other")
    assert (quick.status, quick.value(REGION)) == (200, "far")
    assert slow.status == 504


async def test_no_region_in_reach_is_a_refusal_with_its_reason(tmp_path: Path) -> None:
    async with regions(["a", "b"]) as found:
        tier = [at(found["a"]), at(found["b"])]
        async with static_edge(plan(service(kind(tier))), tmp_path) as (port, _):
            for region in found.values():
                await region.lose()
            at_once = await ask(port)
            later = await until(port, lambda answer: answer.value(REGION) is None)
    for answer in (at_once, later):
        assert (answer.status, answer.value(REASON)) == (503, "no healthy region")
        assert answer.value("content-type") == "application/problem+json"
        assert json.loads(answer.body)["status"] == 503
    assert at_once.value(REGION) in ("a", "b")  # it names the last one that was tried
    assert later.value(REGION) is None


async def test_a_region_that_fails_its_check_is_left_out_until_it_passes(tmp_path: Path) -> None:
    quick = HealthCheck(interval_s=0.1, rise=1)
    async with regions(["a", "b"]) as found:
        tiers = [[at(found["a"], check=quick)], [at(found["b"], check=quick)]]
        async with static_edge(plan(service(kind(*tiers))), tmp_path) as (port, _):
            found["a"].healthy = False
            assert (await until(port, lambda answer: answer.value(REGION) == "b")).value(REGION) == "b"
            found["a"].healthy = True
            assert (await until(port, lambda answer: answer.value(REGION) == "a")).value(REGION) == "a"


async def test_one_of_two_failing_regions_always_stays(tmp_path: Path) -> None:
    """What requests meet takes out at most all but one."""
    async with regions(["a", "b"]) as found:
        tier = [at(found["a"]), at(found["b"])]
        async with static_edge(plan(service(kind(tier))), tmp_path) as (port, admin):
            for region in found.values():
                region.status = 503
            for _ in range(40):
                await ask(port, method="POST")
            out = await _ejected(admin)
            served = {(await ask(port, method="POST")).value(REGION) for _ in range(6)}
    assert len(out) == 1
    assert served == {"a", "b"} - out


async def _ejected(admin: Admin) -> set[str]:
    hosts = [host for found in (await admin.clusters())["cluster_statuses"] for host in found.get("host_statuses", ())]
    return {host["locality"]["region"] for host in hosts if host.get("health_status", {}).get("failed_outlier_check")}


async def test_services_are_told_apart_by_host_whatever_the_port(tmp_path: Path) -> None:
    async with regions(["a", "b"]) as found:
        api = service(kind([at(found["a"])]), hosts=("api.test",))
        web = service(kind([at(found["b"])], service="web"), hosts=("*.web.test", "web.test"))
        async with static_edge(plan(api, web), tmp_path) as (port, _):
            answers = [
                await ask_host(port, host) for host in ("api.test", f"API.test:{port}", "x.web.test", "web.test")
            ]
            unknown = await ask_host(port, "other.test")
    assert [answer.value(REGION) for answer in answers] == ["a", "a", "b", "b"]
    assert unknown.status == 404


async def ask_host(port: int, host: str) -> Answer:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    lines = [line.partition(":") for line in head.split("\r\n")[1:]]
    return Answer(int(head.split(" ")[1]), tuple((key.lower(), value.strip()) for key, _, value in lines), body)
