"""What the benchmarks share: tables of results, the machine they were measured on, and ``RESULTS.md``.

A module's ``main`` returns a ``Table``, or prints; either becomes the module's section, which replaces the one before.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")

HEAD = """# Results

Written by `make bench` (`python -m benchmarks`), one section for each module. Ratios first: they hold on other
machines, absolute figures do not. What is measured is what a caller would call.
"""

PACKAGES = ("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "msgspec", "numpy")


@dataclass(frozen=True, slots=True)
class Table:
    """Figures: a row for each thing that was measured. ``notes``: how, and what to make of it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: str = ""

    def markdown(self) -> str:
        """The table, its columns lined up."""
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        lines = [self.columns, ["-" * width for width in widths], *self.rows]
        padded = ((cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
        return "\n".join([*(f"| {' | '.join(cells)} |" for cells in padded), "", self.notes]).rstrip() + "\n"


def publish(name: str, result: Table | str) -> None:
    """Print a table (text was printed before), and make it the module's section in ``RESULTS.md``."""
    title, body = (result.title, result.markdown()) if isinstance(result, Table) else (name, f"```text\n{result}```\n")
    if isinstance(result, Table):
        print(f"\n{title}\n\n{body}")
    section = f"<!-- {name} -->\n## {title}\n\n{machine()}\n\n{body}<!-- end of {name} -->\n"
    text = RESULTS.read_text() if RESULTS.exists() else HEAD
    standing = re.compile(rf"<!-- {re.escape(name)} -->\n.*?<!-- end of {re.escape(name)} -->\n", re.DOTALL)
    text = standing.sub(lambda _: section, text) if standing.search(text) else f"{text}\n{section}"
    RESULTS.write_text(text)


def machine() -> str:
    """Where and with what was measured, in a sentence."""
    today = datetime.now(UTC).date().isoformat()
    cores = os.cpu_count() or 1
    built = "" if _optimised() else " (built without profile-guided optimisation)"
    return (
        f"{today}, {_cpu()}, {cores} cores, {platform.system()} {platform.release().partition('-')[0]}, "
        f"{platform.python_implementation()} {platform.python_version()}{built}; {_versions()}."
    )


def tool(name: str, package: str) -> str:
    """The path of a program, installed from Debian's packages if it is missing and we may. Raises SystemExit."""
    found = shutil.which(name)
    if found is None and hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing {package} …")
        subprocess.run(["apt-get", "install", "--yes", "--quiet", package], stdout=subprocess.DEVNULL, check=False)
        found = shutil.which(name)
    if found is None:
        raise SystemExit(f"{name} is needed for this benchmark and was not found: apt-get install {package}")
    return found


def _cpu() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _versions() -> str:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _optimised() -> bool:
    return "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
