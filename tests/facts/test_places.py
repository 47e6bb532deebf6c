"""Countries and cities: read as they stand, North America included."""

import pytest

from mahavishnu.integrations.multi_region.core.geo import check_point, distance_km
from mahavishnu.integrations.multi_region.core.model import Point
from mahavishnu.integrations.multi_region.facts.jurisdictions import jurisdictions
from mahavishnu.integrations.multi_region.facts.places import centroids, cities, countries


def test_continents_are_text_and_north_america_is_na() -> None:
    assert countries()["US"].continent == "NA"
    assert {c.continent for c in countries().values()} == {"AF", "AN", "AS", "EU", "NA", "OC", "SA"}


def test_namibia_is_a_country() -> None:
    assert (countries()["NA"].name, countries()["NA"].continent) == ("Namibia", "AF")


def test_a_country_carries_what_the_file_says() -> None:
    germany = countries()["DE"]
    assert (germany.code, germany.name, germany.largest_city) == ("DE", "Germany", "Berlin")
    assert germany.eu
    assert germany.eea
    assert not germany.gdpr_adequacy
    assert germany.population > 80_000_000


def test_codes_are_those_in_use() -> None:
    assert len(countries()) == 250
    assert all(len(code) == 2 and code.isupper() and country.code == code for code, country in countries().items())
    assert not {"AN", "CS", "UK", "EU"} & countries().keys()


def test_a_country_nobody_lives_in_has_no_centroid() -> None:
    assert countries()["AQ"].centroid is None
    assert "AQ" not in centroids()
    assert len(centroids()) == 244


def test_a_centroid_is_where_the_people_are() -> None:
    assert distance_km(centroids()["EG"], Point(30.04, 31.24)) < 200
    assert all(check_point(p.latitude, p.longitude) == p for p in centroids().values())


def test_the_thousand_largest_cities_largest_first() -> None:
    populations = [city.population for city in cities()]
    assert len(populations) == 1000
    assert populations == sorted(populations, reverse=True)
    assert {city.country for city in cities()} <= countries().keys()
    assert cities()[0].name == "Shanghai"
    assert cities()[0].timezone == "Asia/Shanghai"


def test_what_is_handed_out_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        countries()["DE"] = countries()["US"]  # type: ignore[index]  # the point of the test
    with pytest.raises(TypeError):
        centroids()["DE"] = Point(0, 0)  # type: ignore[index]  # the point of the test


def test_the_membership_flags_agree_with_the_dated_lists() -> None:
    assert {c.code for c in countries().values() if c.eu} == jurisdictions().eu
    assert {c.code for c in countries().values() if c.eea} == jurisdictions().eea
    assert {c.code for c in countries().values() if c.gdpr_adequacy} == jurisdictions().adequacy.keys()
