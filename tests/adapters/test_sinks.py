"""Events as log lines and as figures."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from mahavishnu.integrations.multi_region.adapters.sinks.logs import LogSink, configure_logging
from mahavishnu.integrations.multi_region.adapters.sinks.metrics import (
    EdgeFigures,
    MetricsSink,
    MetricsSnapshot,
    RegionFigures,
    RoundTripFigures,
    exposition,
)
from mahavishnu.integrations.multi_region.core.events import GENESIS, ChainedEvent, Event, EventKind, chain
from mahavishnu.integrations.multi_region.core.model import Phase

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def entry(kind: EventKind, seq: int = 1, **parts: Any) -> ChainedEvent:
    event = Event(**{"kind": kind, "at": 1000.5, "subject": "eu-west-1", **parts})
    return chain(event, seq, GENESIS)[0]


@pytest.fixture
def _logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def logged(*entries: ChainedEvent, level: str = "info", format: str = "json") -> list[str]:
    """The lines that a log sink writes for these events."""
    stream = io.StringIO()
    sink = LogSink()
    configure_logging(level, format, stream)
    for one in entries:
        sink.take(one)
    return stream.getvalue().splitlines()


# --- log lines --------------------------------------------------------------------------------


@pytest.mark.usefixtures("_logging_restored")
class TestLogSink:
    def test_an_event_is_one_line_with_its_parts_as_fields(self) -> None:
        happened = entry(
            EventKind.FAILOVER_COMPLETED,
            seq=7,
            actor="ann",
            reason="probe timed out",
            before={"region": "eu-west-1"},
            after={"region": "eu-central-1"},
            details={"duration_ms": 150, "share": 0.5},
        )
        (line,) = logged(happened)
        fields = json.loads(line)
        assert fields.pop("timestamp").endswith("Z")
        assert fields == {
            "event": "failover.completed",
            "level": "warning",
            "logger": "mahavishnu.multi_region.events",
            "subject": "eu-west-1",
            "reason": "probe timed out",
            "actor": "ann",
            "seq": 7,
            "at": 1000.5,
            "before": {"region": "eu-west-1"},
            "after": {"region": "eu-central-1"},
            "duration_ms": 150,
            "share": 0.5,
        }

    def test_credentials_of_probes_are_not_written(self) -> None:
        before, after = ({"health": {"path": "/", "headers": {"authorization": word}}} for word in ("old-1", "new-2"))
        updated = entry(EventKind.REGION_UPDATED, before=before, after=after)
        lines = logged(entry(EventKind.REGION_REGISTERED, after=before), updated)
        assert len(lines) == 2 and not [line for line in lines if "old-1" in line or "new-2" in line]
        assert json.loads(lines[1])["after"]["health"]["path"] == "/"

    def test_before_and_after_appear_only_where_there_are_any(self) -> None:
        (line,) = logged(entry(EventKind.DRAIN_STARTED))
        assert not {"before", "after"} & json.loads(line).keys()

    @pytest.mark.parametrize(
        "name",
        [
            "event",
            "level",
            "logger",
            "timestamp",
            "self",
            "_record",
            "seq",
            "subject",
            "before",
            "exc_info",
            "extra",
            "stacklevel",
        ],
    )
    def test_a_detail_whose_name_is_taken_gets_another(self, name: str) -> None:
        (line,) = logged(entry(EventKind.HEALTH_CHANGED, details={name: "mine"}))
        fields = json.loads(line)
        assert fields[f"detail_{name}"] == "mine"
        assert fields["event"] == "health.changed"

    @pytest.mark.parametrize("kind", list(EventKind))
    def test_every_kind_makes_one_line(self, kind: EventKind) -> None:
        (line,) = logged(entry(kind))
        assert json.loads(line)["event"] == kind.value

    def test_what_json_does_not_know_is_written_as_text(self) -> None:
        details = {"where": set}
        (line,) = logged(ChainedEvent(1, Event(EventKind.HEALTH_CHANGED, 0.0, "a", details=details), GENESIS, GENESIS))
        assert json.loads(line)["where"] == "<class 'set'>"

    def test_lines_below_the_level_are_left_out(self) -> None:
        entries = [entry(EventKind.REGION_REGISTERED), entry(EventKind.FAILOVER_REFUSED)]
        lines = logged(*entries, level="warning")
        assert [json.loads(line)["event"] for line in lines] == ["failover.refused"]

    def test_the_console_form_is_for_people_and_without_colours_where_no_terminal_is(self) -> None:
        (line,) = logged(entry(EventKind.DRAIN_STARTED, reason="maintenance"), format="console")
        assert "drain.started" in line
        assert "reason=maintenance" in line
        assert "\x1b" not in line

    def test_a_line_break_in_a_reason_does_not_make_a_second_line(self) -> None:
        happened = entry(EventKind.DRAIN_STARTED, reason="one\ntwo")
        assert len(logged(happened)) == 1
        assert len(logged(happened, format="console")) == 1

    def test_lines_of_other_libraries_take_the_same_form(self) -> None:
        stream = io.StringIO()
        configure_logging("info", "json", stream)
        logging.getLogger("some.library").info("listening on %s", "127.0.0.1")
        fields = json.loads(stream.getvalue())
        assert (fields["event"], fields["logger"], fields["level"]) == (
            "listening on 127.0.0.1",
            "some.library",
            "info",
        )

    @pytest.mark.parametrize("format", ["console", "json"])
    def test_a_traceback_tells_where_and_what_but_no_local_variables(self, format: str) -> None:
        stream = io.StringIO()
        configure_logging("info", format, stream)
        self._fail("Bearer a-secret")
        said = stream.getvalue()
        assert "_fail" in said and "ZeroDivisionError" in said
        assert "a-secret" not in said

    @staticmethod
    def _fail(authorization: str) -> None:
        try:
            len(authorization) // 0
        except ZeroDivisionError:
            logging.getLogger("some.library").exception("it failed")

    def test_a_stream_that_is_gone_does_not_raise(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        stream = io.StringIO()
        configure_logging("info", "json", stream)
        stream.close()
        LogSink().take(entry(EventKind.DRAIN_STARTED))
        assert "closed file" in capsys.readouterr().err


# --- figures ----------------------------------------------------------------------------------


async def scrape(now: MetricsSnapshot) -> Samples:
    """Every sample of a snapshot, as Prometheus would read its text."""
    families = text_string_to_metric_families((await exposition(now)).decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_the_sink_counts_events_by_kind() -> None:
    sink = MetricsSink()
    for _ in range(4):
        sink.take(entry(EventKind.FAILOVER_COMPLETED))
    sink.take(entry(EventKind.FAILOVER_REFUSED))
    assert sink.events == {"failover.completed": 4, "failover.refused": 1}


async def test_a_snapshot_becomes_metrics() -> None:
    snapshot = MetricsSnapshot(
        regions=(
            RegionFigures("a", Phase.HEALTHY, 95.0, 30.0, 100.0, True),
            RegionFigures("b", Phase.UNKNOWN, None, 0.0, 50.0, False),
        ),
        decisions={("a", "latency_based"): 7, ("a", "round_robin"): 2},
        refused={"route": 3},
        events={"drain.started": 1},
        failovers=2,
        failover_seconds=0.5,
        edges=(EdgeFigures("e", True, False, 3, 2, {"a": 12.5, "b": 0.5}, serving=False), EdgeFigures("f")),
        round_trips=RoundTripFigures(9, {"impossible": 0, "outlier": 4}, 2, 5, 1),
    )
    samples = await scrape(snapshot)
    phases = {"unknown": 1, "healthy": 1, "degraded": 0, "saturated": 0, "down": 0}
    expected: Samples = {("multi_region_regions", (("phase", p),)): float(n) for p, n in phases.items()}
    expected |= {
        ("multi_region_region_health_score", (("region", "a"),)): 95.0,
        ("multi_region_region_load", (("region", "a"),)): 30.0,
        ("multi_region_region_load", (("region", "b"),)): 0.0,
        ("multi_region_region_capacity", (("region", "a"),)): 100.0,
        ("multi_region_region_capacity", (("region", "b"),)): 50.0,
        ("multi_region_region_serving", (("region", "a"),)): 1.0,
        ("multi_region_region_serving", (("region", "b"),)): 0.0,
        ("multi_region_decisions_total", (("region", "a"), ("strategy", "latency_based"))): 7.0,
        ("multi_region_decisions_total", (("region", "a"), ("strategy", "round_robin"))): 2.0,
        ("multi_region_refused_total", (("what", "route"),)): 3.0,
        ("multi_region_events_total", (("kind", "drain.started"),)): 1.0,
        ("multi_region_failovers_total", ()): 2.0,
        ("multi_region_failover_duration_seconds_count", ()): 2.0,
        ("multi_region_failover_duration_seconds_sum", ()): 0.5,
        ("multi_region_round_trips_total", ()): 9.0,
        ("multi_region_round_trips_refused_total", (("reason", "impossible"),)): 0.0,
        ("multi_region_round_trips_refused_total", (("reason", "outlier"),)): 4.0,
        ("multi_region_round_trips_regions", ()): 2.0,
        ("multi_region_round_trips_cells", ()): 5.0,
        ("multi_region_round_trips_unwritten", ()): 1.0,
        ("multi_region_edge_connected", (("edge", "e"),)): 1.0,
        ("multi_region_edge_connected", (("edge", "f"),)): 0.0,
        ("multi_region_edge_synced", (("edge", "e"),)): 0.0,
        ("multi_region_edge_synced", (("edge", "f"),)): 0.0,
        ("multi_region_edge_serving", (("edge", "e"),)): 0.0,
        ("multi_region_edge_rejections", (("edge", "e"),)): 3.0,
        ("multi_region_edge_rejections", (("edge", "f"),)): 0.0,
        ("multi_region_edge_astray", (("edge", "e"),)): 2.0,
        ("multi_region_edge_astray", (("edge", "f"),)): 0.0,
        ("multi_region_edge_requests_per_second", (("edge", "e"), ("region", "a"))): 12.5,
        ("multi_region_edge_requests_per_second", (("edge", "e"), ("region", "b"))): 0.5,
    }
    assert samples == expected


async def test_a_region_that_left_is_gone() -> None:
    before = MetricsSnapshot(regions=(RegionFigures("a", Phase.DOWN, 0.0, 0.0, 1.0, False),))
    assert ("multi_region_region_serving", (("region", "a"),)) in await scrape(before)
    samples = await scrape(MetricsSnapshot(failovers=1))
    assert ("multi_region_region_serving", (("region", "a"),)) not in samples
    assert samples["multi_region_failovers_total", ()] == 1.0


async def test_nothing_enters_the_global_registry() -> None:
    await exposition(MetricsSnapshot())
    assert b"multi_region" not in generate_latest(REGISTRY)


async def test_a_name_from_outside_cannot_break_the_text() -> None:
    odd = 'a"} 1\nmulti_region_failovers_total 99'
    snapshot = MetricsSnapshot(regions=(RegionFigures(odd, Phase.HEALTHY, 1.0, 0.0, 1.0, True),))
    samples = await scrape(snapshot)
    assert samples["multi_region_region_load", (("region", odd),)] == 0.0
    assert samples["multi_region_failovers_total", ()] == 0.0
