"""Load reports: from what Envoy counts to what the port says, and over a socket."""

from __future__ import annotations

from typing import Any

import grpc.aio
import pytest

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.load_reports import (
    RESPONSE,
    LoadReports,
    wanted_reports,
)
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.proto import message
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resources import CLUSTER
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.server import AdsServer
from mahavishnu.integrations.multi_region.ports.dataplane import Load, LoadReport
from tests.adapters.envoy.ads_client import snapshot
from tests.adapters.envoy.grpc_client import load_request, load_stream, serving, stream, until


def seen(region: str, *, good: int = 0, bad: int = 0, flying: int = 0, issued: int = 0, **more: Any) -> dict[str, Any]:
    """What an Envoy counted at one locality."""
    return {
        "locality": {"region": region},
        "total_successful_requests": good,
        "total_error_requests": bad,
        "total_requests_in_progress": flying,
        "total_issued_requests": issued,
        **more,
    }


def report(**clusters: list[dict[str, Any]]) -> Any:
    """A report of clusters over 1.5 s; ``__`` in a name stands for ``~``."""
    return load_request(
        cluster_stats=[
            {
                "cluster_name": name.replace("__", "~"),
                "upstream_locality_stats": localities,
                "load_report_interval": {"seconds": 1, "nanos": 500_000_000},
            }
            for name, localities in clusters.items()
        ]
    )


def test_counts_are_by_class_and_region() -> None:
    found = LoadReports("e1", 1.0).read(
        report(api__gdpr=[seen("eu", good=3, bad=1, flying=2, issued=5)], web=[seen("us", good=1, issued=1)])
    )
    assert found == LoadReport(
        "e1", 1.5, (Load("api", "api~gdpr", "eu", 3, 1, 2, 5), Load("web", "web", "us", 1, 0, 0, 1))
    )


@pytest.mark.parametrize(
    ("name", "service"),
    [
        ("api", "api"),
        ("api~gdpr", "api"),
        ("api~gdpr+hipaa@area", "api"),
        ("api@area", "api"),
        ("a-b.c", "a-b.c"),
        ("web%7Eeu~gdpr", "web~eu"),
    ],
)
def test_the_service_is_what_stands_before_law_and_area(name: str, service: str) -> None:
    (load,) = LoadReports("e1", 1.0).read(report(**{name: [seen("eu", issued=1)]})).loads
    assert (load.service, load.class_name) == (service, name)


def test_localities_of_one_region_add_up_and_those_of_no_region_are_left_out() -> None:
    localities = [seen("eu", good=1, flying=1), seen("eu", good=2, bad=1, priority=1), seen("", good=9)]
    assert LoadReports("e1", 1.0).read(report(api=localities)).loads == (Load("api", "api", "eu", 3, 1, 1, 0),)


def test_a_period_without_answers_still_says_what_is_in_flight() -> None:
    reports = LoadReports("e1", 1.0)
    assert reports.read(report(api=[seen("eu", flying=4)])).loads == (Load("api", "api", "eu", 0, 0, 4, 0),)


def test_silence_about_a_region_of_the_last_report_is_zeros_once() -> None:
    reports = LoadReports("e1", 1.0)
    reports.read(report(api=[seen("eu", flying=4), seen("us", good=1)]))
    assert reports.read(report(api=[seen("us", good=1)])).loads == (
        Load("api", "api", "eu", 0, 0, 0, 0),
        Load("api", "api", "us", 1, 0, 0, 0),
    )
    assert [load.region_id for load in reports.read(report(api=[seen("us", good=1)])).loads] == ["us"]


def test_a_report_of_nothing_has_the_period_that_was_asked_for() -> None:
    assert LoadReports("e1", 0.25).read(load_request()) == LoadReport("e1", 0.25, ())


def test_what_is_asked_for() -> None:
    found = message(RESPONSE).FromString(wanted_reports(1.0))
    assert (found.send_all_clusters, found.report_endpoint_granularity) == (True, False)
    assert found.load_reporting_interval.ToMilliseconds() == 1000


async def test_reports_over_a_socket_become_events_and_rates() -> None:
    server = AdsServer("127.0.0.1:0")
    server.publish({"e1": snapshot(1)})
    async with serving(server) as heard, load_stream(server.address) as call:
        await call.write(load_request(node={"id": "e1"}))
        assert (await call.read()).load_reporting_interval.ToMilliseconds() == 1000
        api, lawful = seen("eu", good=1, flying=2, issued=3), seen("eu", bad=9, flying=1, issued=6)
        await call.write(report(api=[api], api__gdpr=[lawful]))
        await until(lambda: any(isinstance(one, LoadReport) for one in heard))
        state = server.states()["e1"]
        assert (dict(state.rates), dict(state.in_flight)) == ({"eu": 6.0}, {"eu": 3})


async def test_reports_of_an_edge_that_is_not_declared_are_refused() -> None:
    server = AdsServer("127.0.0.1:0")
    server.publish({"e1": snapshot(1)})
    async with serving(server) as heard, load_stream(server.address) as call:
        await call.write(load_request(node={"id": "stranger"}))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call.read()
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        assert heard == []


async def test_an_edge_that_is_away_sees_nothing_and_one_that_is_back_what_it_told_last() -> None:
    server = AdsServer("127.0.0.1:0")
    server.publish({"e1": snapshot(1)})
    async with serving(server):
        async with stream(server.address, "e1") as client, load_stream(server.address) as call:
            await client.ask(CLUSTER)
            await call.write(load_request(node={"id": "e1"}))
            await call.write(report(api=[seen("eu", good=3, flying=2)]))
            await until(lambda: server.states()["e1"].rates)
        await until(lambda: not server.states()["e1"].connected)
        assert (dict(server.states()["e1"].rates), dict(server.states()["e1"].in_flight)) == ({}, {})
        async with stream(server.address, "e1") as client:
            await client.ask(CLUSTER)
            await until(lambda: server.states()["e1"].connected)
            assert dict(server.states()["e1"].in_flight) == {"eu": 2}  # they may still be; a drain must not miss them
