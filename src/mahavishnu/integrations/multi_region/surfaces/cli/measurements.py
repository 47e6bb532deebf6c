"""Reads a CSV file of measured round trips; everything that is wrong with it is reported at once, with line numbers."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from mahavishnu.integrations.multi_region.core.geo import check_point, distance_km
from mahavishnu.integrations.multi_region.core.model import Point
from mahavishnu.integrations.multi_region.core.residuals import check_rtt
from mahavishnu.integrations.multi_region.errors import InvalidInputError, WorldFileError, WorldProblem, nearest_hint
from mahavishnu.integrations.multi_region.facts import catalog, places

NEEDED = ("latitude", "longitude", "region", "rtt_ms")
COUNTRY = "country"
MOST_PROBLEMS = 50
MOST_CHARS = 64 * 1024 * 1024


class MeasurementFileError(WorldFileError):
    """A file of measurements does not say what it must; lists every problem (50 at most), each with its line."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a region stands. ``country``: ISO 3166-1 alpha-2, None when it is not known."""

    point: Point
    country: str | None


@dataclass(frozen=True, slots=True)
class Client:
    """One place that was measured from: its median round trip in ms to each region."""

    point: Point
    country: str | None
    rtt_ms: Mapping[str, float]

    @property
    def name(self) -> str:
        """The place in words."""
        where = f"{self.point.latitude:g}, {self.point.longitude:g}"
        return f"{where} ({self.country})" if self.country else where


@dataclass(frozen=True, slots=True)
class Measurements:
    """What a file holds: rows, the places with two regions or more, how many had only one, and the regions' sites."""

    rows: int
    clients: tuple[Client, ...]
    left_out: int
    sites: Mapping[str, Site]


@dataclass(frozen=True, slots=True)
class _Record:
    """What a file says by column, the line on which that ends, and what is beyond the columns that the header names."""

    line: int
    values: Mapping[str, str]
    surplus: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    point: Point
    country: str | None
    region: str
    ms: float


def sites_in(world: Path | None) -> dict[str, Site]:
    """The regions that a world file declares, none without a file. Raises WorldFileError."""
    if world is None:
        return {}
    from mahavishnu.integrations.multi_region.surfaces.world.load import read_world

    regions = read_world(world).regions
    return {r.region_id: Site(Point(r.latitude, r.longitude), r.country) for r in regions}


def read_measurements(path: Path, own: Mapping[str, Site]) -> Measurements:
    """The measurements in a CSV file (UTF-8, with a header). A region is one of ``own``, or the catalog's of that id.

    Raises MeasurementFileError when the file cannot be read, a value is not allowed, or no place has two regions.
    """
    problems: list[WorldProblem] = []
    sites = dict(own)
    rows = list(_rows(_records(path), sites, problems))
    if problems:
        raise MeasurementFileError(str(path), problems)
    clients = _clients(rows)
    able = tuple(client for client in clients if len(client.rtt_ms) > 1)
    if not able:
        needed = "a place from which two regions or more were measured: else there is nothing to choose"
        raise MeasurementFileError(str(path), [WorldProblem(0, "file", f"{len(rows)} measurements", needed)])
    return Measurements(len(rows), able, len(clients) - len(able), sites)


def _records(path: Path) -> list[_Record]:
    """Each record. Raises MeasurementFileError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            text = file.read(MOST_CHARS + 1)
    except (OSError, ValueError) as err:
        why = getattr(err, "strerror", None) or str(err)
        raise _unreadable(path, 0, str(path), f"a file in UTF-8 that can be read ({why})") from err
    if len(text) > MOST_CHARS:
        raise _unreadable(path, 0, str(path), f"a file of at most {MOST_CHARS:,} characters")
    reader = csv.DictReader(text.splitlines(keepends=True), skipinitialspace=True)
    try:
        header = [name.strip() for name in reader.fieldnames or ()]
        _check_header(path, header)
        reader.fieldnames = header
        return [_record(reader.line_num, record) for record in reader]
    except csv.Error as err:
        raise _unreadable(path, reader.line_num, "this line", f"CSV ({err})") from err


def _record(line: int, record: Mapping[str | None, Any]) -> _Record:
    """A record as ``csv`` reads it: what is beyond the header is a list under None, what is missing is None."""
    return _Record(line, {k: v or "" for k, v in record.items() if k}, tuple(record.get(None, ())))


def _check_header(path: Path, header: list[str]) -> None:
    twice = next((name for at, name in enumerate(header) if name and name in header[:at]), None)
    if twice is not None:
        allowed = f"a header that names each column once; {twice!r} stands there {header.count(twice)} times"
        raise MeasurementFileError(str(path), [WorldProblem(1, twice, ",".join(header), allowed)])
    missing = [name for name in NEEDED if name not in header]
    if missing:
        allowed = f"a header that names {', '.join(NEEDED)} and perhaps {COUNTRY}; missing: {', '.join(missing)}"
        raise _unreadable(path, 1, ",".join(header), allowed)


def _unreadable(path: Path, line: int, found: str, allowed: str) -> MeasurementFileError:
    return MeasurementFileError(str(path), [WorldProblem(line, "file", found, allowed)])


def _rows(records: list[_Record], sites: dict[str, Site], problems: list[WorldProblem]) -> Iterator[_Row]:
    """The records that say what they must; what is wrong with the others goes into ``problems``."""
    for record in records:
        if len(problems) >= MOST_PROBLEMS:
            return
        try:
            yield _row(record, sites)
        except InvalidInputError as err:
            problems.append(WorldProblem(record.line, err.field, err.value, err.allowed))


def _row(record: _Record, sites: dict[str, Site]) -> _Row:
    values = record.values
    if record.surplus:
        allowed = "as many values as the header names columns; one that holds a comma stands in quotes"
        raise InvalidInputError("surplus column", ",".join(record.surplus), allowed)
    point = check_point(_number(values, "latitude"), _number(values, "longitude"))
    region = values["region"].strip()
    site = sites.get(region) or sites.setdefault(region, _from_catalog(region, sites))
    ms = check_rtt(_number(values, "rtt_ms"), distance_km(point, site.point), "rtt_ms")
    return _Row(point, _country(values), region, ms)


def _number(record: Mapping[str, str], name: str) -> float | str:
    """The number in a column; its text where it is none, for the error to show.

    Python reads more as a number than other programs do: ``1_00``, and digits of other scripts.
    """
    text = record[name]
    try:
        return float(text) if text.isascii() and "_" not in text else text
    except ValueError:
        return text


def _country(record: Mapping[str, str]) -> str | None:
    code = record.get(COUNTRY, "").strip().upper()
    if code and code not in places.countries():
        raise InvalidInputError(COUNTRY, code, "an ISO 3166-1 alpha-2 code such as DE, or nothing")
    return code or None


def _from_catalog(region: str, sites: Mapping[str, Site]) -> Site:
    known = catalog.find(region)
    if known is None:
        ids = [*sites, *(r.region_id for r in catalog.all_regions())]
        raise InvalidInputError(
            "region", region, "a region of the catalog or the world file; " + nearest_hint(region, ids)
        )
    return Site(known.point, known.country)


def _clients(rows: list[_Row]) -> list[Client]:
    """Rows by place, in the order of their first row."""
    measured: dict[tuple[Point, str | None], dict[str, list[float]]] = {}
    for row in rows:
        measured.setdefault((row.point, row.country), {}).setdefault(row.region, []).append(row.ms)
    return [
        Client(point, country, {region: median(times) for region, times in by_region.items()})
        for (point, country), by_region in measured.items()
    ]
