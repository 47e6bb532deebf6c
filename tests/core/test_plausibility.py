"""Each check by itself, on facts made up for the purpose. The shipped facts are tried in tests/facts/test_checks.py."""

import pytest

from mahavishnu.integrations.multi_region.core.model import Point, Region
from mahavishnu.integrations.multi_region.core.plausibility import Landmark, MeasuredTo, region_warnings

ROME, MILAN = Landmark("Rome", "IT", Point(41.9, 12.5)), Landmark("Milan", "IT", Point(45.46, 9.19))
TUNIS, VIENNA = Landmark("Tunis", "TN", Point(36.8, 10.18)), Landmark("Vienna", "AT", Point(48.2, 16.37))
AJACCIO = Landmark("Ajaccio", "FR", Point(41.92, 8.74))
LANDMARKS = {"IT": (ROME, MILAN), "TN": (TUNIS,), "FR": (AJACCIO,), "AQ": ()}


def region(latitude: float, longitude: float, country: str | None = None) -> Region:
    return Region("r1", latitude=latitude, longitude=longitude, country=country)


@pytest.mark.parametrize(
    ("place", "country"),
    [
        ((41.8, 12.6), "IT"),
        ((41.8, 12.6), None),
        ((41.8, 12.6), "AQ"),
        ((41.8, 12.6), "ZZ"),
        ((40.85, 14.27), "IT"),
        ((38.1, 13.36), "IT"),
        ((0.0, 0.1), None),
        ((0.1, 0.0), None),
    ],
    ids=[
        "near",
        "no country",
        "country without places",
        "unknown country",
        "Naples",
        "Palermo: 427 km",
        "near 0",
        "near 0",
    ],
)
def test_nothing_is_said_of_a_plausible_place(place: tuple[float, float], country: str | None) -> None:
    near_only = {"IT": (ROME, MILAN), "AQ": (), "AT": (VIENNA,)}
    assert region_warnings(region(*place, country), landmarks=near_only) == []


def test_near_a_foreign_place_is_not_at_it() -> None:
    assert region_warnings(region(42.2, 8.74, "IT"), landmarks=LANDMARKS) == []


def test_null_island_is_one_warning_and_ends_the_matter() -> None:
    [warning] = region_warnings(
        region(0, -0.0, "IT"), landmarks=LANDMARKS, expected=ROME, measured=[MeasuredTo("x", ROME.point, 1.0)]
    )
    assert warning.field == "latitude, longitude"
    assert "'r1'" in warning.text
    assert "(0, 0)" in warning.text
    assert str(warning) == warning.text


@pytest.mark.parametrize(
    ("place", "country", "said"),
    [
        ((60.0, 12.5), "IT", "1,632 km from the nearest known place of IT (Milan)"),
        ((37.5, 10.0), "IT", "534 km from the nearest known place of IT (Rome) and 79 km from Tunis (TN)"),
        ((42.1, 8.74), "IT", "311 km from the nearest known place of IT (Rome) and 20 km from Ajaccio (FR)"),
    ],
    ids=["farther than 650 km", "400 km and a foreign place nearer", "in a foreign town"],
)
def test_outside_the_stated_country(place: tuple[float, float], country: str, said: str) -> None:
    [warning] = region_warnings(region(*place, country), landmarks=LANDMARKS)
    assert said in warning.text
    assert warning.field == "latitude, longitude"
    assert warning.details["country"] == country


@pytest.mark.parametrize(
    ("place", "guess"),
    [((-41.9, 12.5), "(41.9, 12.5), 0 km from Rome"), ((41.9, -12.5), "(41.9, 12.5)"), ((12.5, 41.9), "(41.9, 12.5)")],
    ids=["sign of the latitude", "sign of the longitude", "swapped"],
)
def test_a_lost_sign_or_a_swap_is_guessed(place: tuple[float, float], guess: str) -> None:
    [warning] = region_warnings(region(*place, "IT"), landmarks=LANDMARKS)
    assert f"did you mean {guess}" in warning.text


def test_no_guess_where_none_fits() -> None:
    [warning] = region_warnings(region(-60, 100, "IT"), landmarks=LANDMARKS)
    assert "did you mean" not in warning.text


def test_faster_than_light_names_the_worst_pair_and_the_least_error() -> None:
    measured = [MeasuredTo("near", ROME.point, 1.0), MeasuredTo("vienna", VIENNA.point, 5.0)]
    [warning] = region_warnings(region(41.9, 12.5), landmarks={}, measured=measured)
    assert warning.details["other"] == "vienna"
    assert "5.0 ms was measured" in warning.text
    assert "off by at least 263 km" in warning.text


def test_as_fast_as_light_is_allowed() -> None:
    measured = [MeasuredTo("here", ROME.point, 0.0), MeasuredTo("vienna", VIENNA.point, 7.7)]
    assert region_warnings(region(41.9, 12.5), landmarks={}, measured=measured) == []


def test_far_from_where_the_catalog_has_it() -> None:
    [warning] = region_warnings(region(43.3, 12.5), landmarks={}, expected=ROME)
    assert "156 km from where the catalog has this region: Rome" in warning.text
    assert region_warnings(region(43.2, 12.5), landmarks={}, expected=ROME) == []


def test_another_country_than_the_catalog_says() -> None:
    [warning] = region_warnings(region(41.9, 12.5, "VA"), landmarks={}, expected=ROME)
    assert warning.field == "country"
    assert "'VA'" in warning.text
    assert "IT (Rome)" in warning.text


def test_each_piece_of_evidence_is_a_warning_of_its_own() -> None:
    found = region_warnings(
        region(-41.9, 12.5, "TN"), landmarks=LANDMARKS, expected=ROME, measured=[MeasuredTo("x", ROME.point, 9.0)]
    )
    assert [w.field for w in found] == ["latitude, longitude"] * 2 + ["country", "latitude, longitude"]
    assert len({w.text for w in found}) == 4
