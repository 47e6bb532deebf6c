"""Edges: real Envoys steered by us, beside HAProxy, Envoy alone and nginx direct: ``python -m benchmarks edges``.

``python -m benchmarks.edges --quick`` tries everything out in a minute and keeps no figures; ``--only faults`` measures
one part. It needs nginx, wrk and HAProxy, and root where packets are to be dropped; what cannot be measured here says
so in its row.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

import uvicorn

from . import (
    edges_faults as faults,
    edges_first as first,
    edges_operator as operator,
    edges_push as push,
    edges_throughput as throughput,
)
from .common import Table, publish
from .edges_parts import FRAMEWORKS, Missing

Part = Callable[[bool], Awaitable[Sequence[Table]]]


async def _first(quick: bool) -> Sequence[Table]:
    sizes: list[tuple[int, tuple[str, ...]]] = [(1, ()), (4, FRAMEWORKS)]
    return await first.tables(sizes if quick else [*sizes, (35, FRAMEWORKS)], 5 if quick else 50, 2 if quick else 6)


async def _operator(quick: bool) -> Sequence[Table]:
    return [await operator.table(operator.SIZES[: 1 if quick else 2], 5 if quick else 50)]


async def _push(quick: bool) -> Sequence[Table]:
    return [await push.table((1, 10) if quick else (1, 10, 100), 2 if quick else 6, 4 if quick else push.SERVICES)]


async def _throughput(quick: bool) -> Sequence[Table]:
    return [await throughput.table(1 if quick else 4, 1 if quick else 2)]


async def _faults(quick: bool) -> Sequence[Table]:
    rate, said = await faults.carried()
    ways = (faults.Way.TIMED, faults.Way.HAPROXY) if quick else tuple(faults.Way)
    kinds = (faults.Fault.KILL,) if quick else tuple(faults.Fault)
    found = await faults.table(faults.Plan(ways, kinds, (False,) if quick else (False, True), rate))
    return [Table(found.title, found.columns, found.rows, f"The rate was found by trying, through Envoy: {said}.")]


PARTS: dict[str, Part] = {
    "first": _first,
    "operator": _operator,
    "push": _push,
    "throughput": _throughput,
    "faults": _faults,
}


async def measure(names: Sequence[str], quick: bool) -> list[Table]:
    """The tables of these parts; one that cannot be measured says why."""
    found: list[Table] = []
    for name in names:
        began = time.perf_counter()
        try:
            found += await PARTS[name](quick)
        except Missing as err:
            found.append(Table(name, ("not measured",), [(str(err),)]))
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    return found


def main(arguments: list[str] | None = None) -> Table:
    """Measure; the tables as one section."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.edges", description=__doc__)
    options.add_argument("--quick", action="store_true", help="a minute, to see that everything works")
    options.add_argument("--only", choices=PARTS, help="one part")
    given = options.parse_args(arguments or [])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started is ended
    with asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:
        tables = runner.run(measure([given.only] if given.only else list(PARTS), given.quick))
    return together(tables)


def together(tables: Sequence[Table]) -> Table:
    """One section: the first table, the others in its notes, each with its title."""
    head, *others = tables
    rest = "\n".join(f"### {one.title}\n\n{one.markdown()}" for one in others)
    return Table(f"Through Envoy: {head.title}", head.columns, head.rows, f"{head.notes}\n{rest}\n{NOTES}")


NOTES = """`p50 / p99`; where many were taken, of all. What each row is, and what to make of it, is in
[Through Envoy](../docs/performance.md#through-envoy)."""


if __name__ == "__main__":
    table = main(sys.argv[1:])
    if len(sys.argv) == 1:
        publish("edges", table)
    else:
        print(f"\n{table.title}\n\n{table.markdown()}")
