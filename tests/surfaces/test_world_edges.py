"""Edges, routes and protocols in a world file: what they become, and that each mistake is named with its line."""

from __future__ import annotations

import pytest

from mahavishnu.integrations.multi_region.core.edges import ClientPlace, EdgeSpec, Network
from mahavishnu.integrations.multi_region.core.model import Point, UpstreamProtocol
from mahavishnu.integrations.multi_region.core.routes import RouteClass
from mahavishnu.integrations.multi_region.errors import WorldFileError
from mahavishnu.integrations.multi_region.surfaces.world.load import load_world, world_from_json

ONE = "regions:\n  - id: eu-west-1\n    endpoint: http://127.0.0.1:9001\n"
SERVICE = ONE + "services:\n  - name: api\n"
EDGE = ONE + "edges:\n  - id: edge-eu\n    region: eu-west-1\n"
CIDR = EDGE + "    client_place: cidr\n    networks:\n"
OFFICE = "      - {name: office, cidrs: [192.0.2.0/24], latitude: 1, longitude: 2}\n"


def test_every_key_of_an_edge_arrives() -> None:
    world = load_world(
        ONE
        + """edges:
  - id: edge-us
    latitude: 38.9
    longitude: -77.4
    country: US
    listen: "[::1]:443"
    client_place: CIDR
    trusted_hops: 2
    networks:
      - {name: office, cidrs: [192.0.2.0/24, "2001:DB8::/32"], latitude: 52.5, longitude: 13.4, country: DE}
      - {name: branch, cidrs: [198.51.100.7], latitude: 1, longitude: 2}
""",
        "world.yaml",
    )
    assert world.edges == (
        EdgeSpec(
            "edge-us",
            Point(38.9, -77.4),
            "[::1]:443",
            "US",
            ClientPlace.CIDR,
            (
                Network("office", ("192.0.2.0/24", "2001:db8::/32"), Point(52.5, 13.4), "DE"),
                Network("branch", ("198.51.100.7/32",), Point(1, 2)),
            ),
            2,
        ),
    )


def test_an_edge_stands_at_the_place_of_its_region() -> None:
    world = load_world(EDGE, "world.yaml")
    region = world.regions[0]
    assert world.edges == (EdgeSpec("edge-eu", Point(region.latitude, region.longitude), country="IE"),)
    assert load_world(EDGE + "    country: GB\n", "world.yaml").edges[0].country == "GB"


def test_routes_and_protocol_arrive() -> None:
    world = load_world(
        """regions:
  - {id: eu-west-1, endpoint: "http://a", protocol: HTTP2}
  - {id: us-east-1, endpoint: "http://b"}
services:
  - name: api
    routes:
      - {prefix: /stream/, timeout: 0s}
      - {timeout: 2s, attempt_timeout: 500ms, retry_keyed: yes, retries: 0}
  - name: web
""",
        "world.yaml",
    )
    assert [region.protocol for region in world.regions] == [UpstreamProtocol.HTTP2, UpstreamProtocol.HTTP1]
    assert [service.routes for service in world.services] == [
        (RouteClass("/stream/", 0), RouteClass("/", 2, 0.5, True, 0)),
        (),
    ]


def test_a_region_of_the_same_request_is_where_an_edge_may_stand() -> None:
    data = {
        "regions": [{"id": "rack", "endpoint": "http://a", "latitude": 1, "longitude": 2}],
        "edges": [{"id": "e", "region": "rack"}],
    }
    assert world_from_json(data).edges[0].point == Point(1, 2)


BAD: list[tuple[str, str, list[tuple[int, str, str]]]] = [
    ("an edge without a place", ONE + "edges:\n  - id: e\n", [(5, "edges.e.region", "or latitude and longitude")]),
    ("half a place", ONE + "edges:\n  - {id: e, latitude: 1}\n", [(5, "edges.e.longitude", "because latitude is")]),
    ("two places", EDGE + "    latitude: 1\n", [(7, "edges.edge-eu.latitude", "region says where the edge stands")]),
    (
        "no such region",
        ONE + "edges:\n  - id: e\n    region: eu-wst-1\n",
        [(6, "edges.e.region", "did you mean 'eu-west-1'?")],
    ),
    ("an edge without an id", ONE + "edges:\n  - region: eu-west-1\n", [(5, "edges[0].id", "needed here")]),
    (
        "an edge twice",
        EDGE + "  - id: edge-eu\n    region: eu-west-1\n    listen: 127.0.0.1:2\n",
        [(7, "edges.edge-eu.id", "no other of the edges has (first on line 5)")],
    ),
    ("a key of no edge", EDGE + "    lisen: 1\n", [(7, "edges.edge-eu.lisen", "did you mean 'listen'?")]),
    ("no address", EDGE + "    listen: localhost:80\n", [(7, "edges.edge-eu.listen", "such as 127.0.0.1:10000")]),
    ("no port", EDGE + "    listen: 127.0.0.1:0\n", [(7, "edges.edge-eu.listen", "'127.0.0.1:0' ADDRESS:PORT")]),
    (
        "one address for two",
        EDGE + "    listen: 127.0.0.1:80\n  - id: f\n    region: eu-west-1\n    listen: 127.0.0.1:80\n",
        [(10, "edges.f.listen", "no other edge listens on (first on line 7)")],
    ),
    (
        "one default for two",
        EDGE + "  - id: f\n    region: eu-west-1\n",
        [(7, "edges.f.listen", "'127.0.0.1:10000' an address that no other edge listens on (first on line 5)")],
    ),
    ("place of clients", EDGE + "    client_place: ip\n", [(7, "edges.edge-eu.client_place", "one of: cidr, edge")]),
    ("hops", EDGE + "    trusted_hops: many\n", [(7, "edges.edge-eu.trusted_hops", "from 0 to 100")]),
    ("no networks", EDGE + "    client_place: cidr\n", [(5, "edges.edge-eu.networks", "because client_place is cidr")]),
    (
        "networks for nothing",
        EDGE + "    networks:\n" + OFFICE,
        [(5, "edges.edge-eu.client_place", "'edge' cidr, because networks are given")],
    ),
    (
        "a network twice",
        CIDR + OFFICE + OFFICE.replace("192.0.2.0", "198.51.100.0"),
        [(10, "edges.edge-eu.networks.office.name", "no other network of the edge has")],
    ),
    (
        "a block twice",
        CIDR + OFFICE + OFFICE.replace("office", "branch"),
        [(10, "edges.edge-eu.networks.branch.cidrs[0]", "no address of network office in it")],
    ),
    (
        "bits left",
        CIDR + OFFICE.replace("192.0.2.0", "192.0.2.1"),
        [(9, "edges.edge-eu.networks.office.cidrs[0]", "did you mean '192.0.2.0/24'?")],
    ),
    (
        "no block",
        CIDR + OFFICE.replace("[192.0.2.0/24]", "[]"),
        [(9, "edges.edge-eu.networks.office.cidrs", "at least one block")],
    ),
    (
        "a network nowhere",
        CIDR + OFFICE.replace("latitude: 1, ", ""),
        [(9, "edges.edge-eu.networks.office.latitude", "needed here")],
    ),
    (
        "a host of two",
        SERVICE + "    hosts: [a.test]\n  - name: web\n    hosts:\n      - b.test\n      - A.test\n",
        [(10, "services.web.hosts[1]", "'A.test' a host that no other service claims (first on line 6)")],
    ),
    ("protocol", ONE + "    protocol: h3\n", [(4, "regions.eu-west-1.protocol", "one of: http1, http2")]),
    ("prefix", SERVICE + "    routes:\n      - prefix: api\n", [(7, "services.api.routes[0].prefix", "begins with /")]),
    (
        "a route that is hidden",
        SERVICE + "    routes:\n      - prefix: /\n      - prefix: /api\n",
        [(8, "services.api.routes[1].prefix", "put the longer one before it")],
    ),
    (
        "an attempt as long as all",
        SERVICE + "    routes:\n      - timeout: 1s\n        attempt_timeout: 1s\n",
        [(8, "services.api.routes[0].attempt_timeout", "less than 1s")],
    ),
    ("retries", SERVICE + "    routes:\n      - retries: 1.5\n", [(7, "services.api.routes[0].retries", "0 to 10")]),
    (
        "no time",
        SERVICE + "    routes:\n      - timeout: soon\n",
        [(7, "services.api.routes[0].timeout", "a duration")],
    ),
    ("a route's key", SERVICE + "    routes:\n      - path: /\n", [(7, "services.api.routes[0].path", "one of:")]),
]


@pytest.mark.parametrize(("text", "expected"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_problem_is_named_with_its_line(text: str, expected: list[tuple[int, str, str]]) -> None:
    with pytest.raises(WorldFileError) as caught:
        load_world(text, "world.yaml")
    found = [(p.line, p.field, f"{p.value!r} {p.allowed}") for p in caught.value.problems]
    assert [(line, field) for line, field, _ in found] == [(line, field) for line, field, _ in expected]
    for (_, _, says), (_, _, phrase) in zip(found, expected, strict=True):
        assert phrase in says


def test_edges_that_take_all_addresses_of_their_machines_may_share_a_port() -> None:
    text = EDGE + '    listen: "0.0.0.0:443"\n  - {id: f, region: eu-west-1, listen: "0.0.0.0:443"}\n'
    assert [edge.listen for edge in load_world(text, "w").edges] == ["0.0.0.0:443", "0.0.0.0:443"]
