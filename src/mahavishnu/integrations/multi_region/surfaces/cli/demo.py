"""``multi-region demo``: a region fails on this machine, and a report says what its clients saw of that."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from mahavishnu.integrations.multi_region.surfaces.demo.faults import Fault

from .options import AsJson
from .output import show_json

if TYPE_CHECKING:
    from rich.console import Console

    from mahavishnu.integrations.multi_region.surfaces.demo.report import DemoReport
    from mahavishnu.integrations.multi_region.surfaces.demo.scene import Options
    from mahavishnu.integrations.multi_region.surfaces.demo.screen import Screen

PIPE_WIDTH = 110
_T = TypeVar("_T")


def demo(
    fault: Annotated[Fault, typer.Option(help="How the region fails.")] = Fault.KILL,
    seconds: Annotated[float, typer.Option(help="How long clients send requests: 6 to below 60.")] = 30.0,
    victim: Annotated[str, typer.Option(metavar="REGION", help="The region that fails.")] = "eu-west-1",
    rate: Annotated[float, typer.Option(help="Requests/s of all clients together: 8 to 400.")] = 80.0,
    seed: Annotated[int, typer.Option(help="Seed of the order in which clients begin.")] = 1,
    as_json: AsJson = False,
    svg: Annotated[Path | None, typer.Option(hidden=True, help="Also draw the report into this file.")] = None,
) -> None:
    """Start five regions, a controller and clients in eight cities, let one region fail, and report.

    Everything runs on this machine, on ports that the system picks, and is gone afterwards. Exits with 0 only when the
    demo's own promises held.

    Example: `multi-region demo --fault hang --seconds 20`
    """
    from mahavishnu.integrations.multi_region.surfaces.demo.scene import Options

    options = Options(fault, seconds, victim, rate, seed)
    console = _console()
    report = _run(_play(options, _screen(console, as_json)))
    if as_json:
        show_json(report.document())
    else:
        _print(report, console)
    if svg is not None:
        _draw(report, svg)
    if not report.ok:
        raise typer.Exit(1)


async def _play(options: Options, screen: Screen) -> DemoReport:
    from mahavishnu.integrations.multi_region.surfaces.demo.director import run_demo

    return await run_demo(options, screen)


def _run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run to the end; SIGTERM and SIGHUP stop it as Ctrl-C does, so that what it started is ended in order."""

    async def stoppable() -> _T:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await work

    try:
        return asyncio.run(stoppable())
    except asyncio.CancelledError:
        raise typer.Exit(128 + signal.SIGTERM) from None
    except KeyboardInterrupt:
        raise typer.Exit(128 + signal.SIGINT) from None


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)


def _screen(console: Console, as_json: bool) -> Screen:
    from mahavishnu.integrations.multi_region.surfaces.demo.screen import Lines, Picture, Silent

    if as_json:
        return Silent()
    return Picture(console) if console.is_terminal else Lines(console)


def _print(report: DemoReport, console: Console) -> None:
    from mahavishnu.integrations.multi_region.surfaces.demo.view import final

    console.print(final(report))


def _draw(report: DemoReport, file: Path) -> None:
    from mahavishnu.integrations.multi_region.surfaces.demo.drawing import as_svg

    file.write_text(as_svg(report), encoding="utf-8")
