"""The report as an SVG that names no other address: whoever opens it, nothing is fetched."""

from __future__ import annotations

import io
import re

from rich.console import Console, RenderableType

from .edge_report import EdgeReport
from .edge_view import final_with_edges
from .pieces import WIDTH
from .report import DemoReport
from .rollout_report import RolloutReport
from .rollout_view import final_of_rollout
from .view import final

FONT = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


AnyReport = DemoReport | RolloutReport | EdgeReport


def drawn(report: AnyReport) -> RenderableType:
    """A report of any scenario, drawn for a terminal."""
    match report:
        case EdgeReport():
            return final_with_edges(report)
        case RolloutReport():
            return final_of_rollout(report)
        case _:
            return final(report)


def as_svg(report: AnyReport) -> str:
    """The report as drawn on a terminal, as an SVG document."""
    console = Console(record=True, file=io.StringIO(), width=WIDTH, force_terminal=True, color_system="truecolor")
    console.print(drawn(report))
    return without_fonts(console.export_svg(title="multi-region demo", unique_id="demo"))


def without_fonts(svg: str) -> str:
    """An SVG document with fonts that are on every machine instead of fonts from the network."""
    plain = re.sub(r"@font-face\s*\{.*?\}", "", svg, flags=re.DOTALL)
    plain = re.sub(r"font-family:\s*Fira Code[^;]*;", f"font-family: {FONT};", plain)
    return re.sub(r"<!--.*?-->", "", plain, flags=re.DOTALL)
