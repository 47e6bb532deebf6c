"""Traces: one decision in so many becomes a span, with where the request went and why; without the setting, none."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from mahavishnu.integrations.multi_region.adapters.tracing.otel import OtelTracer
from mahavishnu.integrations.multi_region.errors import InvalidInputError, NoEligibleRegionError, SettingsError
from mahavishnu.integrations.multi_region.ports.tracer import MemoryTracer, Span, Tracer
from mahavishnu.integrations.multi_region.settings import PREFIX, load_settings
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter
from mahavishnu.integrations.multi_region.shell.traced_router import TracedRouter
from mahavishnu.integrations.multi_region.system import MultiRegionSystem, create_multi_region_system
from mahavishnu.integrations.multi_region.testing.builders import region

BERLIN = {"user_location": {"latitude": 52.5, "longitude": 13.4}}


@asynccontextmanager
async def running(sample: str, tracer: Tracer | None = None) -> AsyncIterator[MultiRegionSystem]:
    system = await create_multi_region_system(load_settings({f"{PREFIX}TRACE_SAMPLE": sample}), tracer=tracer)
    try:
        for name in ("eu-central-1", "us-east-1"):
            await system.region_manager.register_region(region(name))
        yield system
    finally:
        await system.close()


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> TracerProvider:
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(exporter))
    return made


async def test_a_span_says_where_a_request_went_and_why(
    provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    async with running("1", OtelTracer(provider)) as system:
        decision = await system.router.route_request(BERLIN)
    (span,) = exporter.get_finished_spans()
    assert span.name == "multi_region.route"
    assert dict(span.attributes or {}) == {
        "multi_region.region": "eu-central-1",
        "multi_region.strategy": "latency_based",
        "multi_region.revision": decision.revision,
        "multi_region.reasoning": "Selected eu-central-1 for lowest latency",
    }
    assert span.status.status_code is StatusCode.UNSET
    assert span.start_time is not None and span.end_time is not None
    assert span.end_time >= span.start_time


async def test_a_span_belongs_to_what_the_caller_was_doing(
    provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    async with running("1", OtelTracer(provider)) as system:
        with provider.get_tracer("caller").start_as_current_span("request"):
            system.router.route(BERLIN)
    inner, outer = exporter.get_finished_spans()
    assert (inner.name, outer.name) == ("multi_region.route", "request")
    assert _parent(inner) == (outer.context.span_id if outer.context else None)


async def test_a_refusal_is_an_error_with_its_reason(provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
    async with running("1", OtelTracer(provider)) as system:
        with pytest.raises(NoEligibleRegionError) as refused:
            system.router.route({"compliance_requirements": ["fedramp"]})
    (span,) = exporter.get_finished_spans()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, str(refused.value))


def test_times_are_kept(provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
    OtelTracer(provider).record(Span("x", 1.25, 2.5, {}))
    (span,) = exporter.get_finished_spans()
    assert (span.start_time, span.end_time) == (1_250_000_000, 2_500_000_000)


def test_without_an_sdk_spans_go_nowhere() -> None:
    OtelTracer().record(Span("x", 1.0, 2.0, {"a": "b"}, "broken"))


# --- sampling -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sample", "asked", "traced"), [("1", 3, 3), ("0.25", 9, 2), ("0.001", 2_000, 2)])
async def test_one_decision_in_so_many_is_traced(sample: str, asked: int, traced: int) -> None:
    tracer = MemoryTracer()
    async with running(sample, tracer) as system:
        for turn in range(asked):
            system.router.route(BERLIN, ("latency_based", "health_based")[turn % 2])
        assert system.router.get_routing_stats()["total_decisions"] == asked
    assert len(tracer.spans) == traced


async def test_the_quickest_way_takes_part() -> None:
    tracer = MemoryTracer()
    async with running("0.25", tracer) as system:
        answers = [system.router.route_place(52.5, 13.4) or system.router.route(BERLIN) for _ in range(8)]
        assert [isinstance(answer, tuple) for answer in answers] == [True, True, True, False] * 2
        assert system.router.get_routing_stats()["total_decisions"] == 8
    assert len(tracer.spans) == 2


async def test_every_answer_is_that_of_the_plain_router() -> None:
    async with running("0.5", MemoryTracer()) as system:
        plain = RegionAwareRouter(system.region_manager)
        for strategy in ("latency_based", "health_based", "round_robin") * 2:
            assert system.router.route(BERLIN, strategy) == plain.route(BERLIN, strategy)


async def test_what_is_not_allowed_is_refused_and_not_a_trace() -> None:
    tracer = MemoryTracer()
    async with running("1", tracer) as system:
        with pytest.raises(InvalidInputError):
            system.router.route({"user_location": "Berlin"})
    assert tracer.spans == []


@pytest.mark.parametrize("sample", [0.0, -0.5, 1.5, float("nan")])
def test_a_share_is_above_0_and_at_most_1(sample: float) -> None:
    with pytest.raises(InvalidInputError, match="a share above 0"):
        TracedRouter(RegionManager(), tracer=MemoryTracer(), sample=sample)


# --- wiring ---------------------------------------------------------------------------------------


async def test_without_the_setting_the_router_is_the_plain_one() -> None:
    tracer = MemoryTracer()
    async with running("0", tracer) as system:
        assert type(system.router) is RegionAwareRouter
        system.router.route(BERLIN)
    assert tracer.spans == []


async def test_the_setting_alone_is_enough() -> None:
    async with running("1") as system:
        assert isinstance(system.router, TracedRouter)
        assert system.router.route(BERLIN).selected_region == "eu-central-1"


async def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)  # as if it were not installed
    with pytest.raises(SettingsError, match=r"TRACE_SAMPLE.*mahavishnu-multi-region\[otel\]"):
        async with running("0.001"):
            pass
    async with running("0") as system:
        assert system.router.route(BERLIN).selected_region == "eu-central-1"


def _parent(span: ReadableSpan) -> Any:
    return None if span.parent is None else span.parent.span_id
