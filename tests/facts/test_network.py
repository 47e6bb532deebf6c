"""Zones of countries, places and regions; the shipped model; round trips between regions."""

import json
from importlib.resources import files

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.geo import distance_km
from mahavishnu.integrations.multi_region.core.latency import CELLS, cell_centre, cell_of
from mahavishnu.integrations.multi_region.core.model import AdminState, CloudProvider, Phase, Point, RegionView
from mahavishnu.integrations.multi_region.facts.catalog import all_regions, find
from mahavishnu.integrations.multi_region.facts.network import (
    latency_model,
    region_rtt_ms,
    zone_of_cell,
    zone_of_client,
    zone_of_country,
    zone_of_region,
)
from mahavishnu.integrations.multi_region.facts.places import cities, countries


def view(region_id: str, provider: CloudProvider, at: Point, country: str | None = None) -> RegionView:
    return RegionView(
        region_id=region_id,
        name="",
        provider=provider,
        point=at,
        country=country,
        endpoint="",
        phase=Phase.HEALTHY,
        health_score=100.0,
        admin=AdminState.ACTIVE,
        load=0.0,
        max_capacity=100.0,
        cost_multiplier=1.0,
        compliance=frozenset(),
    )


def from_catalog(region_id: str, provider: CloudProvider) -> RegionView:
    known = find(region_id, provider)
    assert known is not None
    return view(region_id, provider, known.point, known.country)


def name(zone: int | None) -> str | None:
    return None if zone is None else latency_model().zones[zone]


def test_the_model_is_the_file() -> None:
    raw = json.loads(
        files("mahavishnu.integrations.multi_region.facts").joinpath("data", "zone_extra_ms.json").read_text()
    )
    model = latency_model()
    assert len(model.zones) == 27
    for km, ms in zip(raw["knots_km"], raw["base_ms"], strict=True):
        assert model.estimate_ms(km, 0, 8) == pytest.approx(ms)  # AND to EAS, whose extra is 0
    levant, west = model.zone_index("LEV"), model.zone_index("EUW")
    extra = raw["extra_ms"][levant][west]
    assert model.estimate_ms(3000, levant, west) - model.estimate_ms(3000, 0, 8) == pytest.approx(extra)


def test_the_cuts_are_those_of_the_file() -> None:
    raw = json.loads(
        files("mahavishnu.integrations.multi_region.facts").joinpath("data", "zone_extra_ms.json").read_text()
    )
    assert raw["split"] == {"US,CA": "lon < -104: NAW; -104..-86: NAC; else NAE", "RU": "lon > 60: RUE; else RUW"}


@pytest.mark.parametrize(
    ("country", "longitude", "zone"),
    [
        ("DE", 13.4, "EUW"),
        ("US", -122.4, "NAW"),
        ("US", -104.0, "NAC"),
        ("CA", -97.1, "NAC"),
        ("US", -86.0, "NAE"),
        ("CA", -73.6, "NAE"),
        ("US", 173.0, "NAW"),  # the outer Aleutians
        ("RU", 37.6, "RUW"),
        ("RU", 60.0, "RUW"),
        ("RU", 131.9, "RUE"),
        ("RU", -173.0, "RUE"),  # Chukotka
        ("AQ", 0.0, None),
        ("de", 13.4, None),
        ("", 13.4, None),
        (None, 13.4, None),
    ],
)
def test_zones_of_countries(country: str | None, longitude: float, zone: str | None) -> None:
    assert name(zone_of_country(country, longitude)) == zone


def test_nearly_everyone_lives_in_a_country_with_a_zone() -> None:
    without = [c for c in countries().values() if zone_of_country(c.code, 0.0) is None]
    everyone = sum(c.population for c in countries().values())
    assert sum(c.population for c in without) < 0.004 * everyone


@given(st.floats(-90, 90), st.floats(-180, 180))
def test_a_place_is_in_the_zone_of_the_large_city_nearest_to_its_cells_centre(
    latitude: float, longitude: float
) -> None:
    centre = cell_centre(cell_of(latitude, longitude))
    zoned = [city for city in cities() if zone_of_country(city.country, 0.0) is not None]
    ranked = sorted(zoned, key=lambda city: distance_km(city.point, centre))
    near = [c for c in ranked[:5] if distance_km(c.point, centre) <= distance_km(ranked[0].point, centre) + 1e-6]
    allowed = {zone_of_country(city.country, centre.longitude) for city in near}
    assert zone_of_client(Point(latitude, longitude)) in allowed


@given(
    st.floats(-90, 90) | st.integers(-9, 9).map(lambda n: n * 10.0),
    st.floats(-180, 180) | st.integers(-18, 18).map(lambda n: n * 10.0),
)
def test_a_region_without_a_country_has_the_zone_of_the_city_that_is_nearest_of_all(
    latitude: float, longitude: float
) -> None:
    place = Point(latitude, longitude)
    zoned = [city for city in cities() if zone_of_country(city.country, city.point.longitude) is not None]
    km = {city: distance_km(place, city.point) for city in zoned}
    nearest = {zone_of_country(city.country, longitude) for city in zoned if km[city] <= min(km.values()) + 1e-6}
    assert zone_of_region(place) in nearest


@given(st.floats(-90, 90), st.floats(-180, 180), st.sampled_from([None, "US", "RU", "DE", "AQ"]))
def test_a_zone_is_the_same_all_over_a_cell(latitude: float, longitude: float, country: str | None) -> None:
    centre = cell_centre(cell_of(latitude, longitude))
    assert zone_of_client(Point(latitude, longitude), country) == zone_of_client(centre, country)


def test_the_country_is_believed_before_the_place() -> None:
    goerlitz = Point(51.0, 15.0)  # the cell's nearest large city is Polish
    assert name(zone_of_client(goerlitz, "DE")) == "EUW"
    assert name(zone_of_client(goerlitz, "PL")) == "EUE"


def test_a_country_without_a_zone_leaves_it_to_the_place() -> None:
    pyongyang = Point(39.0, 125.75)
    assert zone_of_client(pyongyang, "KP") == zone_of_client(pyongyang) == latency_model().zone_index("CHN")


@pytest.mark.parametrize("cell", [0, CELLS - 1, 180 * 361, 360])
def test_the_ends_of_the_earth_have_a_zone(cell: int) -> None:
    assert 0 <= zone_of_cell(cell) < 27


def test_a_region_without_a_country_is_in_the_nearest_citys_zone() -> None:
    assert name(zone_of_region(Point(50.1, 8.7))) == "EUW"
    assert name(zone_of_region(Point(50.1, 8.7), "PL")) == "EUE"
    assert name(zone_of_region(Point(37.4, -121.9))) == "NAW"


def test_without_a_country_nearly_every_catalog_region_is_where_its_country_is() -> None:
    regions = all_regions()
    same = [r for r in regions if zone_of_region(r.point) == zone_of_region(r.point, r.country)]
    assert len(same) >= 0.95 * len(regions)


def test_between_regions_of_one_provider_the_measurement_counts() -> None:
    a, b = (from_catalog(region, CloudProvider.AWS) for region in ("eu-central-1", "eu-west-1"))
    from mahavishnu.integrations.multi_region.facts.backbone import measured_rtt_ms

    assert region_rtt_ms(a, b) == measured_rtt_ms(CloudProvider.AWS, "eu-central-1", "eu-west-1")


def test_between_providers_the_model_counts() -> None:
    a, b = from_catalog("eu-central-1", CloudProvider.AWS), from_catalog("northeurope", CloudProvider.AZURE)
    zone = latency_model().zone_index("EUW")
    assert region_rtt_ms(a, b) == latency_model().estimate_ms(distance_km(a.point, b.point), zone, zone)


def test_a_region_that_stands_elsewhere_was_not_measured() -> None:
    frankfurt = from_catalog("eu-central-1", CloudProvider.AWS)
    moved = view("eu-west-1", CloudProvider.AWS, Point(41.4, 2.2), "ES")
    west, south = latency_model().zone_index("EUW"), latency_model().zone_index("EUS")
    km = distance_km(frankfurt.point, moved.point)
    assert region_rtt_ms(frankfurt, moved) == latency_model().estimate_ms(km, west, south)


def test_regions_of_ones_own_are_predicted() -> None:
    a = view("attic", CloudProvider.OTHER, Point(50.1, 8.7), "DE")
    b = view("eu-west-1", CloudProvider.OTHER, Point(53.3, -6.3), "IE")
    west = latency_model().zone_index("EUW")
    assert region_rtt_ms(a, b) == latency_model().estimate_ms(distance_km(a.point, b.point), west, west)


def test_an_id_with_its_providers_prefix_is_measured_too() -> None:
    plain, other = (from_catalog(region, CloudProvider.AWS) for region in ("eu-central-1", "eu-west-1"))
    named = view("aws:eu-central-1", CloudProvider.AWS, plain.point, plain.country)
    assert region_rtt_ms(named, other) == region_rtt_ms(plain, other)


def test_the_middle_of_its_state_is_near_enough_for_a_region() -> None:
    west = from_catalog("us-west-2", CloudProvider.AWS)
    virginia = view("us-east-1", CloudProvider.AWS, Point(37.4, -77.5), "US")
    assert region_rtt_ms(virginia, west) == region_rtt_ms(from_catalog("us-east-1", CloudProvider.AWS), west)
