"""What can go wrong in a command, the exit code that says so, and the words a person reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mahavishnu.integrations.multi_region.errors import (
    AuditBrokenError,
    ForbiddenError,
    InvalidInputError,
    MultiRegionError,
    RefusedError,
    StaleRevisionError,
    UnavailableError,
    WorldFileError,
)

DONE = 0
REFUSED = 1
USAGE = 2
UNREACHABLE = 3
DEFECT = 70
"""Exit codes: done; refused, with the reason; bad usage or input; no answer; a defect of this program."""

_BAD_INPUT = frozenset({400, 404, 405, 406, 413, 415, 422})


class UnreachableError(UnavailableError):
    """The server did not answer, or something else did."""


class ProblemError(MultiRegionError):
    """The server answered with a problem document (RFC 9457)."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = {"status": status, **problem}
        super().__init__(str(problem.get("detail") or problem.get("title") or f"the server answered {status}"))


def exit_code(err: MultiRegionError) -> int:
    """The exit code for an error."""
    match err:
        case ProblemError():
            return _code_of_problem(err)
        case RefusedError() | StaleRevisionError() | ForbiddenError() | AuditBrokenError():
            return REFUSED
        case InvalidInputError() | WorldFileError():
            return USAGE
        case UnavailableError():
            return UNREACHABLE
        case _:
            return REFUSED


def problem_of(err: MultiRegionError) -> dict[str, Any]:
    """The error as a problem document, for ``--json``; the server's own where it sent one."""
    if isinstance(err, ProblemError):
        return err.problem
    words = {REFUSED: "Refused", USAGE: "Not allowed", UNREACHABLE: "Not reachable"}
    problem: dict[str, Any] = {"title": words[exit_code(err)], "detail": str(err)}
    if isinstance(err, InvalidInputError):
        problem["errors"] = [{"field": err.field, "value": _plain(err.value), "allowed": err.allowed}]
    if isinstance(err, WorldFileError):
        problem["errors"] = [
            {"source": err.source, "line": p.line, "field": p.field, "value": _plain(p.value), "allowed": p.allowed}
            for p in err.problems
        ]
    if isinstance(err, RefusedError):
        problem |= {"rule": err.rule, "reasons": err.reasons}
    return problem


def lines_of(err: MultiRegionError) -> Iterator[str]:
    """The error in words: what and why, then each reason on a line of its own."""
    if isinstance(err, WorldFileError):
        yield from str(err).splitlines()
        return
    heads = {REFUSED: "refused", USAGE: "error", UNREACHABLE: "error"}
    yield f"{heads[exit_code(err)]}: {err}"
    reasons = getattr(err, "reasons", None)
    if isinstance(err, ProblemError):
        yield from _field_lines(err)
        reasons = err.problem.get("reasons")
    if isinstance(reasons, Mapping):
        yield from (f"  {name}: {why}" for name, why in reasons.items() if f"{name} {why}" not in str(err))


def _code_of_problem(err: ProblemError) -> int:
    if "rule" in err.problem or "reasons" in err.problem:
        return REFUSED
    if err.status >= 500:
        return UNREACHABLE
    return USAGE if err.status in _BAD_INPUT or err.problem.get("errors") else REFUSED


def _field_lines(err: ProblemError) -> Iterator[str]:
    """What is wrong with each field, unless the one field is in the detail already."""
    found = [e for e in err.problem.get("errors") or () if isinstance(e, Mapping)]
    for entry in found:
        text = f"{entry.get('field')}: {entry.get('value')!r} is not allowed; allowed: {entry.get('allowed')}"
        if text not in str(err):
            yield f"  {text}"


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
