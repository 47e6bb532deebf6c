"""Measured round trips: looked up both ways, consistent with the catalog, never faster than light."""

import pytest

from mahavishnu.integrations.multi_region.core.geo import distance_km, fibre_floor_ms
from mahavishnu.integrations.multi_region.core.model import CloudProvider
from mahavishnu.integrations.multi_region.errors import InvalidInputError
from mahavishnu.integrations.multi_region.facts.backbone import matrix, measured_pairs, measured_rtt_ms
from mahavishnu.integrations.multi_region.facts.catalog import find

MEASURED = {CloudProvider.AWS: (33, 1056), CloudProvider.AZURE: (49, 2258), CloudProvider.GCP: (20, 380)}


@pytest.mark.parametrize("provider", MEASURED)
def test_the_matrices_are_whole(provider: CloudProvider) -> None:
    table = matrix(provider)
    assert table is not None
    assert (len(table.regions), len(measured_pairs(provider))) == MEASURED[provider]
    assert table.source
    assert table.statistic in ("p50", "avg")
    assert all(find(region_id, provider) for region_id in table.regions)


@pytest.mark.parametrize("provider", MEASURED)
def test_no_pair_is_faster_than_light(provider: CloudProvider) -> None:
    for pair in measured_pairs(provider):
        a, b = find(pair.source, provider), find(pair.target, provider)
        assert a is not None
        assert b is not None
        assert 0 < pair.least_ms <= pair.rtt_ms
        assert pair.least_ms > fibre_floor_ms(distance_km(a.point, b.point)), pair


def test_a_pair_is_looked_up_in_the_order_asked() -> None:
    assert measured_rtt_ms("aws", "af-south-1", "ap-east-1") == 347.55
    assert measured_rtt_ms(CloudProvider.AWS, "ap-east-1", "af-south-1") == 353.13


def test_the_way_back_stands_in_where_only_that_was_measured() -> None:
    one_way = {(p.source, p.target): p.rtt_ms for p in measured_pairs("azure")}
    alone = [(a, b) for a, b in one_way if (b, a) not in one_way]
    assert alone
    assert all(measured_rtt_ms("azure", b, a) == one_way[a, b] for a, b in alone)


def test_what_was_not_measured_is_none() -> None:
    assert measured_rtt_ms("aws", "us-east-1", "nowhere-1") is None
    assert measured_rtt_ms("vultr", "atl", "tel") is None
    assert measured_pairs("vultr") == ()
    assert matrix("other") is None


def test_a_provider_nobody_knows_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match=r"^provider: 'awz'"):
        measured_rtt_ms("awz", "a", "b")
