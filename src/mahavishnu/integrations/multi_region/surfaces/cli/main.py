"""``multi-region``: the program and its commands. What a command needs is imported when it runs: help comes at once."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mahavishnu.integrations.multi_region.errors import MultiRegionError

from . import (
    data,
    demo,
    deploy,
    deployments,
    doctor,
    edge,
    edges,
    events,
    latency,
    operate,
    regions,
    route,
    serve,
    services,
    status,
    world,
)
from .errors import DEFECT, exit_code
from .options import JSON
from .output import note, show_error

TRACEBACK = "multi-region.traceback"


class Commands(TyperGroup):
    """Turns what a command raises into its reason and an exit code; a traceback is shown on request alone."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except MultiRegionError as err:
            show_error(err, bool(ctx.meta.get(JSON)))
            raise typer.Exit(exit_code(err)) from None
        except (typer.Exit, typer.Abort, typer.TyperException, BrokenPipeError):
            raise
        except Exception as err:
            if ctx.meta.get(TRACEBACK):
                raise
            note(f"a defect of this program: {type(err).__name__}: {err}")
            note("`multi-region --traceback …` shows where; please report it")
            raise typer.Exit(DEFECT) from None


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"multi-region {version('mahavishnu-multi-region')}")
        except PackageNotFoundError:
            typer.echo("multi-region (not installed)")
        raise typer.Exit


def _program(
    ctx: typer.Context,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where a defect of this program lies.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Know your regions, watch them, route each request to one that may serve it, and move traffic when one fails.

    Exit codes: 0 done, 1 refused (with the reason), 2 bad usage or input, 3 no answer from the server.

    Start with `multi-region demo`, or `multi-region serve -f world.yaml` and then `multi-region status`.
    """
    ctx.meta[TRACEBACK] = traceback


app = typer.Typer(
    name="multi-region",
    cls=Commands,
    callback=_program,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
"""The whole command line."""


def _group(name: str, help: str) -> typer.Typer:
    group = typer.Typer(no_args_is_help=True, help=help, rich_markup_mode="markdown")
    app.add_typer(group, name=name)
    return group


app.command()(demo.demo)
app.command()(serve.serve)
app.command()(serve.token)
app.command()(world.apply)
app.command()(world.schema)
app.command()(status.status)

_regions = _group("regions", "Look at regions, and change which there are.")
_regions.command("list")(regions.list_regions)
_regions.command("show")(regions.show_region)
_regions.command("add")(regions.add_region)
_regions.command("rm")(regions.remove_region)

_services = _group("services", "Look at services, and remove them.")
_services.command("list")(services.list_services)
_services.command("show")(services.show_service)
_services.command("rm")(services.remove_service)

_edges = typer.Typer(invoke_without_command=True, callback=edges.edges, rich_markup_mode="markdown")
app.add_typer(_edges, name="edges")
_edges.command("list")(edges.list_edges)
_edges.command("show")(edges.show_edge)
_edges.command("add")(edges.add_edge)
_edges.command("rm")(edges.remove_edge)

_edge = _group("edge", "Run an edge on this machine.")
_edge.command("run")(edge.run)

_policies = _group("policies", "Look at data placement policies.")
_policies.command("list")(services.list_policies)
_policies.command("show")(services.show_policy)

_data = _group("data", "Where data is and belongs, what may move, and what the law of the day says.")
_data.command("classify")(data.classify)
_data.command("place")(data.place)
_data.command("replicate")(data.replicate)
_data.command("transfers")(data.transfers)
_data.command("check")(data.check)

_deploy = _group("deploy", "Begin deployments: where a service runs, or moves to.")
_deploy.command("active-active")(deploy.active_active)
_deploy.command("active-passive")(deploy.active_passive)
_deploy.command("blue-green")(deploy.blue_green)

_deployments = _group("deployments", "Look at deployments, and hand services back.")
_deployments.command("list")(deployments.list_deployments)
_deployments.command("show")(deployments.show_deployment)
_deployments.command("failback")(deployments.fail_back)

app.command()(route.route)
app.command()(operate.failover)
app.command()(operate.drain)
app.command()(operate.undrain)
app.command()(operate.recover)
app.command("failback", hidden=True)(operate.recover)
app.command()(deployments.rollback)
app.command()(deployments.elect)
app.command()(operate.freeze)
app.command()(operate.unfreeze)

app.command("events")(events.show_events)
_audit = _group("audit", "The log of events as evidence.")
_audit.command("verify")(events.verify)

_latency = _group("latency", "Predicted round-trip times, and how good they are.")
_latency.command("evaluate")(latency.evaluate)

app.command()(doctor.doctor)


def main() -> None:
    """The console command."""
    app(prog_name="multi-region")
