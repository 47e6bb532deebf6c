"""A region is lost under load: no idempotent request fails, and traffic moves and stays away.

The promise is about requests whose response had not begun: one that has cannot be replayed by anybody.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.testing.open_loop import OpenLoop, shares

from .places import NGINX, missing_for_islands
from .stage import EDGE, HEDGED, NEAREST, SPREAD, Controller, Stage, told, world

pytestmark = pytest.mark.slow

NO_NGINX = None if shutil.which(NGINX) or Path(NGINX).exists() else "NO NGINX HERE: INSTALL nginx-light"
VICTIM, OTHERS = "fra", ("par", "iad")
needs_nginx = pytest.mark.skipif(NO_NGINX is not None, reason=str(NO_NGINX))

SERVICES = {"active-active": SPREAD, "active-passive": NEAREST}
HASTY = {name: service | {"routes": [HEDGED | {"attempt_timeout": "400ms"}]} for name, service in SERVICES.items()}
"""For regions that fall silent: an attempt may take no longer than a busy machine sometimes does."""
PLAIN = {name: service | {"routes": []} for name, service in SERVICES.items()}
"""Routes without a time for an attempt: what an honest request may take is unknown."""


async def lose(stage: Stage, controller: Controller, arrangement: str, fault: Callable[[], None]) -> OpenLoop:
    """Load before, during and after a fault; its mark is when the fault began, the last second is after it was met."""
    await stage.serves(by=(VICTIM, *OTHERS) if arrangement == "active-active" else (VICTIM,))
    async with stage.load() as load:
        await asyncio.sleep(1)
        load.mark()
        fault()
        await controller.happened("failover.acknowledged", VICTIM)
        settled = load.now_s
        await asyncio.sleep(1)
        (acknowledged,) = await controller.events("failover.acknowledged", VICTIM)
    check_record(acknowledged["details"])
    assert settled < load.answers[-1].due_s
    assert VICTIM not in shares(load.since(settled))
    return load


def check_record(told_of: Mapping[str, Any]) -> None:
    """The log names both ends of a failover, from the first bad sign to the last edge's acknowledgement."""
    ends = [told_of[name] for name in ("first_signal_at", "verdict_at", "planned_at", "acknowledged_at")]
    assert ends == sorted(ends)
    assert told_of["duration_ms"] == pytest.approx(1000 * (ends[-1] - ends[0]), abs=50)
    assert (told_of["acknowledged_by"], told_of["lagging"]) == ([EDGE], [])


def check(name: str, arrangement: str, load: OpenLoop, *, hasty: bool = False) -> None:
    """Nothing failed, everybody who should served, and who stood by took over.

    ``hasty``: a region that is well may have been too slow for one attempt, which another then served.
    """
    found = load.summary()
    told(name, found)
    assert [answer for answer in load.answers if answer.failed and not answer.cut] == []
    if arrangement == "active-active":
        assert set(found.before) == {VICTIM, *OTHERS}
        assert set(OTHERS) <= set(found.after)
    else:
        for served, region in ((found.before, VICTIM), (shares(load.answers[-200:]), OTHERS[0])):
            assert max(served, key=served.__getitem__) == region
            assert hasty or set(served) == {region}


@pytest.mark.parametrize("arrangement", SERVICES)
@pytest.mark.parametrize("fault", ["kill", "hang", "drop"])
async def test_a_region_is_lost(fault: str, arrangement: str) -> None:
    missing = missing_for_islands() if fault == "drop" else None
    if missing is not None:
        pytest.skip(missing)
    hasty = fault != "kill"
    async with Stage() as stage:
        begin = {"kill": lambda: stage.places[VICTIM].kill(), "hang": lambda: stage.places[VICTIM].hang()}
        if fault == "drop":
            begin["drop"] = (await stage.island_region(VICTIM)).drop
        else:
            await stage.regions(VICTIM)
        await stage.regions(*OTHERS)
        controller = await stage.controller(world(stage, (HASTY if hasty else SERVICES)[arrangement]))
        load = await lose(stage, controller, arrangement, begin[fault])
    check(f"{fault}, {arrangement}", arrangement, load, hasty=hasty)


@needs_nginx
@pytest.mark.parametrize("arrangement", SERVICES)
@pytest.mark.parametrize("fault", ["kill", "hang"])
async def test_a_region_that_speaks_http2_is_lost_without_a_time_for_attempts(fault: str, arrangement: str) -> None:
    async with Stage() as stage:
        await stage.http2_regions(VICTIM, *OTHERS)
        controller = await stage.controller(world(stage, PLAIN[arrangement]))
        victim = stage.places[VICTIM]
        load = await lose(stage, controller, arrangement, victim.kill if fault == "kill" else victim.hang)
    check(f"{fault}, {arrangement}, HTTP/2", arrangement, load)
