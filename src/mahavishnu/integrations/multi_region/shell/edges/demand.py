"""How much traffic each class has at each edge, added up over regions from what edges report.

What counts as a change is decided in ``core/demand.py``; here the figures are kept, and forgotten with their edge.
"""

from __future__ import annotations

from collections.abc import Container
from types import MappingProxyType

from mahavishnu.integrations.multi_region.core.demand import Demand, Smoothed
from mahavishnu.integrations.multi_region.ports.dataplane import LoadReport


class EdgeDemand:
    """Takes load reports, and tells the demand that plans go by."""

    def __init__(self) -> None:
        self._edges: dict[str, dict[str, Smoothed]] = {}

    def take(self, told: LoadReport) -> None:
        """An edge tells what it saw since it told last; of a class that it does not name, it saw nothing."""
        rates = told.class_rates()
        before = self._edges.get(told.edge_id, {})
        after = {
            name: before.get(name, Smoothed()).after(rates.get(name, 0.0), told.period_s)
            for name in sorted({*before, *rates})
        }
        self._edges[told.edge_id] = {name: one for name, one in after.items() if one.rate}

    def told(self, fresh: Container[str]) -> Demand:
        """The demand at the edges whose reports are fresh; the others are forgotten."""
        self._edges = {edge_id: classes for edge_id, classes in self._edges.items() if edge_id in fresh}
        return MappingProxyType(
            {
                (edge_id, name): one.told
                for edge_id, classes in sorted(self._edges.items())
                for name, one in classes.items()
                if one.told
            }
        )
