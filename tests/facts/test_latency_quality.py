"""The model is worth having: it costs users less than great-circle distance, on measurements it was not fitted on."""

from statistics import mean

import pytest

from benchmarks.latency_quality import great_circle_km, main, predicted_ms, score_on
from mahavishnu.integrations.multi_region.core.latency import cell_of
from mahavishnu.integrations.multi_region.core.model import CloudProvider
from mahavishnu.integrations.multi_region.core.residuals import MEMORY, Learned, Residual
from mahavishnu.integrations.multi_region.facts.backbone import matrix
from mahavishnu.integrations.multi_region.facts.catalog import find


def test_on_the_aws_backbone_great_circle_costs_10_ms_and_the_model_under_3() -> None:
    assert score_on(CloudProvider.AWS, great_circle_km).mean_ms > 10.0
    model = score_on(CloudProvider.AWS, predicted_ms)
    assert model.places == 33
    assert model.mean_ms < 3.0
    assert model.far_off < 0.05


def test_on_the_azure_backbone_the_model_costs_under_1_5_ms() -> None:
    assert score_on(CloudProvider.AZURE, great_circle_km).mean_ms > 5.0
    model = score_on(CloudProvider.AZURE, predicted_ms)
    assert model.places == 49
    assert model.mean_ms < 1.5
    assert model.worst_ms < 20.0


def test_where_distance_is_nearly_perfect_the_model_costs_little() -> None:
    assert score_on(CloudProvider.GCP, great_circle_km).mean_ms < 0.5
    assert score_on(CloudProvider.GCP, predicted_ms).mean_ms < 2.5


@pytest.mark.parametrize(
    ("provider", "left"), [(CloudProvider.AWS, 0.52), (CloudProvider.AZURE, 0.42), (CloudProvider.GCP, 0.61)]
)
def test_what_all_others_measured_halves_the_error_of_an_estimate(provider: CloudProvider, left: float) -> None:
    alone, taught = mean_errors_ms(provider)
    assert taught < left * alone


def mean_errors_ms(provider: CloudProvider) -> tuple[float, float]:
    """The mean error of the model's estimates, and of those corrected by all that was not measured from their cell."""
    found = matrix(provider)
    assert found is not None
    sites = {region: site for region in found.regions if (site := find(region, provider)) is not None}
    cells = {region: cell_of(site.point.latitude, site.point.longitude) for region, site in sites.items()}
    alone, taught = list[float](), list[float]()
    for region, site in sites.items():
        pairs = {user: found.pairs[user, region].rtt_ms for user in sites if (user, region) in found.pairs}
        said = {user: ms - predicted_ms(sites[user], site) for user, ms in pairs.items() if user != region}
        residuals = {cells[user]: Residual(ms, MEMORY, 16, 0.0) for user, ms in said.items()}
        for user, residual in said.items():
            others = {cell: kept for cell, kept in residuals.items() if cell != cells[user]}
            alone.append(abs(residual))
            taught.append(abs(residual - Learned.of(others, 0.0).correction_ms(cells[user])))
    return mean(alone), mean(taught)


def test_the_benchmark_prints_a_line_for_each_matrix_and_way(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 3 * 2
    assert lines[2].split()[:3] == ["aws", "33", "model"]
