"""``events``: what happened, and what happens. ``audit verify``: that the record of it is whole."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mahavishnu.integrations.multi_region.errors import InvalidInputError

from .options import AsJson, ServerUrl, TokenText

if TYPE_CHECKING:
    from .client import Remote


def show_events(
    follow: Annotated[bool, typer.Option("--follow", "-F", help="Then go on with new ones, until stopped.")] = False,
    after: Annotated[int | None, typer.Option(min=0, help="Those after this number, oldest first.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most, before following.")] = 50,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Show the newest events, or those after a number. With `--json` a list, or while following one object a line.

    Example: `multi-region events --follow`
    """
    from .client import connect
    from .output import say, show_json

    remote = connect(server, token)
    page = remote.get("/v1/events", after=after, limit=limit)
    if follow:
        _follow(remote, page, as_json)
    elif as_json:
        show_json(page["events"])
    else:
        for event in page["events"]:
            _show(event, as_json=False)
        if not page["events"]:
            say("no event")


def verify(
    store: Annotated[
        str | None, typer.Option(metavar="PATH", help="Read this SQLite file instead of asking the server.")
    ] = None,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Prove that no event was altered, removed, moved or added since it was written.

    Example: `multi-region audit verify --store /var/lib/multi-region/multi-region.db`
    """
    from .client import connect
    from .output import say, show_json

    if store is None:
        answer = connect(server, token).get("/v1/audit/verify")
    else:
        answer = {"events": asyncio.run(_verify_file(_path(store))), "valid": True}
    if as_json:
        show_json(answer)
    else:
        say(f"the log is whole: {answer['events']} events, each follows from the one before")


def _follow(remote: Remote, page: dict[str, Any], as_json: bool) -> None:
    from .output import note

    async def go_on() -> None:
        async for event in remote.events(page["last"], note):
            _show(event, as_json)

    for event in page["events"]:
        _show(event, as_json)
    try:
        asyncio.run(go_on())
    except KeyboardInterrupt:
        raise typer.Exit from None  # how one stops following


def _show(event: dict[str, Any], as_json: bool) -> None:
    from .output import local_time, say, show_json_line

    if as_json:
        show_json_line(event)
        return
    who = event["actor"] + (f": {event['reason']}" if event["reason"] else "")
    target = event["details"].get("to")
    subject = event["subject"] + (f" -> {target}" if target else "")
    say(f"{event['seq']:>6}  {local_time(event['at'])}  {event['kind']}  {subject}  by {who}")


def _path(store: str) -> Path:
    """The file that an option names, as ``serve --store`` takes it. Raises InvalidInputError where there is none."""
    path = Path(store.removeprefix("sqlite:///"))
    if not path.is_file():
        raise InvalidInputError("--store", store, "a SQLite file that is there")
    return path


async def _verify_file(path: Path) -> int:
    from mahavishnu.integrations.multi_region.adapters.stores.sqlite import SqliteStore
    from mahavishnu.integrations.multi_region.shell.event_log import EventLog

    store = await SqliteStore.open(path)
    try:
        return await EventLog(store).verify()
    finally:
        await store.close()
