"""Odd values at the library's door: each is refused by name, and what is refused changes nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.core.model import Region, SafetyLimits
from mahavishnu.integrations.multi_region.errors import SHOWN_CHARS, InvalidInputError, UnknownRegionError
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.testing.builders import region
from mahavishnu.integrations.multi_region.testing.stage import Stage

HUGE = 10**400


@pytest.mark.parametrize(
    "odd", [HUGE, 1e300, math.nextafter(1e12, math.inf), math.nan, math.inf, -1, -1.0, "7", None, True]
)
async def test_a_load_that_is_no_number_spoils_no_decision(odd: Any) -> None:
    async with Stage.of("a", "b", probed=False) as stage:
        with pytest.raises(InvalidInputError, match=r"^current_capacity: "):
            stage.manager.report_load("a", odd)
        assert stage.serving() == {"a", "b"}
        assert stage.manager.get_stats()["current_capacity"] == 0


UNCOUNTABLE: dict[str, list[Any]] = {
    "latency_ms": [math.nan, math.inf, -1, "7", [], HUGE],
    "ok": [None, "yes", 1, math.nan],
    "service": ["", 7, [], "\ud800"],
}


@pytest.mark.parametrize(("field", "odd"), [(field, odd) for field, values in UNCOUNTABLE.items() for odd in values])
async def test_a_report_that_cannot_be_counted_is_not_counted(field: str, odd: Any) -> None:
    async with Stage.of("a", "b", probed=False) as stage:
        with pytest.raises(InvalidInputError, match=f"^{field}: "):
            stage.manager.report_outcome(**{"region_id": "a", "ok": True, "latency_ms": 5.0, field: odd})
        assert stage.manager.monitor.states == {}
        assert stage.manager.health_of("a").latency_ms is None


@pytest.mark.parametrize("odd", [None, 7, math.nan, True, b"a"])
async def test_a_region_id_that_is_no_text_is_an_unknown_region(odd: Any) -> None:
    async with Stage.of("a", probed=False) as stage:
        with pytest.raises(UnknownRegionError, match=r"one of: a$"):
            stage.manager.get_region(odd)


@pytest.mark.parametrize("field", ["name", "location"])
@pytest.mark.parametrize("odd", [None, 7, b"x", object(), "\ud800"])
async def test_a_region_is_named_in_text_that_every_answer_can_carry(field: str, odd: Any) -> None:
    async with Stage.of("a", probed=False) as stage:
        with pytest.raises(InvalidInputError, match=f"^{field}: "):
            await stage.manager.register_region(region("b", **{field: odd}))
        assert set(stage.manager.regions) == {"a"}


@pytest.mark.parametrize("odd", [{}, "x", 7])
async def test_a_health_check_is_a_health_check(odd: Any) -> None:
    async with Stage.of("a", probed=False) as stage:
        with pytest.raises(InvalidInputError, match=r"^health: .*HealthCheck"):
            await stage.manager.register_region(region("b", health=odd))


@pytest.mark.parametrize("odd", [None, {"max_capacity": 5}, 7])
def test_capabilities_are_capabilities(odd: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"^capabilities: .*RegionCapabilities"):
        Region("a", capabilities=odd)


@pytest.mark.parametrize("field", ["min_serving", "max_removed", "window_s", "headroom", "blind_share"])
@pytest.mark.parametrize("odd", [None, "1", -1, math.nan, math.inf, True])
def test_no_limit_is_switched_off_by_a_number_that_is_none(field: str, odd: Any) -> None:
    with pytest.raises(InvalidInputError, match=f"^{field}: "):
        SafetyLimits(**{field: odd})


@pytest.mark.parametrize("field", ["max_removed", "headroom", "blind_share"])
def test_a_share_is_not_written_in_percent(field: str) -> None:
    with pytest.raises(InvalidInputError, match=r"from 0 to 1"):
        SafetyLimits(**{field: 50})


@pytest.mark.parametrize("odd", [0, -1, 2.5, "5", math.nan, True])
def test_a_circuit_breaker_opens_after_a_whole_number_of_failures(odd: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"^circuit_breaker_threshold: "):
        RegionManager(circuit_breaker_threshold=odd)


@pytest.mark.parametrize("long", ["é" * 100_000, 10**5000, list(range(10_000))], ids=["text", "int", "list"])
def test_a_message_repeats_no_more_than_a_few_lines_of_a_value(long: Any) -> None:
    error = InvalidInputError("field", long, "less")
    assert len(str(error)) < SHOWN_CHARS + 100
    assert error.value is long


@pytest.mark.parametrize("field", ["latitude", "longitude", "health_score", "current_capacity", "cost_multiplier"])
@pytest.mark.parametrize("odd", [math.nan, math.inf, HUGE, -1000, "7", [], object(), True])
async def test_a_bad_figure_put_into_a_registered_region_is_refused_there_and_spoils_no_decision(
    field: str, odd: Any
) -> None:
    async with Stage.of("a", "b", probed=False) as stage:
        before = getattr(stage.manager.regions["a"], field)
        with pytest.raises(InvalidInputError, match=rf"^{field}: "):
            setattr(stage.manager.regions["a"], field, odd)
        assert getattr(stage.manager.regions["a"], field) == before
        decision = await stage.router.route_request({"user_location": {"latitude": 1.0, "longitude": 1.0}})
        assert decision.selected_region in {"a", "b"}


@pytest.mark.parametrize("odd", [math.nan, -1, "7", None])
async def test_nor_is_a_bad_limit(odd: Any) -> None:
    async with Stage.of("a", "b", probed=False) as stage:
        with pytest.raises(InvalidInputError, match=r"^capabilities.max_capacity: "):
            stage.manager.regions["a"].capabilities.max_capacity = odd
        assert stage.serving() == {"a", "b"}


async def test_a_stated_score_may_be_withdrawn() -> None:
    async with Stage.of("a", "b", probed=False) as stage:
        stage.manager.regions["a"].health_score = None
        assert stage.view("a").phase.value == "unknown"
