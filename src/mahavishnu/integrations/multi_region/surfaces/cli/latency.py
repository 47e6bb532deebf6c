"""``latency evaluate``: how good the latency model is for one's own users, by one's own measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import AsJson

if TYPE_CHECKING:
    from mahavishnu.integrations.multi_region.core.regret import Choice, Score

    from .measurements import Client, Site

MODEL, DISTANCE = "model", "great circle"


def evaluate(
    measurements: Annotated[
        Path,
        typer.Option(
            "--measurements", metavar="FILE", help="CSV: latitude, longitude, region, rtt_ms, and country if known."
        ),
    ],
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="A world file with regions of your own.")
    ] = None,
    worst: Annotated[int, typer.Option("--worst", min=0, help="How many of the worst places to show.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Score the latency model against measurements, beside great-circle distance.

    Regret is the round trip to the chosen region less that to the best one measured from the same place. Places with
    fewer than two measured regions choose nothing and are left out; of several measurements of one pair the median
    counts. Asks no server.

    Example: `multi-region latency evaluate --measurements rtt.csv`
    """
    from .measurements import read_measurements, sites_in

    found = read_measurements(measurements, sites_in(file))
    choices = {name: _choices(found.clients, found.sites, name) for name in (MODEL, DISTANCE)}
    if as_json:
        from .output import show_json

        show_json(_document(found.rows, found.left_out, choices, worst))
    else:
        _show(found.rows, found.left_out, choices, worst)


def _choices(clients: Sequence[Client], sites: Mapping[str, Site], how: str) -> list[Choice]:
    from mahavishnu.integrations.multi_region.core.regret import choose

    estimate = _predicted_ms if how == MODEL else _distance_km
    return [choose(c.name, c.rtt_ms, {region: estimate(c, sites[region]) for region in c.rtt_ms}) for c in clients]


def _distance_km(client: Client, site: Site) -> float:
    from mahavishnu.integrations.multi_region.core.geo import distance_km

    return distance_km(client.point, site.point)


def _predicted_ms(client: Client, site: Site) -> float:
    from mahavishnu.integrations.multi_region.core.latency import corrected_ms
    from mahavishnu.integrations.multi_region.facts.network import latency_model, zone_of_client, zone_of_region

    km = _distance_km(client, site)
    zones = zone_of_client(client.point, client.country), zone_of_region(site.point, site.country)
    return corrected_ms(km, latency_model().estimate_ms(km, *zones), 0.0)


def _document(rows: int, left_out: int, choices: Mapping[str, Sequence[Choice]], worst: int) -> dict[str, Any]:
    from mahavishnu.integrations.multi_region.core.regret import score

    return {
        "measurements": rows,
        "places_left_out": left_out,
        "scores": {name.replace(" ", "_"): asdict(score(found)) for name, found in choices.items()},
        "worst_places": [asdict(c) | {"regret_ms": c.regret_ms} for c in _worst(choices[MODEL], worst)],
    }


def _show(rows: int, left_out: int, choices: Mapping[str, Sequence[Choice]], worst: int) -> None:
    from mahavishnu.integrations.multi_region.core.regret import score

    from .output import say, show_table

    places = len(choices[MODEL])
    say(f"{rows} measurements from {places} places" + (f"; {left_out} with one region left out" if left_out else ""))
    columns = ("choice by", "best chosen", "mean regret", "95 % below", "worst", "above 20 ms")
    show_table(columns, [_row(name, score(found)) for name, found in choices.items()], empty="nothing to score")
    missed = _worst(choices[MODEL], worst)
    if worst:
        show_table(
            ("worst places", "chosen", "ms", "best", "ms", "regret"),
            [(c.place, c.chosen, _ms(c.chosen_ms), c.best, _ms(c.best_ms), f"{c.regret_ms:.1f} ms") for c in missed],
            empty="the model chose the best region everywhere",
        )


def _row(name: str, found: Score) -> tuple[str, ...]:
    times = (f"{ms:.1f} ms" for ms in (found.mean_ms, found.p95_ms, found.worst_ms))
    return (name, f"{100 * found.top_1:.1f} %", *times, f"{100 * found.far_off:.1f} %")


def _worst(choices: Sequence[Choice], most: int) -> list[Choice]:
    """The choices that cost most, the worst first; none that was the best."""
    return sorted((c for c in choices if c.regret_ms > 0), key=lambda c: (-c.regret_ms, c.place))[:most]


def _ms(value: float) -> str:
    return f"{value:.1f}"
