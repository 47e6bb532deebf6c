"""A real Envoy holds requests to the law: by what they ask and where their clients are, whatever else they say."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.parts import EdgeOptions
from mahavishnu.integrations.multi_region.core.edges import ClientPlace, EdgeSpec, Network
from mahavishnu.integrations.multi_region.core.model import Point
from mahavishnu.integrations.multi_region.core.traffic import Area, EdgePlan
from tests.adapters.mmdb_writer import write_mmdb

from .edge import static_edge
from .plans import SPEC, kind, plan, service, target
from .regions import Answer, TestRegion, ask, regions

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

REGION, REASON, ASKS = "x-multi-region-region", "x-multi-region-reason", "x-compliance-requirements"
FIVE = ("ccpa", "fedramp", "gdpr", "hipaa", "soc2")


def lawful(found: dict[str, TestRegion]) -> EdgePlan:
    """All regions for anybody; those of the EU for gdpr; one with hipaa too; one with five frameworks; none."""
    at = {name: target(name, region.url) for name, region in found.items()}
    return plan(
        service(
            kind([at["us"]], [at["fra"]], [at["dub"]]),
            kind([at["fra"]], [at["dub"]], asks=("gdpr",)),
            kind([at["dub"]], asks=("gdpr", "hipaa")),
            kind([at["fra"]], asks=FIVE),
            kind([], asks=("fedramp",), exhausted="no region has it"),
        )
    )


Edge = tuple[int, dict[str, TestRegion]]
"""The port of an edge, and its regions."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    """One edge for all tests that only ask it something."""
    folder = tmp_path_factory.mktemp("edge")
    async with regions(["us", "fra", "dub"]) as found, static_edge(lawful(found), folder) as (port, _):
        yield port, found


@pytest.fixture
def lawful_edge(shared_edge: Edge) -> Edge:
    """That edge, whose regions were asked nothing yet."""
    for region in shared_edge[1].values():
        region.asked.clear()
    return shared_edge


async def stating(port: int, *lines: str) -> Answer:
    return await ask(port, headers=[(ASKS, line) for line in lines])


def refused(answer: Answer) -> bool:
    said = json.loads(answer.body)
    return (answer.status, answer.value(REASON), said["status"]) == (403, "unknown requirement", 403)


async def test_statements_are_understood_whole_or_refused(lawful_edge: Edge) -> None:
    port, found = lawful_edge
    assert (await ask(port)).value(REGION) == "us"
    assert (await stating(port, "gdpr")).value(REGION) == "fra"
    for both in ("gdpr,hipaa", "hipaa, gdpr", "hipaa ,gdpr", " gdpr  ,\thipaa "):
        assert (await stating(port, both)).value(REGION) == "dub", both
    for five in (",".join(FIVE), " , ".join(reversed(FIVE))):
        assert (await stating(port, five)).value(REGION) == "fra", five
    unknown = [
        "none",
        "",
        " ",
        "GDPR",
        "gdpr,none",
        "none,gdpr",
        "gdpr,gdpr",
        "gdpr,",
        "gdpr hipaa",
        "hipaa",
        "gdprx",
    ]
    unknown += [
        ",".join((*FIVE[:-1], FIVE[0])),
        ",".join((*FIVE, FIVE[0])),
        ",".join((*FIVE, "x")),
        ",".join(FIVE[:-1]),
    ]
    for line in unknown:
        assert refused(await stating(port, line)), line
    assert len(found["us"].asked) == 1


@pytest.mark.parametrize(
    "lines", [("gdpr", "none"), ("none", "gdpr"), ("gdpr", "hipaa"), ("gdpr", "gdpr"), ("", "gdpr")]
)
async def test_statements_in_two_lines_are_refused(lawful_edge: Edge, lines: tuple[str, str]) -> None:
    port, found = lawful_edge
    assert refused(await stating(port, *lines))
    assert refused(await stating(port, *lines, *lines))
    assert not any(region.asked for region in found.values())


async def test_the_edge_s_own_note_of_a_statement_cannot_be_forged(lawful_edge: Edge) -> None:
    noted = ("x-multi-region-asked", "gdpr")
    port, found = lawful_edge
    assert refused(await ask(port, headers=[(ASKS, "none"), noted]))
    assert (await ask(port, headers=[noted])).value(REGION) == "us"
    assert (await ask(port, headers=[(ASKS, "hipaa,gdpr"), noted])).value(REGION) == "dub"
    assert not any(asked.values(noted[0]) for region in found.values() for asked in region.asked)


async def test_regions_are_told_what_was_asked(lawful_edge: Edge) -> None:
    port, found = lawful_edge
    await ask(port, headers=[(ASKS, "hipaa, gdpr"), (ASKS.replace("-", "_"), "none")])
    (asked,) = found["dub"].asked
    assert asked.values(ASKS) == ["hipaa, gdpr"]
    assert not asked.values(ASKS.replace("-", "_"))  # some servers read it as the same header


async def test_a_class_that_nobody_may_serve_is_refused_with_its_reason(lawful_edge: Edge) -> None:
    port, found = lawful_edge
    answer = await stating(port, "fedramp")
    assert (answer.status, answer.value(REASON), answer.value(REGION)) == (503, "policy-bound exhaustion", None)
    assert answer.value("content-type") == "application/problem+json"
    assert not any(region.asked for region in found.values())


async def test_no_region_outside_a_class_is_reached_when_all_inside_are_lost(tmp_path: Path) -> None:
    forged = [
        ("x-envoy-original-dst-host", "127.0.0.1"),
        ("x-envoy-retry-on", "5xx,gateway-error,connect-failure"),
        ("x-envoy-max-retries", "9"),
        ("x-envoy-upstream-alt-stat-name", "api"),
    ]
    async with regions(["us", "fra", "dub"]) as found, static_edge(lawful(found), tmp_path) as (port, _):
        await found["fra"].lose()
        one_left = [await stating(port, "gdpr") for _ in range(10)]
        await found["dub"].lose()
        for method in ("GET", "POST", "PUT") * 20:
            answer = await ask(port, method=method, headers=[(ASKS, "gdpr"), *forged])
            assert (answer.status, answer.value(REASON)) == (503, "no healthy region")
        assert not found["us"].asked
        anybody = await ask(port)
    assert {answer.value(REGION) for answer in one_left} == {"dub"}
    assert (anybody.status, anybody.value(REGION)) == (200, "us")


# --- where clients are --------------------------------------------------------------------------


def placed(found: dict[str, TestRegion], edge: EdgeSpec, *areas: Area) -> EdgePlan:
    """The edge's own place is served by ``us``, each area by ``fra``; gdpr by ``dub``, in areas by ``fra``."""
    at = {name: target(name, region.url) for name, region in found.items()}
    near = [kind([at["fra"]], area=area.name) for area in areas]
    near += [kind([at["fra"]], area=area.name, asks=("gdpr",)) for area in areas]
    return plan(service(*near, kind([at["us"]]), kind([at["dub"]], asks=("gdpr",))), edge=edge, areas=areas)


async def from_address(port: int, address: str, *more: tuple[str, str]) -> str | None:
    return (await ask(port, headers=[("x-forwarded-for", address), *more])).value(REGION)


async def test_clients_are_placed_by_the_database_and_by_nothing_they_say(tmp_path: Path) -> None:
    database = write_mmdb(
        tmp_path / "geo.mmdb",
        {"203.0.113.0/24": {"country": {"iso_code": "DE"}}, "198.51.100.0/24": {"country": {"iso_code": "US"}}},
    )
    edge = replace(SPEC, client_place=ClientPlace.GEOIP, trusted_hops=1)
    options = EdgeOptions(geoip_database=str(database))
    async with regions(["us", "fra", "dub"]) as found:
        area = Area("de", countries=("AT", "DE"))
        async with static_edge(placed(found, edge, area), tmp_path, options=options) as (port, _):
            assert await from_address(port, "203.0.113.9") == "fra"
            assert await from_address(port, "198.51.100.9") == "us"
            assert await from_address(port, "192.0.2.9") == "us"
            for unplaced in ("192.0.2.9", "198.51.100.9"):
                assert await from_address(port, unplaced, ("x-geo-country", "DE")) == "us"
            assert await from_address(port, "203.0.113.9, 198.51.100.9") == "us"  # only the trusted hop's word counts
            assert await from_address(port, "203.0.113.9", (ASKS, "gdpr")) == "fra"
            assert await from_address(port, "192.0.2.9", (ASKS, "gdpr")) == "dub"
            assert await from_address(port, "203.0.113.9", (ASKS, "none")) is None
            two = await ask(port, headers=[("x-forwarded-for", "203.0.113.9"), (ASKS, "gdpr"), (ASKS, "gdpr")])
            assert refused(two)
        told = [asked.values("x-geo-country") for asked in found["us"].asked]
    assert told == [["US"], [], [], ["US"], ["US"]]


async def test_clients_are_placed_by_lists_of_networks(tmp_path: Path) -> None:
    networks = (
        Network("office", ("203.0.113.0/24", "2001:db8::/32"), Point(50.0, 8.0)),
        Network("office-2", ("198.51.100.0/24",), Point(50.0, 8.0)),
    )
    edge = replace(SPEC, client_place=ClientPlace.CIDR, networks=networks, trusted_hops=1)
    async with regions(["us", "fra", "dub"]) as found:
        told = placed(found, edge, Area("by-office", network="office"))
        async with static_edge(told, tmp_path) as (port, _):
            assert await from_address(port, "203.0.113.9") == "fra"
            assert await from_address(port, "2001:db8::1") == "fra"
            assert await from_address(port, "198.51.100.9") == "us"
            assert await from_address(port, "192.0.2.9", ("x-envoy-ip-tags", "<office>")) == "us"
            assert await from_address(port, "203.0.113.9", (ASKS, "gdpr")) == "fra"
            assert await from_address(port, "192.0.2.9", (ASKS, "gdpr")) == "dub"
    assert found["fra"].asked and found["us"].asked


async def test_no_hop_is_trusted_by_default(tmp_path: Path) -> None:
    networks = (Network("office", ("203.0.113.0/24",), Point(50.0, 8.0)),)
    edge = replace(SPEC, client_place=ClientPlace.CIDR, networks=networks)
    async with regions(["us", "fra", "dub"]) as found:
        told = placed(found, edge, Area("by-office", network="office"))
        async with static_edge(told, tmp_path) as (port, _):
            assert await from_address(port, "203.0.113.9") == "us"
