"""How durations, shares and addresses are written."""

from __future__ import annotations

import pytest

from mahavishnu.integrations.multi_region.errors import InvalidInputError
from mahavishnu.integrations.multi_region.surfaces.world import units


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("250ms", 0.25), ("2s", 2), ("1.5s", 1.5), ("1m", 60), ("1h", 3600), (3, 3), (0.2, 0.2), ("24h", 86_400)],
)
def test_a_duration_is_read_in_seconds(written: object, seconds: float) -> None:
    assert units.parse_duration(written) == seconds


@pytest.mark.parametrize(
    "written", ["", "s", "1", "1 s", "1d", "-1s", "1s\n", "٣s", "1e3s", None, True, 1e9, [], "0ms"]
)
def test_anything_else_is_no_duration(written: object) -> None:
    with pytest.raises(InvalidInputError, match="a duration such as 250ms"):
        units.parse_duration(written)


@pytest.mark.parametrize(("written", "share"), [("50%", 0.5), ("12.5%", 0.125), ("0%", 0), (1, 1), (0.25, 0.25)])
def test_a_share_is_read_as_a_fraction(written: object, share: float) -> None:
    assert units.parse_share(written) == share


@pytest.mark.parametrize("written", ["101%", "-1%", "50", "%", "5 %", 1.01, -0.1, True, None, float("nan")])
def test_anything_else_is_no_share(written: object) -> None:
    with pytest.raises(InvalidInputError, match=r"such as 50% or 0\.5"):
        units.parse_share(written)
