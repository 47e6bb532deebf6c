"""``doctor``: what is wrong with the set-up, and how to mend it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, ServerUrl, TokenText


def doctor(
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="A world file to check too.")
    ] = None,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Check this machine, the settings, the store, the server and its regions. Exits with 1 when something fails.

    Example: `multi-region doctor -f world.yaml`
    """
    from dataclasses import asdict

    from .checks import Level, local_checks
    from .edge_checks import edge_checks
    from .errors import REFUSED
    from .output import say, show_json, show_table
    from .remote_checks import remote_checks

    found = [*local_checks(file), *edge_checks(), *remote_checks(server, token)]
    if as_json:
        show_json([asdict(check) for check in found])
    else:
        rows = [(check.level.value, check.name, check.text) for check in found]
        show_table(("", "what", "found"), rows, empty="nothing was checked")
        for check in found:
            if check.remedy:
                say(f"{check.name}: {check.remedy}")
    if any(check.level is Level.FAIL for check in found):
        raise typer.Exit(REFUSED)
