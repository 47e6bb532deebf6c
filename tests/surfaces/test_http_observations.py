"""`POST /v1/observations`: long reports are taken a few at a time, too long ones refused; what came of it is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.core.health import HealthState
from mahavishnu.integrations.multi_region.surfaces.http.action_bodies import MOST_OBSERVED
from mahavishnu.integrations.multi_region.surfaces.http.observations import AT_ONCE
from tests.surfaces.http_served import own_server, world

REPORTS: dict[str, dict[str, Any]] = {
    "outcomes": {"region_id": "eu-west-1", "ok": True},
    "loads": {"region_id": "eu-west-1", "current_capacity": 3},
    "rtts": {"region_id": "eu-west-1", "ms": 30, "country": "DE"},
}


def many(name: str, count: int) -> dict[str, Any]:
    return {name: [REPORTS[name]] * count}


@pytest.mark.parametrize("name", list(REPORTS))
async def test_a_report_may_be_so_long_and_no_longer(name: str) -> None:
    async with own_server() as (client, _):
        await client.post("/v1/apply", json=world("eu-west-1"))
        most = MOST_OBSERVED[name]
        refused = await client.post("/v1/observations", json=many(name, most + 1))
        told = (await client.get("/stats")).json()["round_trips"]["observed"]
        counted = await client.post("/v1/observations", json=many(name, most))
        document = (await client.get("/openapi.json")).json()
    (error,) = refused.json()["errors"]
    assert (refused.status_code, error["field"], error["value"]) == (422, name, f"{most + 1} of them")
    assert f"at most {most}" in error["allowed"]
    assert (told, counted.json()[name]) == (0, most)
    body = document["paths"]["/v1/observations"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"][name]["anyOf"][0]["maxItems"] == most


async def turns_of(act: Any, look: Callable[[], Any]) -> list[Any]:
    """What is seen in each turn of the loop until the act is over, and then."""
    task, seen = asyncio.ensure_future(act), []
    while not task.done():
        seen.append(look())
        await asyncio.sleep(0)
    await task
    return [*seen, look()]


async def test_others_run_while_a_long_report_is_taken() -> None:
    report = {**many("rtts", 300), **many("outcomes", 5 * AT_ONCE), **many("loads", 5 * AT_ONCE)}
    async with own_server() as (client, app):
        await client.post("/v1/apply", json=world("eu-west-1"))
        manager = app.state.system.region_manager
        learned = await turns_of(
            client.post("/v1/observations", json=report), lambda: manager.round_trips.stats().observed
        )
    steps = [after - before for before, after in pairwise(learned)]
    assert max(steps) <= 20
    assert learned.count(0) >= 10 + 2 + 8  # while it is read, the round trips checked, the others counted


@pytest.mark.parametrize("at", [0, AT_ONCE, 2 * AT_ONCE + 7])
async def test_whatever_place_a_fault_has_it_is_named_and_nothing_is_counted(at: int) -> None:
    rtts = [REPORTS["rtts"]] * (2 * AT_ONCE + 8)
    report = {**many("outcomes", 9), "rtts": [*rtts[:at], {"region_id": "eu-west-1", "ms": "30"}, *rtts[at + 1 :]]}
    async with own_server() as (client, app):
        await client.post("/v1/apply", json=world("eu-west-1"))
        answer = await client.post("/v1/observations", json=report)
        stats = app.state.system.region_manager.round_trips.stats()
        health = (await client.get("/regions/eu-west-1/health")).json()
    assert [error["field"] for error in answer.json()["errors"]] == [f"rtts.{at}.ms"]
    assert (stats.observed, health["last_checked"]) == (0, None)


async def test_what_is_told_of_a_region_that_leaves_meanwhile_is_left_out() -> None:
    report = {name: items for one in REPORTS for name, items in many(one, 5 * AT_ONCE).items()}
    async with own_server() as (client, app):
        await client.post("/v1/apply", json=world("eu-west-1", "us-east-1"))
        manager = app.state.system.region_manager
        task = asyncio.ensure_future(client.post("/v1/observations", json=report))
        while manager.monitor.states.get("eu-west-1", HealthState()).traffic == HealthState().traffic:
            await asyncio.sleep(0)
        del manager.regions["eu-west-1"]
        answer = await task
    assert answer.status_code == 200
    assert answer.json() == {"outcomes": AT_ONCE, "loads": 0, "rtts": 0, "doubted": 0}


@pytest.mark.parametrize("body", [[], 7, "x", {"rtts": {}}, {"rtt": []}, {"rtts": [[]]}, {"loads": [None]}])
async def test_what_is_no_report_is_refused(body: Any) -> None:
    async with own_server() as (client, _):
        answer = await client.post("/v1/observations", json=body)
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 1


async def test_a_place_or_a_country_is_asked_for() -> None:
    async with own_server() as (client, _):
        await client.post("/v1/apply", json=world("eu-west-1"))
        answer = await client.post("/v1/observations", json={"rtts": [{"region_id": "eu-west-1", "ms": 30}]})
    (error,) = answer.json()["errors"]
    assert error["field"] == "rtts.0.location"
    assert "give a country" in error["allowed"]


async def test_what_was_learned_and_refused_is_to_be_seen() -> None:
    rtt = REPORTS["rtts"]
    async with own_server() as (client, _):
        await client.post("/v1/apply", json=world("eu-west-1"))
        await client.post("/v1/observations", json={"rtts": [*[rtt] * 3, {**rtt, "ms": 5000}]})
        await client.post("/v1/observations", json={"rtts": [{**rtt, "ms": 0.5}]})
        stats = (await client.get("/stats")).json()["round_trips"]
        status = (await client.get("/v1/status")).json()["round_trips"]
        figures = (await client.get("/metrics")).text.splitlines()
    unwritten = stats.pop("unwritten")
    assert stats == {"observed": 3, "refused": {"impossible": 1, "outlier": 1}, "regions": 1, "cells": 1}
    assert {**stats, "unwritten": status["unwritten"]} == status
    assert unwritten in (0, 1)  # it is written every few seconds
    for line in (
        "multi_region_round_trips_total 3.0",
        'multi_region_round_trips_refused_total{reason="impossible"} 1.0',
        'multi_region_round_trips_refused_total{reason="outlier"} 1.0',
        "multi_region_round_trips_regions 1.0",
        "multi_region_round_trips_cells 1.0",
    ):
        assert line in figures
