"""The report as an SVG that names no other address: whoever opens it, nothing is fetched."""

from __future__ import annotations

import io
import re

from rich.console import Console

from .report import DemoReport
from .view import WIDTH, final

FONT = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def as_svg(report: DemoReport) -> str:
    """The report as drawn on a terminal, as an SVG document."""
    console = Console(record=True, file=io.StringIO(), width=WIDTH, force_terminal=True, color_system="truecolor")
    console.print(final(report))
    return without_fonts(console.export_svg(title="multi-region demo", unique_id="demo"))


def without_fonts(svg: str) -> str:
    """The same document with fonts that are on every machine instead of fonts from the network."""
    plain = re.sub(r"@font-face\s*\{.*?\}", "", svg, flags=re.DOTALL)
    plain = re.sub(r"font-family:\s*Fira Code[^;]*;", f"font-family: {FONT};", plain)
    return re.sub(r"<!--.*?-->", "", plain, flags=re.DOTALL)
