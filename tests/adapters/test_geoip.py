"""Addresses to places: the reference and real MaxMind DB files, alone and through the router, settings and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.adapters.geoip.mmdb import MmdbGeoIp, place_of
from mahavishnu.integrations.multi_region.core.model import Point
from mahavishnu.integrations.multi_region.errors import InvalidInputError, SettingsError
from mahavishnu.integrations.multi_region.ports.geoip import GeoIp, GeoTable, Place
from mahavishnu.integrations.multi_region.settings import PREFIX, load_settings
from mahavishnu.integrations.multi_region.system import create_multi_region_system
from mahavishnu.integrations.multi_region.testing.builders import region
from tests.adapters.mmdb_writer import write_mmdb

BERLIN, TOKYO = Point(52.5, 13.4), Point(35.7, 139.7)
RECORDS: dict[str, Any] = {
    "203.0.113.0/25": {"country": {"iso_code": "DE"}, "location": {"latitude": 52.5, "longitude": 13.4}},
    "203.0.113.128/25": {"registered_country": {"iso_code": "us"}},
    "198.51.100.0/24": {"traits": {"is_satellite": True}, "names": ["x" * 40]},
    "2001:db8::/32": {"country_code": "JP", "country": "Japan", "latitude": "35.7", "longitude": "139.7"},
}
KNOWN = {
    "203.0.113.9": Place(BERLIN, "DE"),
    "203.0.113.200": Place(None, "US"),
    "2001:db8::1": Place(TOKYO, "JP"),
    "198.51.100.1": Place(),
    "192.0.2.1": Place(),
}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return write_mmdb(tmp_path / "places.mmdb", RECORDS)


@pytest.fixture(params=["file", "table"])
def geoip(request: pytest.FixtureRequest, database: Path) -> GeoIp:
    return MmdbGeoIp(database) if request.param == "file" else GeoTable(KNOWN)


@pytest.mark.parametrize("address", KNOWN)
def test_an_address_is_where_it_is_known_to_be(geoip: GeoIp, address: str) -> None:
    assert geoip.locate(address) == KNOWN[address]


def test_an_ipv6_address_is_nowhere_in_a_database_of_ipv4_addresses(tmp_path: Path) -> None:
    found = MmdbGeoIp(write_mmdb(tmp_path / "v4.mmdb", {"203.0.113.0/24": RECORDS["203.0.113.0/25"]}, ip_version=4))
    assert found.locate("203.0.113.1") == Place(BERLIN, "DE")
    assert found.locate("2001:db8::1") == Place()
    found.close()


@pytest.mark.parametrize(
    "record",
    [
        *(None, 7, "DE", [], {}, {"country": {"iso_code": 7}}, {"country": {"iso_code": "DEU"}}, {"country": []}),
        {"location": {"latitude": 91.0, "longitude": 0.0}},
        {"location": {"latitude": float("nan"), "longitude": 0.0}},
        {"location": {"latitude": 1.0}},
        {"location": {"latitude": True, "longitude": 0.0}},
        {"latitude": "north", "longitude": "0"},
        {"location": "52.5,13.4"},
    ],
)
def test_what_a_record_does_not_state_properly_is_not_known(record: Any) -> None:
    assert place_of(record) == Place()


@pytest.mark.parametrize("content", [None, b"", b"no database at all", b"\xab\xcd\xefMaxMind.com"])
async def test_a_file_that_is_no_database_stops_the_start_and_names_the_setting(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "bad.mmdb"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        await create_multi_region_system(load_settings({f"{PREFIX}GEOIP_DATABASE": str(path)}))
    assert (caught.value.field, caught.value.value) == (f"{PREFIX}GEOIP_DATABASE", str(path))
    assert "a readable MaxMind DB file" in caught.value.allowed


async def test_requests_are_routed_by_their_address(database: Path) -> None:
    system = await create_multi_region_system(load_settings({f"{PREFIX}GEOIP_DATABASE": str(database)}))
    try:
        for name in ("eu-central-1", "ap-northeast-1", "us-east-1"):
            system.region_manager.regions[name] = region(name)
        wanted = {"203.0.113.9": "eu-central-1", "2001:db8::1": "ap-northeast-1", "203.0.113.200": "us-east-1"}
        for address, expected in wanted.items():
            decision = system.router.route({"ip": address})
            assert (decision.selected_region, decision.estimate_ms is None) == (expected, False)
        told = {"user_location": {"latitude": 35.0, "longitude": 139.0}, "ip": "203.0.113.9"}
        assert system.router.route(told).selected_region == "ap-northeast-1"
        assert system.router.route({"ip": "192.0.2.1"}).estimate_ms is None
        with pytest.raises(InvalidInputError) as caught:
            system.router.route({"ip": "203.0.113"})
        assert (caught.value.field, caught.value.allowed) == ("request_context.ip", "an IPv4 or IPv6 address")
    finally:
        await system.close()


async def test_without_a_database_an_address_is_refused_and_the_setting_named() -> None:
    system = await create_multi_region_system(load_settings({}))
    try:
        system.region_manager.regions["eu-west-1"] = region("eu-west-1")
        with pytest.raises(InvalidInputError) as caught:
            system.router.route({"ip": "203.0.113.9"})
        assert f"{PREFIX}GEOIP_DATABASE" in caught.value.allowed
    finally:
        await system.close()
