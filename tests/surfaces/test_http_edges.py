"""`/v1/edges`: edges are declared, changed and removed, and shown with what they have told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from mahavishnu.integrations.multi_region.adapters.stores.sqlite import SqliteStore
from mahavishnu.integrations.multi_region.core.model import UpstreamProtocol
from mahavishnu.integrations.multi_region.core.routes import RouteClass
from mahavishnu.integrations.multi_region.ports.dataplane import EdgeState, Load, LoadReport, MemoryDataPlane
from mahavishnu.integrations.multi_region.surfaces.http.auth import Role
from mahavishnu.integrations.multi_region.surfaces.http.server import create_app
from tests.surfaces.http_served import TOKENS, bearer, in_process, own_server, region, running_system, world

EDGE: dict[str, Any] = {
    "region": "eu-west-1",
    "listen": "0.0.0.0:10000",
    "client_place": "cidr",
    "networks": [{"name": "office", "cidrs": ["192.0.2.0/24"], "latitude": 52.5, "longitude": 13.4, "country": "DE"}],
    "trusted_hops": 1,
}
UNTOLD = (
    *("acknowledged", "current", "synced", "lagging", "rejections", "rates", "in_flight", "astray", "version"),
    "read_back_age_s",
)


class LeftPlane(MemoryDataPlane):
    """Edges that may leave and be remembered."""

    def __init__(self) -> None:
        super().__init__()
        self.left: set[str] = set()

    def states(self) -> Mapping[str, EdgeState]:
        return {name: replace(state, connected=name not in self.left) for name, state in super().states().items()}


@asynccontextmanager
async def steered_server() -> AsyncIterator[tuple[httpx.AsyncClient, LeftPlane]]:
    """A server whose edges are objects in this process, and a client of it that may do anything."""
    plane = LeftPlane()
    async with (
        running_system(plane=plane) as system,
        in_process(create_app(system, tokens=TOKENS), Role.ADMIN) as client,
    ):
        yield client, plane


def report(edge_id: str, **requests: int) -> LoadReport:
    """What an edge saw in two seconds: requests by region, one of each in flight."""
    loads = tuple(Load("api", "api", name.replace("_", "-"), n, 0, 1, n) for name, n in requests.items())
    return LoadReport(edge_id, 2.0, loads)


async def connected(client: httpx.AsyncClient) -> dict[str, Any]:
    """The edges by id, once each has been told of."""
    async with asyncio.timeout(30):
        while True:
            found = {edge["edge_id"]: edge for edge in (await client.get("/v1/edges")).json()}
            if all(edge["connected"] for edge in found.values()):
                return found
            await asyncio.sleep(0.01)


# --- declaring --------------------------------------------------------------------------------


async def test_an_edge_is_put_read_changed_and_removed() -> None:
    async with own_server() as (client, _):
        await client.post("/regions", json=region("eu-west-1"))
        put = await client.put("/v1/edges/edge-eu", json=EDGE)
        one, all_ = await client.get("/v1/edges/edge-eu"), await client.get("/v1/edges")
        changed = await client.put("/v1/edges/edge-eu", json={"latitude": 1, "longitude": 2, "country": "DE"})
        gone, missing = await client.delete("/v1/edges/edge-eu"), await client.get("/v1/edges/edge-eu")
        again = await client.delete("/v1/edges/edge-eu")
        none = await client.get("/v1/edges")
    spec = put.json()["spec"]
    assert (put.status_code, spec["country"], spec["listen"]) == (200, "IE", "0.0.0.0:10000")
    assert (spec["client_place"], spec["trusted_hops"]) == ("cidr", 1)
    assert [(network["name"], network["cidrs"]) for network in spec["networks"]] == [("office", ["192.0.2.0/24"])]
    assert all_.json() == [one.json()] == [put.json()]
    assert changed.json()["spec"]["point"] == {"latitude": 1, "longitude": 2}
    assert (changed.json()["spec"]["client_place"], changed.json()["spec"]["networks"]) == ("edge", [])
    assert (gone.status_code, missing.status_code, again.status_code, none.json()) == (204, 404, 404, [])


async def test_an_edge_stands_where_its_region_does() -> None:
    async with own_server() as (client, app):
        await client.post("/regions", json=region("eu-west-1"))
        await client.put("/v1/edges/edge-eu", json=EDGE)
        manager = app.state.system.region_manager
        here, there = manager.edges["edge-eu"].point, manager.regions["eu-west-1"]
    assert (here.latitude, here.longitude) == (there.latitude, there.longitude)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"region": "eu-wst-1"}, "region_id"),
        ({"region": None}, "region"),
        ({"region": None, "latitude": 1}, "longitude"),
        ({"longitude": 1}, "longitude"),
        ({"listen": "localhost:80"}, "listen"),
        ({"listen": "127.0.0.1:10001"}, "edges.new.listen"),
        ({"edge_id": "other"}, "edge_id"),
        ({"trusted_hops": -1}, "trusted_hops"),
        ({"networks": []}, "networks"),
        ({"client_place": "edge"}, "client_place"),
        ({"client_place": "moon"}, "client_place"),
        ({"networks": [{"name": "n", "cidrs": ["10.0.0.1/8"], "latitude": 1, "longitude": 1}]}, "networks.0.cidrs.0"),
        ({"networks": 2 * [{"name": "n", "cidrs": ["10.0.0.0/8"], "latitude": 1, "longitude": 1}]}, "networks.1.name"),
        ({"areas": []}, "areas"),
    ],
)
async def test_a_refused_edge_changes_nothing(change: dict[str, Any], field: str) -> None:
    async with own_server() as (client, app):
        await client.post("/regions", json=region("eu-west-1"))
        await client.put("/v1/edges/other", json={"region": "eu-west-1", "listen": "127.0.0.1:10001"})
        answer = await client.put("/v1/edges/new", json={**EDGE, **change})
        assert list(app.state.system.region_manager.edges) == ["other"]
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["errors"][0]["field"].endswith(field)


async def test_only_an_admin_declares_and_removes_edges() -> None:
    async with own_server(None) as (client, _):
        for role, status in ((None, 401), (Role.VIEWER, 403), (Role.OPERATOR, 403)):
            headers = {} if role is None else bearer(role)
            put = await client.put("/v1/edges/e", json={"latitude": 1, "longitude": 1}, headers=headers)
            gone = await client.delete("/v1/edges/e", headers=headers)
            assert (put.status_code, gone.status_code) == (status, status)
        assert (await client.get("/v1/edges")).json() == []


async def test_the_log_says_who_declared_and_removed_an_edge() -> None:
    async with own_server() as (client, _):
        await client.post("/regions", json=region("eu-west-1"))
        await client.put("/v1/edges/edge-eu", json=EDGE)
        await client.put("/v1/edges/edge-eu", json={**EDGE, "trusted_hops": 2})
        await client.put("/v1/edges/edge-eu", json={**EDGE, "trusted_hops": 2})
        await client.delete("/v1/edges/edge-eu")
        events = (await client.get("/v1/events")).json()["events"]
    said = [(e["kind"], e["subject"], e["actor"], e["reason"]) for e in events if e["kind"].startswith("edge.")]
    assert said == [
        ("edge.declared", "edge-eu", "admin", ""),
        ("edge.declared", "edge-eu", "admin", "changed: trusted_hops"),
        ("edge.removed", "edge-eu", "admin", ""),
    ]


async def test_a_world_brings_edges_and_takes_away_those_that_it_does_not_name() -> None:
    wanted = world("eu-west-1", edges=[{"id": "a", "region": "eu-west-1"}])
    async with own_server() as (client, app):
        said = (await client.post("/v1/apply?dry_run=true", json=wanted)).json()["changes"]
        assert not app.state.system.region_manager.edges
        await client.post("/v1/apply", json=wanted)
        again = (await client.post("/v1/apply", json=wanted)).json()["changes"]
        moved = {**wanted, "edges": [{"id": "a", "region": "eu-west-1", "listen": "127.0.0.1:1"}]}
        changed = (await client.post("/v1/apply", json=moved)).json()["changes"]
        bare = (await client.post("/v1/apply", json=world("eu-west-1"))).json()["changes"]
        bad = await client.post("/v1/apply", json=world("eu-west-1", edges=[{"id": "a", "region": "none"}]))
        assert not app.state.system.region_manager.edges
    assert ("edges/a", "add") in [(change["key"], change["kind"]) for change in said]
    assert again == []
    assert [(c["key"], c["kind"], c["fields"]) for c in changed] == [("edges/a", "update", ["listen"])]
    assert [(c["key"], c["kind"]) for c in bare] == [("edges/a", "remove")]
    assert (bad.status_code, bad.json()["errors"][0]["field"]) == (422, "edges.a.region")


async def test_edges_are_there_again_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    async with running_system(store=await SqliteStore.open(file)) as system:
        async with in_process(create_app(system, tokens=TOKENS), Role.ADMIN) as client:
            await client.post("/regions", json=region("eu-west-1", protocol="http2"))
            await client.put("/v1/edges/edge-eu", json=EDGE)
            await client.put("/v1/services/api", json={"routes": [{"timeout_s": 1}]})
        declared = dict(system.region_manager.edges)
    async with running_system(store=await SqliteStore.open(file)) as system:
        manager = system.region_manager
        assert (dict(manager.edges), len(declared)) == (declared, 1)
        assert manager.snapshot().regions["eu-west-1"].protocol is UpstreamProtocol.HTTP2
        assert manager.snapshot().services["api"].routes == (RouteClass(timeout_s=1),)


async def test_a_store_written_before_edges_existed_loads_and_the_same_world_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    wanted = world("eu-west-1", services=[{"name": "api"}])
    async with running_system(store=await SqliteStore.open(file)) as system:
        async with in_process(create_app(system, tokens=TOKENS), Role.ADMIN) as client:
            await client.post("/v1/apply", json=wanted)
        documents = system.region_manager.registry.documents
        old = {key: dict(documents[key]) for key in ("regions/eu-west-1", "services/api")}
        del old["regions/eu-west-1"]["protocol"], old["services/api"]["routes"]
        await system.region_manager.store.commit({key: json.dumps(document) for key, document in old.items()})
    async with running_system(store=await SqliteStore.open(file)) as system:
        assert "protocol" not in system.region_manager.registry.documents["regions/eu-west-1"]
        assert system.region_manager.snapshot().regions["eu-west-1"].protocol is UpstreamProtocol.HTTP1
        async with in_process(create_app(system, tokens=TOKENS), Role.ADMIN) as client:
            again = (await client.post("/v1/apply", json=wanted)).json()["changes"]
            wanted["regions"][0]["protocol"] = "http2"
            changed = (await client.post("/v1/apply", json=wanted)).json()["changes"]
    assert again == []
    assert [(c["key"], c["fields"], c["before"]["protocol"]) for c in changed] == [
        ("regions/eu-west-1", ["protocol"], "http1")
    ]


# --- routes and protocols ---------------------------------------------------------------------


async def test_a_service_says_how_its_requests_are_carried() -> None:
    routes = [
        {"prefix": "/a/", "timeout_s": 0, "attempt_timeout_s": None, "retry_keyed": False, "retries": 0},
        {"prefix": "/", "timeout_s": 2.5, "attempt_timeout_s": 0.5, "retry_keyed": True, "retries": 1},
    ]
    async with own_server() as (client, _):
        await client.post("/regions", json=region("eu-west-1"))
        put = await client.put("/v1/services/api", json={"routes": routes})
        bare = await client.put("/v1/services/web", json={})
        hidden = await client.put("/v1/services/api", json={"routes": [{}, {"prefix": "/a"}]})
        long = await client.put("/v1/services/api", json={"routes": [{"timeout_s": 1, "attempt_timeout_s": 1}]})
        one = await client.get("/v1/services/api")
    assert one.json()["routes"] == routes == put.json()["routes"]
    assert bare.json()["routes"] == []
    assert (hidden.status_code, hidden.json()["errors"][0]["field"]) == (422, "services.api.routes.1.prefix")
    assert (long.status_code, long.json()["errors"][0]["field"]) == (422, "services.api.routes.0.attempt_timeout_s")


async def test_a_host_that_another_service_has_is_refused() -> None:
    async with own_server() as (client, _):
        await client.put("/v1/services/api", json={"hosts": ["api.test", "x.test"]})
        taken = await client.put("/v1/services/web", json={"hosts": ["X.test"]})
        same = await client.put("/v1/services/api", json={"hosts": ["x.test"]})
    assert (taken.status_code, taken.json()["errors"][0]["field"]) == (422, "services.web.hosts")
    assert "service api" in taken.json()["detail"]
    assert same.status_code == 200


async def test_a_region_says_what_it_speaks() -> None:
    async with own_server() as (client, app):
        made = await client.post("/regions", json=region("eu-west-1"))
        put = await client.put("/v1/regions/eu-west-1", json=region("eu-west-1", protocol="http2"))
        wrong = await client.put("/v1/regions/eu-west-1", json=region("eu-west-1", protocol="http3"))
        view = app.state.system.region_manager.snapshot().regions["eu-west-1"]
    assert (made.json()["protocol"], put.json()["protocol"]) == ("http1", "http2")
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "protocol")
    assert view.protocol is UpstreamProtocol.HTTP2


# --- what edges have told ---------------------------------------------------------------------


async def test_without_steering_nothing_is_known_of_an_edge_but_its_declaration() -> None:
    async with own_server() as (client, _):
        await client.put("/v1/edges/e", json={"latitude": 1, "longitude": 2})
        (found,) = (await client.get("/v1/edges")).json()
        status = (await client.get("/v1/status")).json()
    assert found["connected"] is False
    assert {found[name] for name in UNTOLD} == {None}
    assert status["traffic"] == {}


async def test_an_edge_that_took_over_the_plan_is_in_step_and_one_that_did_not_lags() -> None:
    async with steered_server() as (client, plane):
        plane.holding.add("slow")
        await client.post("/v1/apply", json=world("eu-west-1", "us-east-1", edges=EDGES))
        found = await connected(client)
    assert [found[name]["connected"] for name in ("quick", "slow")] == [True, True]
    assert [found[name]["synced"] for name in ("quick", "slow")] == [True, False]
    assert [found[name]["lagging"] for name in ("quick", "slow")] == [False, True]
    assert found["slow"]["acknowledged"] is None
    assert found["quick"]["acknowledged"] == found["quick"]["current"] == found["slow"]["current"]


async def test_requests_are_shown_by_edge_in_the_status_and_in_the_figures() -> None:
    async with steered_server() as (client, plane):
        await client.post("/v1/apply", json=world("eu-west-1", "us-east-1", edges=EDGES))
        await connected(client)
        plane.tell(report("quick", eu_west_1=20, us_east_1=10))
        plane.tell(report("slow", eu_west_1=4))
        quick = (await client.get("/v1/edges/quick")).json()
        status = (await client.get("/v1/status")).json()
        figures = (await client.get("/metrics")).text
        plane.left.add("quick")
        later = (await client.get("/v1/status")).json()
        gone = (await client.get("/v1/edges/quick")).json()
        figures_later = (await client.get("/metrics")).text
    assert quick["rates"] == {"eu-west-1": 10.0, "us-east-1": 5.0}
    assert quick["in_flight"] == {"eu-west-1": 1, "us-east-1": 1}
    assert status["traffic"] == {"eu-west-1": 12.0, "us-east-1": 5.0}
    assert later["traffic"] == {"eu-west-1": 2.0}
    assert (gone["connected"], gone["synced"], gone["lagging"]) == (False, False, False)
    assert 'multi_region_edge_requests_per_second{edge="quick",region="eu-west-1"} 10.0' in figures
    assert 'multi_region_edge_requests_per_second{edge="quick"' not in figures_later
    assert 'multi_region_edge_requests_per_second{edge="slow",region="eu-west-1"} 2.0' in figures_later
    assert 'multi_region_edge_connected{edge="slow"} 1.0' in figures
    assert 'multi_region_edge_serving{edge="quick"} 1.0' in figures
    assert 'multi_region_edge_serving{edge="quick"}' not in figures_later


EDGES = [
    {"id": "quick", "region": "eu-west-1"},
    {"id": "slow", "region": "us-east-1", "listen": "127.0.0.1:10001"},
]


# --- failing over where edges carry traffic ---------------------------------------------------


async def test_a_failover_tells_which_edges_have_it_and_when_each_thing_was() -> None:
    async with steered_server() as (client, plane):
        edges = [{"id": name, **EDGE} for name in ("quick", "slow")]
        (await client.post("/v1/apply", json={**world("eu-west-1", "us-east-1"), "edges": edges})).raise_for_status()
        await connected(client)
        plane.holding = {"slow"}
        asked = {"from_region": "eu-west-1", "reason": "works"}
        planned = (await client.post("/v1/failover", json={**asked, "dry_run": True})).json()
        moved = (await client.post("/v1/failover", json=asked)).json()
    assert (moved["acknowledged_by"], moved["lagging"], moved["acknowledged_at"]) == (["quick"], ["slow"], None)
    assert moved["first_signal_at"] <= moved["verdict_at"] <= moved["planned_at"] <= moved["completed_at"]
    assert (planned["acknowledged_by"], planned["lagging"], planned["verdict_at"]) == (None, None, None)
