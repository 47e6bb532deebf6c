"""Every door that takes a figure of a region takes the same ones: the library, settings, world files, HTTP bodies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from pydantic import ValidationError

from mahavishnu.integrations.multi_region.core.figures import HEALTH_CHECK, REGION, ROUTE, Bounds
from mahavishnu.integrations.multi_region.core.model import HealthCheck
from mahavishnu.integrations.multi_region.core.routes import RouteClass, check_route
from mahavishnu.integrations.multi_region.core.validation import check_health, validate_region
from mahavishnu.integrations.multi_region.errors import InvalidInputError, WorldFileError
from mahavishnu.integrations.multi_region.settings import PREFIX, load_settings
from mahavishnu.integrations.multi_region.surfaces.http.bodies import HealthCheckBody, RegionBody, RouteClassBody
from mahavishnu.integrations.multi_region.surfaces.world.load import load_world
from mahavishnu.integrations.multi_region.testing.builders import region

ID, URL = "eu-west-1", "http://127.0.0.1:9001"
VARIABLES = {
    "interval_s": "HEALTH_CHECK_INTERVAL",
    "timeout_s": "HEALTH_CHECK_TIMEOUT",
    "fall": "HEALTH_CHECK_FALL",
    "rise": "HEALTH_CHECK_RISE",
    "hold_down_s": "HOLD_DOWN",
}


def around(bounds: Bounds) -> list[tuple[float, bool]]:
    """Numbers at the ends and beyond them, and whether each is allowed."""
    step = 1 if bounds.whole else 0.0005
    return [
        (bounds.least, not bounds.above),
        (bounds.least - step, False),
        (bounds.least + step, True),
        (bounds.most, True),
        (bounds.most + 1, False),
    ]


def takes(door: Callable[[], object]) -> bool:
    try:
        door()
    except (InvalidInputError, WorldFileError, ValidationError):
        return False
    return True


def world(lines: str) -> Callable[[], object]:
    return partial(load_world, f"regions:\n  - id: {ID}\n    endpoint: {URL}\n{lines}", "w")


@pytest.mark.parametrize(("name", "bounds"), HEALTH_CHECK.items())
def test_how_a_region_is_probed(name: str, bounds: Bounds) -> None:
    for value, allowed in around(bounds):
        key, number = name.removesuffix("_s"), value
        if name == "slow_ms":
            key, number = "slow", value / 1000
        change: Any = {name: value}
        doors: list[Callable[[], object]] = [
            partial(check_health, replace(HealthCheck(), **change)),
            partial(HealthCheckBody.model_validate, {name: value}),
            world(f"    health: {{{key}: {number}}}\n"),
        ]
        if name in VARIABLES:
            doors.append(partial(load_settings, {PREFIX + VARIABLES[name]: str(value)}))
        assert [takes(door) for door in doors] == [allowed] * len(doors), (name, value)


@pytest.mark.parametrize(("name", "bounds"), REGION.items())
def test_what_a_region_is(name: str, bounds: Bounds) -> None:
    other = {"latitude": "longitude", "longitude": "latitude"}.get(name)
    pair: dict[str, Any] = {} if other is None else {other: 1.0}
    for value, allowed in around(bounds):
        body = {"capabilities": {name: value}} if name == "max_capacity" else {name: value, **pair}
        given: Any = {name: value}
        doors: list[Callable[[], object]] = [
            partial(validate_region, region("a", **given), ()),
            partial(RegionBody.model_validate, {"region_id": ID, "endpoint": URL, **body}),
            world("".join(f"    {key}: {number}\n" for key, number in {name: value, **pair}.items())),
        ]
        assert [takes(door) for door in doors] == [allowed] * len(doors), (name, value)


@pytest.mark.parametrize(("name", "bounds"), ROUTE.items())
def test_how_requests_are_carried(name: str, bounds: Bounds) -> None:
    for value, allowed in around(bounds):
        longest = {} if name == "timeout_s" else {"timeout_s": 0.0}
        ends = name == "attempt_timeout_s" and value == bounds.most  # it must be shorter than the whole request
        given: Any = {**longest, name: value}
        keys = {key.removesuffix("_s"): number for key, number in given.items()}
        doors: list[Callable[[], object]] = [
            partial(check_route, RouteClass(**given)),
            world("services:\n  - name: api\n    routes:\n      - " + str(keys).replace("'", "") + "\n"),
        ]
        assert [takes(door) for door in doors] == [allowed and not ends] * len(doors), (name, value)
        assert takes(partial(RouteClassBody.model_validate, given)) == allowed
