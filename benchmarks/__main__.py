"""Runs every benchmark there is, or those that are named: ``python -m benchmarks http routing``."""

from __future__ import annotations

import importlib
import inspect
import io
import pkgutil
import sys
from contextlib import redirect_stdout

import benchmarks

from .common import Table, publish

SCREEN = sys.stdout


class _Both(io.StringIO):
    """Keeps what is printed, and shows it."""

    def write(self, text: str) -> int:
        SCREEN.write(text)
        return super().write(text)


def main() -> None:
    """Run them, one after the other; each becomes a section of the results."""
    found = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name != "__main__"]
    unknown = set(sys.argv[1:]) - set(found)
    if unknown:
        raise SystemExit(f"no benchmark is called {', '.join(sorted(unknown))}; there are: {', '.join(found)}")
    for name in sys.argv[1:] or found:
        run = getattr(importlib.import_module(f"benchmarks.{name}"), "main", None)
        if run is None:
            continue
        print(f"--- {name}")
        with redirect_stdout(_Both()) as printed:
            result = run([]) if inspect.signature(run).parameters else run()
        publish(name, result if isinstance(result, Table) else printed.getvalue())
        if isinstance(result, int) and result:
            raise SystemExit(result)


if __name__ == "__main__":
    main()
