"""The core, and the errors it raises, are pure: standard library only, and of that nothing which reaches outside."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mahavishnu.integrations.multi_region.core as core_package

PACKAGE = "mahavishnu.integrations.multi_region"
CORE = Path(core_package.__path__[0])
SOURCES = sorted([*CORE.rglob("*.py"), CORE.parent / "errors.py"])

OWN = (f"{PACKAGE}.core", f"{PACKAGE}.errors")
REACHES_OUTSIDE = {
    *("asyncio", "concurrent", "multiprocessing", "queue", "sched", "select", "selectors", "signal", "subprocess"),
    *("contextvars", "thread", "threading", "_thread"),
    *("fileinput", "fcntl", "glob", "importlib", "io", "os", "pathlib", "shutil", "sqlite3", "sys", "tempfile"),
    *("email", "ftplib", "http", "imaplib", "smtplib", "socket", "socketserver", "ssl", "urllib", "xmlrpc"),
    *("logging", "platform", "random", "secrets", "syslog", "time", "uuid", "warnings", "zoneinfo"),
}
HARMLESS_PART = {"urllib.parse"}
REACHING_CALLS = {"__import__", "breakpoint", "eval", "exec", "input", "open", "print"}
CLOCK_READS = {"now", "today", "utcnow"}


def imported_names(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[str]:
    """Full dotted names that one import statement asks for; ``package`` is where the statement stands."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    base = ".".join([*above, *([node.module] if node.module else [])])
    yield from (f"{base}.{alias.name}" for alias in node.names)


def import_objection(name: str) -> str | None:
    """Why a pure module may not import ``name``, or None."""
    if any(name == own or name.startswith(f"{own}.") for own in OWN):
        return None
    top = name.partition(".")[0]
    if top not in sys.stdlib_module_names:
        return f"imports {name}, which is neither the standard library nor the core"
    if top in REACHES_OUTSIDE and not any(name == part or name.startswith(f"{part}.") for part in HARMLESS_PART):
        return f"imports {name}, which reaches outside"
    return None


def call_objection(node: ast.Call) -> str | None:
    """Why a pure module may not make this call, or None."""
    called = node.func
    if isinstance(called, ast.Name) and called.id in REACHING_CALLS:
        return f"calls {called.id}()"
    if isinstance(called, ast.Attribute) and called.attr in CLOCK_READS:
        return f"reads the clock with .{called.attr}()"
    return None


def objections(source: str, package: str) -> list[str]:
    """Everything impure in a module's text, with its line; ``package`` is the module's own package."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found += [(node.lineno, why) for name in imported_names(node, package) if (why := import_objection(name))]
        elif isinstance(node, ast.Call) and (why := call_objection(node)):
            found.append((node.lineno, why))
        elif isinstance(node, ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await):
            found.append((node.lineno, "waits for an event loop"))
    return [f"line {line}: {why}" for line, why in sorted(found)]


def package_of(path: Path) -> str:
    """The dotted package that a source file of ours belongs to."""
    return ".".join([PACKAGE, *path.relative_to(CORE.parent).parent.parts])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(CORE.parent).as_posix())
def test_module_is_pure(path: Path) -> None:
    assert objections(path.read_text(encoding="utf-8"), package_of(path)) == []


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import pydantic", "neither the standard library nor the core"),
        ("from numpy import array", "neither the standard library nor the core"),
        ("from mahavishnu.integrations.multi_region.ports.clock import Clock", "neither"),
        ("from ..settings import Settings", "imports mahavishnu.integrations.multi_region.settings.Settings"),
        ("from .. import facts", "imports mahavishnu.integrations.multi_region.facts"),
        ("import asyncio", "reaches outside"),
        ("from os import environ", "reaches outside"),
        ("import urllib.request", "reaches outside"),
        ("def f():\n    import random", "line 2: imports random"),
        ("text = open('x').read()", "calls open()"),
        ("at = datetime.now()", "reads the clock"),
        ("async def f(): ...", "event loop"),
    ],
)
def test_impurity_is_found(source: str, says: str) -> None:
    (found,) = objections(source, f"{PACKAGE}.core")
    assert says in found


@pytest.mark.parametrize(
    "source",
    [
        "import math, json, hashlib",
        "from urllib.parse import urlsplit",
        "from datetime import datetime\nat = datetime.fromtimestamp(0)",
        "from .model import Region",
        "from ..errors import RefusedError",
        f"from {PACKAGE}.errors import RefusedError",
    ],
)
def test_what_is_pure_is_accepted(source: str) -> None:
    assert objections(source, f"{PACKAGE}.core") == []
