"""``serve``: run the controller. ``token``: make a token for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import typer

from mahavishnu.integrations.multi_region.errors import InvalidInputError

from .options import AsJson

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from socket import socket

    from mahavishnu.integrations.multi_region.core.intent import Change, World
    from mahavishnu.integrations.multi_region.settings import Settings
    from mahavishnu.integrations.multi_region.surfaces.http.auth import Tokens
    from mahavishnu.integrations.multi_region.surfaces.workers.line import Boot
    from mahavishnu.integrations.multi_region.system import MultiRegionSystem

    from .controller import Begin
    from .session import Session

ACTOR = "serve"
"""Whom the event log names for what the world file changed at the start."""

LOCAL_XDS = "127.0.0.1:0"
"""Where edges on this machine are served when nothing else was said."""

NO_PROCESSES: Mapping[str, object] = MappingProxyType({})
"""The ids of other processes than this one, where there are none."""


class RoleName(StrEnum):
    """What a token may do, each role all that the ones before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class Format(StrEnum):
    """How log lines look."""

    CONSOLE = "console"
    JSON = "json"


def serve(
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", metavar="FILE", help="The world file to make the intent at the start."),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="STORE",
            help="A SQLite file, or `memory`.  [default: multi-region.db in the user's state directory]",
        ),
    ] = None,
    listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where to listen; port 0 takes any free one.")
    ] = None,
    tokens: Annotated[
        str | None, typer.Option(metavar="FILE", help="Whom to let in; needed to listen beyond this machine.")
    ] = None,
    open_reads: Annotated[bool, typer.Option(help="Whether what only looks needs no token.")] = True,
    workers: Annotated[
        str | None,
        typer.Option(metavar="N", help="Processes that answer requests for routing; 0: the controller does it itself."),
    ] = None,
    xds: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where to serve edges (Envoy) what they are to do.")
    ] = None,
    envoy: Annotated[
        bool, typer.Option("--envoy", help="Run every declared edge here: start Envoy, watch it, stop it.")
    ] = False,
    log_format: Annotated[Format | None, typer.Option(help="How log lines look.")] = None,
    log_level: Annotated[str | None, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run the controller: watch the regions, route requests, fail over.

    Prints `listening on URL` once it answers; ends in good order on SIGTERM and Ctrl-C.

    Example: `multi-region serve -f world.yaml --listen 127.0.0.1:8000`
    """
    from mahavishnu.integrations.multi_region.adapters.sinks.logs import configure_logging
    from mahavishnu.integrations.multi_region.settings import state_dir

    from .client import settings_with

    options = {
        "store": store,
        "listen": listen,
        "tokens_file": tokens,
        "workers": workers,
        "xds": xds or (LOCAL_XDS if envoy else None),
        "edges_here": "true" if envoy else None,
        "log_format": log_format,
        "log_level": log_level,
    }
    settings = settings_with(options, {"store": str(state_dir() / "multi-region.db")})
    world = None if file is None else _read(file, settings)
    known = _tokens(settings)
    configure_logging(settings.log_level.value, settings.log_format.value)
    _serve(settings, world, known, open_reads, as_json)


def token(
    name: Annotated[str, typer.Argument(help="Whose token it is; the event log names it.")],
    role: Annotated[RoleName, typer.Option(help="viewer: look; operator: act; admin: also declare.")] = RoleName.VIEWER,
    as_json: AsJson = False,
) -> None:
    """Make a token, and the line that a server's tokens file needs for it.

    The token is shown this once; the line holds only its hash.

    Example: `multi-region token alice --role operator`
    """
    from mahavishnu.integrations.multi_region.surfaces.http.auth import Tokens

    from .output import note, say, show_json

    secret, line = Tokens.issue(name, role.value)
    if as_json:
        show_json({"name": name, "role": role.value, "token": secret, "line": line})
        return
    note(f"the token of {name}, shown this once:")
    say(secret)
    note("the line for the tokens file (its mode must be 600):")
    say(line)


def _read(file: Path, settings: Settings) -> World:
    from mahavishnu.integrations.multi_region.surfaces.world.load import read_world

    return read_world(file, settings.health_check())


def _tokens(settings: Settings) -> Tokens | None:
    """Whom to let in. None: a loopback address without a tokens file; elsewhere that raises InvalidInputError."""
    from mahavishnu.integrations.multi_region.surfaces.http.auth import Tokens

    from .listening import only_this_machine

    if settings.tokens_file is not None:
        return Tokens.load(settings.tokens_file)
    if only_this_machine(settings.listen_host):
        return None
    allowed = (
        "127.0.0.1, as long as there is no tokens file. To be reached from elsewhere, make a token with "
        "`multi-region token NAME --role operator`, put its line into a file of mode 600, and add --tokens FILE"
    )
    raise InvalidInputError("--listen", settings.listen, allowed)


def _serve(settings: Settings, world: World | None, known: Tokens | None, open_reads: bool, as_json: bool) -> None:
    from mahavishnu.integrations.multi_region.surfaces.http.auth import Tokens
    from mahavishnu.integrations.multi_region.surfaces.workers.line import Boot

    from . import session
    from .controller import Door, run
    from .listening import listen_on, url_of

    with listen_on(settings.listen_host, settings.listen_port) as sock:
        url = url_of(settings.listen_host, sock)
        own: Session | None = None
        if known is None:
            secret, line = Tokens.issue("local", RoleName.ADMIN.value)
            known, own = Tokens.parse(line), session.Session(url, secret, os.getpid())
        ready = partial(_ready, url, own, as_json)
        try:
            if settings.workers:
                _serve_with_workers(settings, sock, Boot(settings, Path(), known, open_reads, world, as_json), ready)
            else:
                run(settings, Door(sock, known, open_reads), beginning(world, as_json), ready)
        finally:
            if own is not None:
                session.take_back(own)


def _serve_with_workers(settings: Settings, sock: socket, boot: Boot, ready: Callable[..., None]) -> None:
    from mahavishnu.integrations.multi_region.surfaces.workers.supervisor import Plan, supervise

    from .listening import listen_with

    sockets = listen_with(sock, settings.workers - 1)
    code = supervise(Plan(boot, sockets, "mahavishnu.integrations.multi_region.surfaces.cli.controller_process", ready))
    if code:
        raise typer.Exit(code)


def beginning(world: World | None, as_json: bool) -> Begin:
    """What is done before anybody is let in: the world, if there is one, becomes the intent, and that is shown."""

    async def begin(system: MultiRegionSystem) -> None:
        if world is not None:
            changes = await system.region_manager.apply(world, actor=ACTOR)
            await system.orchestrator.adopt_declared()
            _show_changes(changes, as_json)

    return begin


def _ready(url: str, own: Session | None, as_json: bool, processes: Mapping[str, object] = NO_PROCESSES) -> None:
    from . import session
    from .output import say, show_json_line

    place = None if own is None else str(session.leave(own))
    if as_json:
        show_json_line({"event": "listening", "url": url, "pid": os.getpid(), "token_file": place, **processes})
    else:
        say(f"listening on {url}")


def _show_changes(changes: Sequence[Change], as_json: bool) -> None:
    from .changes import record_of, show_changes
    from .output import show_json_line

    records = [record_of(change) for change in changes]
    if as_json:
        show_json_line({"event": "applied", "changes": records})
    else:
        show_changes(records, "the world is as declared: no change")
