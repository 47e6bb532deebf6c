"""A file and a request that say the same declare the same region and the same edge, or are refused for the same."""

from __future__ import annotations

from typing import Any

import pytest

from mahavishnu.integrations.multi_region.core.edges import EdgeSpec
from mahavishnu.integrations.multi_region.core.model import HealthCheck, ProbeKind, Region
from mahavishnu.integrations.multi_region.errors import InvalidInputError, WorldFileError
from mahavishnu.integrations.multi_region.surfaces.http.bodies import RegionBody, region_of
from mahavishnu.integrations.multi_region.surfaces.http.edge_bodies import EdgeBody
from mahavishnu.integrations.multi_region.surfaces.world.load import world_from_json

DEFAULTS = HealthCheck(path="/ready", fall=7)
WEB = {"endpoint": "http://127.0.0.1:9001"}
RACK = {**WEB, "latitude": 1.5, "longitude": 2.5}

REGIONS: list[tuple[str, dict[str, Any]]] = [
    ("eu-west-1", WEB),
    ("alibaba:us-east-1", WEB),
    ("us-east-1", {**WEB, "provider": "alibaba"}),
    ("eu-west-1", {**RACK, "name": "Rack", "location": "Cellar", "country": "DE", "cost_multiplier": 2.5}),
    ("rack", RACK),
    ("rack", {**RACK, "health_score": 60, "current_capacity": 12.5, "protocol": "http2"}),
    ("rack", {**RACK, "health": {}}),
    ("rack", {**RACK, "health": {"fall": 3, "path": "/up"}}),
    ("rack", {**RACK, "endpoint": "tcp://127.0.0.1:5432"}),
    ("rack", {**RACK, "endpoint": "tcp://127.0.0.1:5432", "health": {"rise": 5}}),
    ("rack", {**RACK, "health": {"url": "tcp://127.0.0.1:5432"}}),
    ("rack", {**RACK, "endpoint": "tcp://127.0.0.1:5432", "health": {"url": "http://127.0.0.1:80"}}),
]
"""Each by its id, in fields that both formats write alike."""

NO_REGIONS: list[tuple[str, dict[str, Any], str]] = [
    ("rack", WEB, "latitude"),
    ("eu-wst-1", WEB, "latitude"),
    ("eu-west-1", {**WEB, "latitude": 1.5}, "longitude"),
    ("eu-west-1", {**WEB, "longitude": 1.5}, "latitude"),
    ("rack", {**RACK, "endpoint": "tcp://127.0.0.1:5432", "health": {"kind": "http"}}, "health.kind"),
    ("rack", {**RACK, "health": {"kind": "http", "url": "tcp://127.0.0.1:5432"}}, "health.kind"),
]

OFFICE = {"name": "office", "cidrs": ["192.0.2.0/24"], "latitude": 1.0, "longitude": 2.0, "country": "FR"}
EDGES: list[dict[str, Any]] = [
    {"region": "eu-west-1"},
    {"region": "eu-west-1", "country": "GB", "listen": "127.0.0.1:10001"},
    {"latitude": 1.5, "longitude": 2.5},
    {"latitude": 0.0, "longitude": 0.0, "country": "GH", "trusted_hops": 2},
    {"region": "eu-west-1", "client_place": "cidr", "networks": [OFFICE]},
]
NO_EDGES: list[tuple[dict[str, Any], str]] = [
    ({}, "region"),
    ({"latitude": 1.5}, "longitude"),
    ({"longitude": 1.5}, "latitude"),
    ({"region": "eu-west-1", "latitude": 1.5}, "latitude"),
    ({"region": "eu-west-1", "latitude": 1.5, "longitude": 2.5}, "latitude"),
]


def of_file(region_id: str, said: dict[str, Any]) -> Region:
    return world_from_json({"regions": [{"id": region_id, **said}]}, DEFAULTS).regions[0]


def of_request(region_id: str, said: dict[str, Any]) -> Region:
    return region_of(RegionBody.model_validate({"region_id": region_id, **said}), DEFAULTS)


def edge_of_file(said: dict[str, Any]) -> EdgeSpec:
    regions = [{"id": "eu-west-1", **WEB}]
    return world_from_json({"regions": regions, "edges": [{"id": "edge", **said}]}, DEFAULTS).edges[0]


def edge_of_request(said: dict[str, Any]) -> EdgeSpec:
    return EdgeBody.model_validate(said).edge("edge", {"eu-west-1": of_request("eu-west-1", WEB)})


@pytest.mark.parametrize(("region_id", "said"), REGIONS)
def test_a_region_is_the_same_from_a_file_and_a_request(region_id: str, said: dict[str, Any]) -> None:
    region = of_file(region_id, said)
    assert region == of_request(region_id, said)
    assert (region.region_id, region.endpoint) == (region_id, said["endpoint"])


@pytest.mark.parametrize(("region_id", "said", "field"), NO_REGIONS)
def test_a_region_is_refused_alike(region_id: str, said: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError) as of_body:
        of_request(region_id, said)
    with pytest.raises(WorldFileError) as of_world:
        of_file(region_id, said)
    (problem,) = of_world.value.problems
    assert (of_body.value.field, problem.field) == (field, f"regions.{region_id}.{field}")
    assert of_body.value.allowed == problem.allowed


def test_what_a_file_or_a_request_leaves_out_comes_from_the_defaults_or_is_guessed() -> None:
    assert of_request("eu-west-1", WEB).health is None
    assert of_request("rack", {**RACK, "health": {"fall": 3}}).health == HealthCheck(path="/ready", fall=3)
    guessed = of_request("rack", {**RACK, "endpoint": "tcp://127.0.0.1:5432"}).health
    assert guessed == HealthCheck(kind=ProbeKind.TCP, path="/ready", fall=7)
    assert of_request("rack", RACK).name == "rack"
    said = {
        "health_score": 60,
        "current_capacity": 12.5,
        "cost_multiplier": 2.5,
        "protocol": "http2",
        "location": "Cellar",
    }
    region = of_request("rack", {**RACK, **said})
    assert {name: getattr(region, name) for name in said} == said
    assert of_request("eu-west-1", WEB).country == "IE"


def test_an_id_that_the_catalog_lacks_is_answered_with_the_nearest_of_its_provider() -> None:
    with pytest.raises(InvalidInputError, match="did you mean 'eu-west-1'"):
        of_request("eu-wst-1", WEB)
    with pytest.raises(InvalidInputError, match="did you mean 'westeurope'"):
        of_request("westeurop", {**WEB, "provider": "azure"})


@pytest.mark.parametrize("said", EDGES)
def test_an_edge_is_the_same_from_a_file_and_a_request(said: dict[str, Any]) -> None:
    assert edge_of_file(said) == edge_of_request(said)


@pytest.mark.parametrize(("said", "field"), NO_EDGES)
def test_an_edge_is_refused_alike(said: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError) as of_body:
        edge_of_request(said)
    with pytest.raises(WorldFileError) as of_world:
        edge_of_file(said)
    problem = of_world.value.problems[0]
    assert (of_body.value.field, problem.field) == (field, f"edges.edge.{field}")
    assert of_body.value.allowed == problem.allowed


def test_a_region_that_an_edge_stands_at_gives_its_place_and_its_country_unless_another_is_said() -> None:
    dublin = of_request("eu-west-1", WEB)
    edge = edge_of_request(EDGES[0])
    assert (edge.point.latitude, edge.point.longitude, edge.country) == (dublin.latitude, dublin.longitude, "IE")
    assert edge_of_request(EDGES[1]).country == "GB"
