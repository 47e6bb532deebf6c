"""The model is worth having: it costs users less than great-circle distance, on measurements it was not fitted on."""

import pytest

from benchmarks.latency_quality import great_circle_km, main, predicted_ms, score_on
from mahavishnu.integrations.multi_region.core.model import CloudProvider


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


def test_the_benchmark_prints_a_line_for_each_matrix_and_way(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 3 * 2
    assert lines[2].split()[:3] == ["aws", "33", "model"]
