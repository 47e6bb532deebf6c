"""What commands that change something have in common: they ask a person first, say who asks and why, and tell."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from mahavishnu.integrations.multi_region.errors import InvalidInputError, RefusedError

_NO_REASON = "no reason given"
"""What the log says where a person gave no reason and the server wants one."""


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


def account() -> str:
    """This account's name, by its number: no variable can change it."""
    import os
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def why(reason: str, *, needed: bool = False) -> dict[str, str]:
    """The reason, and the account of who asks, as the server's bodies have them."""
    said = {"reason": reason or _NO_REASON} if reason or needed else {}
    return said | {"by": account()}


def ask_for(
    server: str | None,
    token: str | None,
    path: Sequence[str],
    body: object,
    done: str | Callable[[Any], str],
    as_json: bool,
) -> Any:
    """The server's answer to a POST, printed whole or as ``done`` says it. ``path``: its segments.

    Raises ProblemError or UnreachableError when it comes to nothing.
    """
    from .client import connect, segment
    from .output import say, show_json

    answer = connect(server, token).post("/" + "/".join(map(segment, path)), body)
    if as_json:
        show_json(answer)
    else:
        say(done if isinstance(done, str) else done(answer))
    return answer
