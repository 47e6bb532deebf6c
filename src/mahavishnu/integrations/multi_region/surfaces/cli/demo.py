"""``multi-region demo``: a region fails on this machine, and a report says what its clients saw of that."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from mahavishnu.integrations.multi_region.errors import InvalidInputError
from mahavishnu.integrations.multi_region.surfaces.demo.faults import Fault, Scenario

from .options import AsJson
from .output import show_json

if TYPE_CHECKING:
    from rich.console import Console

    from mahavishnu.integrations.multi_region.surfaces.demo.report import DemoReport
    from mahavishnu.integrations.multi_region.surfaces.demo.rollout_report import RolloutReport
    from mahavishnu.integrations.multi_region.surfaces.demo.scene import Options
    from mahavishnu.integrations.multi_region.surfaces.demo.screen import Screen

PIPE_WIDTH = 110
_T = TypeVar("_T")


def demo(
    scenario: Annotated[Scenario, typer.Option(help="What is played.")] = Scenario.FAILOVER,
    fault: Annotated[
        Fault | None,
        typer.Option(help="How the region fails; of blue-green: errors, or left out.  [default: kill]"),
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long clients send requests: 6 to below 60.")] = 30.0,
    victim: Annotated[
        str, typer.Option(metavar="REGION", help="The region that fails; of blue-green: that traffic moves to.")
    ] = "eu-west-1",
    rate: Annotated[float, typer.Option(help="Requests/s of all clients together: 8 to 400.")] = 80.0,
    seed: Annotated[int, typer.Option(help="Seed of the order in which clients begin.")] = 1,
    as_json: AsJson = False,
    svg: Annotated[Path | None, typer.Option(hidden=True, help="Also draw the report into this file.")] = None,
) -> None:
    """Start five regions, a controller and clients in eight cities, let one region fail, and report.

    `--scenario blue-green` moves a service to another region in steps instead; with `--fault errors` its new version
    turns out to be bad there.

    Everything runs on this machine, on ports that the system picks, and is gone afterwards. Exits with 0 only when the
    demo's own promises held.

    Example: `multi-region demo --fault hang --seconds 20`
    """
    options = _options(scenario, fault, seconds, victim, rate, seed)
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


def _options(scenario: Scenario, fault: Fault | None, seconds: float, victim: str, rate: float, seed: int) -> Options:
    """What is to be played. Raises InvalidInputError for a fault that the scenario does not have."""
    from mahavishnu.integrations.multi_region.surfaces.demo.rollout_scene import RolloutOptions
    from mahavishnu.integrations.multi_region.surfaces.demo.scene import Options

    if scenario is Scenario.FAILOVER:
        return Options(fault or Fault.KILL, seconds, victim, rate, seed)
    if fault not in (None, Fault.ERRORS):
        raise InvalidInputError("--fault", fault, "errors, or left out, with --scenario blue-green")
    return RolloutOptions(Fault.ERRORS, seconds, victim, rate, seed, failing=fault is Fault.ERRORS)


async def _play(options: Options, screen: Screen) -> DemoReport | RolloutReport:
    from mahavishnu.integrations.multi_region.surfaces.demo.director import run_demo
    from mahavishnu.integrations.multi_region.surfaces.demo.rollout_director import run_rollout
    from mahavishnu.integrations.multi_region.surfaces.demo.rollout_scene import RolloutOptions

    return await (run_rollout(options, screen) if isinstance(options, RolloutOptions) else run_demo(options, screen))


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


def _print(report: DemoReport | RolloutReport, console: Console) -> None:
    from mahavishnu.integrations.multi_region.surfaces.demo.rollout_report import RolloutReport
    from mahavishnu.integrations.multi_region.surfaces.demo.rollout_view import final_of_rollout
    from mahavishnu.integrations.multi_region.surfaces.demo.view import final

    console.print(final_of_rollout(report) if isinstance(report, RolloutReport) else final(report))


def _draw(report: DemoReport | RolloutReport, file: Path) -> None:
    from mahavishnu.integrations.multi_region.surfaces.demo.drawing import as_svg

    file.write_text(as_svg(report), encoding="utf-8")
