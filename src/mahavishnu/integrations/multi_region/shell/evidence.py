"""Counts what real requests report, by region and by service, and remembers where each rollout step began counting."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping

from mahavishnu.integrations.multi_region.core.analysis import Sample

_Totals = dict[tuple[str | None, str], Sample]


class Evidence:
    """Running totals since the process began. After a restart a step begins to count anew: it holds until it knows."""

    def __init__(self) -> None:
        self._totals: _Totals = {}
        self._named: set[str] = set()
        self._marks: dict[Hashable, Mapping[tuple[str | None, str], Sample]] = {}

    def count(self, region_id: str, ok: bool, latency_ms: float | None, service: str | None) -> None:
        """One real request to a region, for a service when that is known."""
        timed = ok and latency_ms is not None
        self._add(region_id, service, Sample(1, int(not ok), int(timed), (latency_ms or 0.0) if timed else 0.0))

    def count_many(self, region_id: str, succeeded: int, failed: int, service: str | None) -> None:
        """Many real requests to a region of which only the counts are known."""
        self._add(region_id, service, Sample(succeeded + failed, failed))

    def _add(self, region_id: str, service: str | None, seen: Sample) -> None:
        key = service, region_id
        self._totals[key] = self._totals.get(key, Sample()).plus(seen)
        if service is not None:
            self._named.add(service)

    def since(self, mark: Hashable, service: str, regions: Iterable[str]) -> dict[str, Sample]:
        """Requests per region since ``mark`` was first asked about.

        Those that name the service; where none ever did, those that name no service at all.
        """
        names = list(regions)
        begun = self._marks.get(mark)
        if begun is None:
            keys = [(whose, region) for whose in (service, None) for region in names]
            begun = self._marks[mark] = {key: self._totals[key] for key in keys if key in self._totals}
        whose = service if service in self._named else None
        return {region: self._since(begun, (whose, region)) for region in names}

    def forget(self, mark: Hashable) -> None:
        """Drop a mark that nobody will ask about again."""
        self._marks.pop(mark, None)

    def _since(self, begun: Mapping[tuple[str | None, str], Sample], key: tuple[str | None, str]) -> Sample:
        return self._totals.get(key, Sample()).minus(begun.get(key, Sample()))
