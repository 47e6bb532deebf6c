"""What edges must be to be declared: each refusal names the field and what is allowed."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.edges import (
    ClientPlace,
    EdgeSpec,
    Network,
    check_edge,
    check_edges,
    parse_cidr,
    parse_listen,
)
from mahavishnu.integrations.multi_region.core.model import Point
from mahavishnu.integrations.multi_region.errors import InvalidInputError

HERE = Point(52.5, 13.4)
OFFICE = Network("office", ("192.0.2.0/24", "2001:db8::/32"), HERE, "DE")
EDGE = EdgeSpec("edge-eu", HERE, country="DE", client_place=ClientPlace.CIDR, networks=(OFFICE,), trusted_hops=1)


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:10000", ("127.0.0.1", 10000)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_an_address_to_listen_on_is_an_address_and_a_port(listen: str, address: tuple[str, int]) -> None:
    assert parse_listen(listen) == address


@pytest.mark.parametrize(
    "listen",
    [
        *("", ":80", "80", "localhost:80", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "::1:80", "[127.0.0.1]:80"),
        *("[::1:80", "[fe80::1%eth0]:80", "127.0.0.1:8x", "127.0.0.1:80\n", "256.0.0.1:80", 80, None),
    ],
)
def test_what_no_proxy_can_listen_on_is_refused(listen: object) -> None:
    with pytest.raises(InvalidInputError, match=r"listen: .*127\.0\.0\.1:10000"):
        parse_listen(listen)


def test_blocks_are_spelled_as_usual_and_a_slip_is_met_with_the_block_that_was_meant() -> None:
    assert parse_cidr("192.0.2.0/24") == "192.0.2.0/24"
    assert parse_cidr("2001:DB8:0::/32") == "2001:db8::/32"
    assert parse_cidr("192.0.2.7") == "192.0.2.7/32"
    with pytest.raises(InvalidInputError, match=r"did you mean '10\.0\.0\.0/8'\?"):
        parse_cidr("10.0.0.1/8")
    for bad in ("ten", "fe80::%eth0/64", "10.0.0.0/33", "", 10):
        with pytest.raises(InvalidInputError, match="a block of addresses"):
            parse_cidr(bad)


def test_an_edge_that_holds_together_is_taken() -> None:
    check_edge(EDGE, {"DE"})
    check_edge(EdgeSpec("e", HERE))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"edge_id": ""}, "edge_id"),
        ({"edge_id": "a b"}, "edge_id"),
        ({"point": Point(91, 0)}, "latitude"),
        ({"listen": "here"}, "listen"),
        ({"country": "UK"}, "country"),
        ({"trusted_hops": -1}, "trusted_hops"),
        ({"trusted_hops": True}, "trusted_hops"),
        ({"networks": ()}, "networks"),
        ({"client_place": ClientPlace.EDGE}, "client_place"),
        ({"client_place": ClientPlace.GEOIP}, "client_place"),
        ({"networks": (replace(OFFICE, name="a,b"),)}, "networks.0.name"),
        ({"networks": (OFFICE, replace(OFFICE, cidrs=("10.0.0.0/8",)))}, "networks.1.name"),
        ({"networks": (replace(OFFICE, cidrs=()),)}, "networks.0.cidrs"),
        ({"networks": (replace(OFFICE, cidrs=("10.0.0.0/8", "10.0.0.1/8")),)}, "networks.0.cidrs.1"),
        ({"networks": (OFFICE, replace(OFFICE, name="other"))}, "networks.1.cidrs.0"),
        ({"networks": (replace(OFFICE, country="XX"),)}, "networks.0.country"),
        ({"networks": (replace(OFFICE, point=Point(0, 181)),)}, "networks.0.longitude"),
    ],
)
def test_an_edge_that_could_not_work_is_refused_at_the_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_edge(replace(EDGE, **change), {"DE", "GB"})
    assert caught.value.field == field


def test_two_edges_listen_on_two_addresses_unless_each_takes_all_of_its_own_machine() -> None:
    def pair(first: str, second: str) -> list[EdgeSpec]:
        return [EdgeSpec("a", HERE, first), EdgeSpec("b", HERE, second)]

    check_edges(pair("127.0.0.1:1", "127.0.0.1:2"))
    check_edges(pair("0.0.0.0:443", "0.0.0.0:443"))
    check_edges(pair("[::]:443", "[::]:443"))
    for first, second in [("127.0.0.1:1", "127.0.0.1:1"), ("[::1]:1", "[0:0::1]:1"), ("10.0.0.1:443", "10.0.0.1:443")]:
        with pytest.raises(InvalidInputError, match=r"edges\.b\.listen.*\(a does\)"):
            check_edges(pair(first, second))


def test_two_edges_have_two_ids() -> None:
    with pytest.raises(InvalidInputError, match="edge_id"):
        check_edges([EdgeSpec("a", HERE, "127.0.0.1:1"), EdgeSpec("a", HERE, "127.0.0.1:2")])


blocks = st.builds(
    lambda bits, length: str(ip_network((bits << 28, length), strict=False)), st.integers(0, 15), st.integers(0, 4)
)


@given(st.lists(st.lists(blocks, min_size=1, max_size=3), min_size=1, max_size=3))
def test_no_client_is_in_two_networks(cidrs: list[list[str]]) -> None:
    networks = [Network(f"n{n}", tuple(own), HERE) for n, own in enumerate(cidrs)]
    shared = any(
        ip_network(one).overlaps(ip_network(other)) for a, b in combinations(cidrs, 2) for one in a for other in b
    )
    edge = replace(EDGE, networks=tuple(networks))
    if shared:
        with pytest.raises(InvalidInputError, match=r"networks\.\d\.cidrs\.\d.*has no address of network n\d"):
            check_edge(edge)
    else:
        check_edge(edge)
