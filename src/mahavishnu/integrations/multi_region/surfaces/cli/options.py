"""Options that several commands share, written once."""

from __future__ import annotations

from typing import Annotated

import typer

JSON = "multi-region.json"
"""Where the context remembers that JSON was asked for, so that errors come as JSON too."""


def _remember(ctx: typer.Context, value: bool) -> bool:
    ctx.meta[JSON] = value
    return value


AsJson = Annotated[
    bool, typer.Option("--json", callback=_remember, help="Print JSON; an error is a problem document on stdout.")
]
ServerUrl = Annotated[
    str | None, typer.Option("--server", metavar="URL", help="The server to ask.  [default: from the settings]")
]
TokenText = Annotated[
    str | None,
    typer.Option(
        "--token", metavar="TOKEN", help="Proof of who asks; not needed on the machine and account of the server."
    ),
]
RegionId = Annotated[str, typer.Argument(metavar="REGION", help="The region's id, such as eu-west-1.")]
RegionIds = Annotated[list[str], typer.Argument(metavar="REGION...", help="The regions.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first; for scripts.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it goes into the event log.")]
Follow = Annotated[bool, typer.Option("--follow", "-F", help="Show how it goes until it has settled.")]
