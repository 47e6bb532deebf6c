"""``apply``: make a world file the intent. ``schema``: what such a file may say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .options import AsJson, ServerUrl, TokenText


def apply(
    file: Annotated[Path, typer.Option("--file", "-f", metavar="FILE", help="The world file, YAML.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference, change nothing.")] = False,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Make a world file the intent, all or nothing; what it does not name is removed.

    The file is checked here first, and every problem is shown with its line.

    Example: `multi-region apply -f world.yaml --dry-run`
    """
    from .changes import show_changes
    from .client import connect
    from .output import note, say, show_json

    world = _checked(file)
    answer = connect(server, token).post("/v1/apply", world, dry_run=dry_run)
    for warning in answer["warnings"]:
        note(f"warning: {warning}")
    if as_json:
        show_json(answer["changes"])
        return
    show_changes(answer["changes"], "no change")
    if answer["changes"]:
        say("nothing was changed: this was a dry run" if dry_run else f"applied, revision {answer['revision']}")


def schema() -> None:
    """Print the JSON Schema of the world file, for editors.

    Example: `multi-region schema > world.schema.json`
    """
    from mahavishnu.integrations.multi_region.surfaces.world.load import world_schema

    from .output import show_json

    show_json(world_schema())


def _checked(file: Path) -> Any:
    """What the file says, once it is known to hold together. Raises WorldFileError with every problem."""
    from mahavishnu.integrations.multi_region.surfaces.world.load import read_world
    from mahavishnu.integrations.multi_region.surfaces.world.nodes import parse_yaml

    from .client import settings_with

    read_world(file, settings_with({}).health_check())
    return parse_yaml(file.read_text("utf-8-sig"), str(file)).data
