"""Asking before something is changed."""

from __future__ import annotations

import sys

import typer

from mahavishnu.integrations.multi_region.errors import InvalidInputError, RefusedError


def agreed(what: str, question: str, yes: bool, as_json: bool) -> None:
    """Return once the person agrees, or at once with ``yes``. ``what`` says what will be done.

    Raises RefusedError when they do not; InvalidInputError where nobody can be asked.
    """
    if yes:
        return
    if as_json:
        raise InvalidInputError("--yes", "left out", "to be given together with --json: there is nobody to ask")
    from .output import note

    note(what)
    try:
        if typer.confirm(question, err=True):
            return
    except typer.Abort:
        print(file=sys.stderr)
    raise RefusedError("not_confirmed", "not confirmed; nothing was changed (add --yes in scripts)")
