"""How good great-circle distance and the latency model are at choosing a region.

Run it with ``python -m benchmarks.latency_quality``. Each region of a measured backbone is the user of all others, and
its round trips to them are known. The model was fitted on other data. A backbone is not the users' Internet:
``multi-region latency evaluate`` scores the model on your own users.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mahavishnu.integrations.multi_region.core.geo import distance_km
from mahavishnu.integrations.multi_region.core.latency import corrected_ms
from mahavishnu.integrations.multi_region.core.model import CloudProvider
from mahavishnu.integrations.multi_region.core.regret import Choice, Score, choose, score
from mahavishnu.integrations.multi_region.facts.backbone import Matrix, matrix
from mahavishnu.integrations.multi_region.facts.catalog import CatalogRegion, find
from mahavishnu.integrations.multi_region.facts.network import latency_model, zone_of_client, zone_of_region

PROVIDERS = (CloudProvider.AWS, CloudProvider.AZURE, CloudProvider.GCP)

Estimate = Callable[[CatalogRegion, CatalogRegion], float]


def great_circle_km(user: CatalogRegion, region: CatalogRegion) -> float:
    """The baseline: the fewest kilometres win."""
    return distance_km(user.point, region.point)


def predicted_ms(user: CatalogRegion, region: CatalogRegion) -> float:
    """The model, told the user's place and country; nothing was learned."""
    km = distance_km(user.point, region.point)
    zones = zone_of_client(user.point, user.country), zone_of_region(region.point, region.country)
    return corrected_ms(km, latency_model().estimate_ms(km, *zones), 0.0)


WAYS: Mapping[str, Estimate] = {"great circle": great_circle_km, "model": predicted_ms}


def choices_on(provider: CloudProvider, estimate: Estimate) -> list[Choice]:
    """What each region of the provider's matrix, as a user, would be given of the others."""
    found = matrix(provider)
    if found is None:
        raise LookupError(f"no matrix ships for {provider}")
    sites = {region: _site(region, provider) for region in found.regions}
    return [_choice(user, found, sites, estimate) for user in found.regions]


def score_on(provider: CloudProvider, estimate: Estimate) -> Score:
    """The choices on the provider's matrix in figures."""
    return score(choices_on(provider, estimate))


def main() -> None:
    """Print the table."""
    print(f"{'matrix':<12}{'users':>6}  {'choice by':<13}{'top-1':>8}{'mean':>9}{'p95':>9}{'worst':>9}{'>20 ms':>8}")
    for provider in PROVIDERS:
        for name, estimate in WAYS.items():
            found = score_on(provider, estimate)
            times = "".join(f"{ms:>6.1f} ms" for ms in (found.mean_ms, found.p95_ms, found.worst_ms))
            head = f"{provider.value:<12}{found.places:>6}  {name:<13}"
            print(f"{head}{100 * found.top_1:>6.1f} %{times}{100 * found.far_off:>6.1f} %")


def _site(region: str, provider: CloudProvider) -> CatalogRegion:
    known = find(region, provider)
    if known is None:
        raise LookupError(f"{region} of {provider} is not in the catalog")
    return known


def _choice(user: str, found: Matrix, sites: Mapping[str, CatalogRegion], estimate: Estimate) -> Choice:
    measured = {r: found.pairs[user, r].rtt_ms for r in found.regions if r != user and (user, r) in found.pairs}
    return choose(user, measured, {region: estimate(sites[user], sites[region]) for region in measured})


if __name__ == "__main__":
    main()
