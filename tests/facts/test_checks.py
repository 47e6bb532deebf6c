"""The shipped facts against coordinates that were once published, and against themselves."""

from collections.abc import Mapping

import pytest

from mahavishnu.integrations.multi_region.core.geo import distance_km
from mahavishnu.integrations.multi_region.core.model import CloudProvider, Point, Region
from mahavishnu.integrations.multi_region.core.plausibility import Landmark, region_warnings
from mahavishnu.integrations.multi_region.facts.catalog import CatalogRegion, all_regions, find, region_from_catalog
from mahavishnu.integrations.multi_region.facts.checks import landmarks, measured_from, place_warnings
from mahavishnu.integrations.multi_region.facts.places import cities

HERE = "http://127.0.0.1:9001"

# Region, the wrong place that was published, and which checks find it without the catalog's own place for the region.
PUBLISHED = [
    ("gcp:africa-south1", "ZA", Point(26.2056, 28.0473), {"country"}),
    ("aws:sa-east-1", "BR", Point(-3.45, -68.95), {"country"}),
    ("gcp:southamerica-east1", "BR", Point(-3.45, -68.95), {"country"}),
    ("aws:ca-central-1", "CA", Point(59.8, -111.8), {"country", "light"}),
    ("gcp:us-south1", "US", Point(44.92, -123.31), set()),
    ("gcp:us-east5", "US", Point(41.43, -97.37), set()),
    ("gcp:us-west4", "US", Point(35.6, -105.22), set()),
    ("azure:westus", "US", Point(47.25, -119.82), set()),
    ("aws:ca-central-1", "CA", Point(43.65, -79.38), set()),
    ("azure:germanynorth", "DE", Point(53.07, 8.81), set()),
    ("azure:francecentral", "FR", Point(46.38, 2.37), set()),
    ("aws:us-east-1", "US", Point(37.4, -77.5), set()),
]


def known(region_id: str) -> CatalogRegion:
    region = find(region_id)
    assert region is not None
    return region


def misplaced(region_id: str, country: str, at: Point) -> Region:
    return region_from_catalog(region_id, endpoint=HERE, country=country, latitude=at.latitude, longitude=at.longitude)


@pytest.mark.parametrize(("region_id", "country", "at", "also"), PUBLISHED)
def test_every_wrong_place_that_was_published_is_found(region_id: str, country: str, at: Point, also: set[str]) -> None:
    off_km = distance_km(at, known(region_id).point)
    warnings = place_warnings(misplaced(region_id, country, at))
    by_catalog = [w for w in warnings if "where the catalog has" in w.text]
    assert [w.details["off_km"] for w in by_catalog] == [off_km]
    assert all(region_id in w.text and f"({at.latitude:g}, {at.longitude:g})" in w.text for w in warnings)


@pytest.mark.parametrize(("region_id", "country", "at", "also"), PUBLISHED)
def test_which_of_them_country_and_light_find_alone(region_id: str, country: str, at: Point, also: set[str]) -> None:
    region = misplaced(region_id, country, at)
    by_country = region_warnings(region, landmarks=landmarks())
    by_light = region_warnings(region, landmarks={}, measured=measured_from(known(region_id)))
    assert {name for name, found in (("country", by_country), ("light", by_light)) if found} == also


def test_a_lost_sign_is_guessed() -> None:
    [warning] = region_warnings(misplaced("gcp:africa-south1", "ZA", Point(26.2056, 28.0473)), landmarks=landmarks())
    assert "did you mean (-26.2056, 28.0473)" in warning.text


@pytest.mark.parametrize("region", all_regions(), ids=lambda r: f"{r.provider}:{r.region_id}")
def test_the_catalog_raises_no_alarm(region: CatalogRegion) -> None:
    assert place_warnings(region_from_catalog(f"{region.provider}:{region.region_id}", endpoint=HERE)) == []


@pytest.mark.parametrize("region", all_regions(), ids=lambda r: f"{r.provider}:{r.region_id}")
def test_a_place_across_the_equator_is_found(region: CatalogRegion) -> None:
    lost = misplaced(f"{region.provider}:{region.region_id}", region.country, Point(-region.latitude, region.longitude))
    assert place_warnings(lost)


def test_the_catalog_speaks_only_for_a_provider_that_is_named() -> None:
    mine = Region("us-east-1", latitude=52.5, longitude=13.4, country="DE", endpoint=HERE)
    assert place_warnings(mine) == []
    mine.provider = CloudProvider.AWS
    fields = [w.field for w in place_warnings(mine)]
    assert fields == ["latitude, longitude", "latitude, longitude", "country"]


def test_a_place_that_was_never_given_is_found() -> None:
    [warning] = place_warnings(Region("mine", endpoint=HERE))
    assert "(0, 0)" in warning.text


def without(city: Landmark, places: Mapping[str, tuple[Landmark, ...]]) -> dict[str, tuple[Landmark, ...]]:
    return {**places, city.country: tuple(p for p in places[city.country] if p.name != city.name)}


def test_the_bounds_hardly_ever_alarm_for_a_real_city_that_is_not_on_the_list() -> None:
    alarms = []
    for city in cities():
        mine = Region("mine", latitude=city.point.latitude, longitude=city.point.longitude, country=city.country)
        left = without(Landmark(city.name, city.country, city.point), landmarks())
        alarms += [city.name for _ in region_warnings(mine, landmarks=left)]
    assert len(alarms) <= 36, alarms
