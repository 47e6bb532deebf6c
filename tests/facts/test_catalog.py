"""The catalog: an id is enough, shared ids have an order, and what it says is consistent."""

from collections import Counter
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.core.geo import check_point
from mahavishnu.integrations.multi_region.core.model import CloudProvider, HealthCheck, Region
from mahavishnu.integrations.multi_region.core.validation import validate_region
from mahavishnu.integrations.multi_region.errors import InvalidInputError
from mahavishnu.integrations.multi_region.facts.catalog import CatalogRegion, all_regions, find, region_from_catalog
from mahavishnu.integrations.multi_region.facts.jurisdictions import jurisdictions
from mahavishnu.integrations.multi_region.facts.places import countries

HERE = "http://127.0.0.1:9001"


def known(region_id: str, provider: str | None = None) -> CatalogRegion:
    region = find(region_id, provider)
    assert region is not None
    return region


def test_there_are_262_regions_of_nine_providers_and_no_id_twice_within_one() -> None:
    assert len(all_regions()) == 262
    assert len({r.provider for r in all_regions()}) == 9
    assert max(Counter((r.provider, r.region_id) for r in all_regions()).values()) == 1


def test_a_region_carries_what_the_file_says() -> None:
    region = known("eu-west-1")
    assert (region.provider, region.metro, region.country, region.continent) == (
        CloudProvider.AWS,
        "Dublin",
        "IE",
        "EU",
    )
    assert (region.latitude, region.longitude) == (region.point.latitude, region.point.longitude)
    assert region.eea
    assert not region.price_is_estimate
    assert region.price_multiplier is not None


def test_values_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        all_regions()[0].name = "x"  # type: ignore[misc]  # the point of the test
    assert all_regions() is all_regions()


@pytest.mark.parametrize(
    ("region_id", "provider", "found"),
    [
        ("us-east-1", None, CloudProvider.AWS),
        ("us-east-1", "alibaba", CloudProvider.ALIBABA),
        ("us-east-1", CloudProvider.ALIBABA, CloudProvider.ALIBABA),
        ("alibaba:us-east-1", None, CloudProvider.ALIBABA),
        ("alibaba:us-east-1", "alibaba", CloudProvider.ALIBABA),
        ("westeurope", None, CloudProvider.AZURE),
        ("europe-west1", "gcp", CloudProvider.GCP),
    ],
)
def test_shared_ids(region_id: str, provider: str | None, found: CloudProvider) -> None:
    region = known(region_id, provider)
    assert region.provider is found
    assert region.region_id == region_id.rpartition(":")[2]


@pytest.mark.parametrize(
    ("region_id", "provider"),
    [("nowhere-1", None), ("", None), ("us-east-1", "gcp"), ("gcp:us-east-1", None), ("alibaba:us-east-1", "aws")],
)
def test_what_is_not_in_the_catalog_is_none(region_id: str, provider: str | None) -> None:
    assert find(region_id, provider) is None


def test_a_provider_nobody_knows_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match=r"^provider: 'amazn'"):
        find("us-east-1", "amazn")


def test_a_region_from_the_catalog() -> None:
    region = region_from_catalog("eu-central-1", endpoint=HERE)
    assert isinstance(region, Region)
    assert (region.region_id, region.provider, region.endpoint) == ("eu-central-1", CloudProvider.AWS, HERE)
    assert (region.location, region.country) == ("Frankfurt", "DE")
    assert region.name == known("eu-central-1").name
    assert region.cost_multiplier == known("eu-central-1").price_multiplier


def test_a_prefixed_id_stays_as_it_was_given() -> None:
    region = region_from_catalog("alibaba:us-east-1", endpoint=HERE)
    assert (region.region_id, region.provider) == ("alibaba:us-east-1", CloudProvider.ALIBABA)
    assert region_from_catalog("us-east-1", provider="alibaba", endpoint=HERE).region_id == "us-east-1"


def test_an_unknown_price_counts_as_one() -> None:
    assert known("vultr:tel").price_multiplier is None
    assert region_from_catalog("vultr:tel", endpoint=HERE).cost_multiplier == 1.0


def test_overrides_replace_any_field() -> None:
    check = HealthCheck(path="/up")
    region = region_from_catalog("eu-west-1", endpoint=HERE, name="mine", latitude=1, health=check, cost_multiplier=2)
    assert (region.name, region.latitude, region.health, region.cost_multiplier) == ("mine", 1, check, 2)
    assert region.country == "IE"


@pytest.mark.parametrize(
    ("region_id", "provider", "nearest"),
    [
        ("eu-wst-1", None, "'eu-west-1'"),
        ("westeurop", "azure", "'westeurope'"),
        ("gcp:europe-wst1", None, "'gcp:europe-west1'"),
    ],
)
def test_an_unknown_id_names_the_nearest(region_id: str, provider: str | None, nearest: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        region_from_catalog(region_id, provider=provider, endpoint=HERE)
    assert (caught.value.field, caught.value.value) == ("region_id", region_id)
    assert f"did you mean {nearest}?" in caught.value.allowed


def test_an_unknown_override_names_the_nearest() -> None:
    bad: dict[str, Any] = {"latitud": 1.0}
    with pytest.raises(InvalidInputError, match="did you mean 'latitude'"):
        region_from_catalog("eu-west-1", endpoint=HERE, **bad)


@pytest.mark.parametrize("region", all_regions(), ids=lambda r: f"{r.provider}:{r.region_id}")
def test_every_region_can_be_registered_and_agrees_with_the_other_facts(region: CatalogRegion) -> None:
    mine = region_from_catalog(f"{region.provider}:{region.region_id}", endpoint=HERE)
    validate_region(mine, (), countries())
    assert check_point(region.latitude, region.longitude) == region.point
    assert region.eea == (region.country in jurisdictions().eea)
    assert region.gdpr_adequacy == (region.country in jurisdictions().adequacy)
    assert region.continent == countries()[region.country].continent
    assert region.egress_usd_per_gb is None or region.egress_usd_per_gb > 0
    assert region.carbon_gco2_kwh is None or region.carbon_gco2_kwh > 0
