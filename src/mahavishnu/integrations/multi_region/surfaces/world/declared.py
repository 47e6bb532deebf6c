"""Regions and edges as declared from outside, by a file or a request: what is added to what was said, what is missing.

Errors name fields as the models have them; who asked puts them in the words of its own format.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from mahavishnu.integrations.multi_region.core.edges import EdgeSpec, Network
from mahavishnu.integrations.multi_region.core.model import HealthCheck, Point, ProbeKind, Region
from mahavishnu.integrations.multi_region.errors import InvalidInputError, nearest_hint
from mahavishnu.integrations.multi_region.facts.catalog import all_regions, find, region_from_catalog

_SAME_NAME = (
    "name",
    "provider",
    "location",
    "latitude",
    "longitude",
    "country",
    "endpoint",
    "cost_multiplier",
    "health_score",
    "current_capacity",
    "protocol",
)


def same_named(said: BaseModel) -> dict[str, Any]:
    """What was said in fields that are called as ``Region`` calls them; None for what was left out."""
    return {name: getattr(said, name) for name in _SAME_NAME}


def declared_region(region_id: str, said: Mapping[str, Any]) -> Region:
    """The region of that id. ``said``: fields of ``Region``, ``endpoint`` among them; None is the same as left out.

    What is left out comes from the catalog, when it knows the id. Raises InvalidInputError when half a place is given,
    or none and the catalog lacks the id.
    """
    given = {name: value for name, value in said.items() if value is not None}
    half = _half_a_place(said, "; or leave out both")
    if half is not None:
        raise half
    if find(region_id, given.get("provider")) is not None:
        return region_from_catalog(region_id, **given)
    if "latitude" not in given:
        listed = [known.region_id for known in all_regions() if given.get("provider") in (None, known.provider)]
        hint = f"a region of the catalog; {nearest_hint(region_id, listed)}"
        raise InvalidInputError("latitude", None, f"latitude and longitude are needed here, or the id of {hint}")
    return Region(region_id, **{"name": region_id, **given})


def declared_check(said: Mapping[str, Any] | None, endpoint: str, defaults: HealthCheck) -> HealthCheck | None:
    """How a region at ``endpoint`` is probed; None: as all are. ``said``: fields of ``HealthCheck``, or None for none.

    What is left out comes from ``defaults``, but a tcp:// address is probed over tcp. Raises InvalidInputError when it
    shall be probed over http.
    """
    over_tcp = ((said or {}).get("url") or endpoint).startswith("tcp:")
    if said is None and not over_tcp:
        return None
    guessed = {"kind": ProbeKind.TCP} if over_tcp else {}
    check = replace(defaults, **{**guessed, **(said or {})})
    if over_tcp and check.kind is ProbeKind.HTTP:
        allowed = "tcp, because the target is a tcp:// address; or give an http url"
        raise InvalidInputError("health.kind", "http", allowed)
    return check


def declared_edge(edge_id: str, said: Mapping[str, Any], region: Region | None) -> EdgeSpec:
    """The edge of that id. ``said``: an edge's other fields, as entries have them; ``region``: the one it stands at.

    Its country is the region's, unless it is said. Where nothing tells its place, it is at 0, 0; whether that and all
    other values will do is checked elsewhere.
    """
    point = _point(said) if region is None else Point(region.latitude, region.longitude)
    return EdgeSpec(
        edge_id=edge_id,
        point=point,
        listen=said["listen"],
        country=said["country"] or (None if region is None else region.country),
        client_place=said["client_place"],
        networks=tuple(_network(network) for network in said["networks"]),
        trusted_hops=said["trusted_hops"],
    )


def edge_place_errors(said: Mapping[str, Any]) -> Iterator[InvalidInputError]:
    """What is wrong with how an edge's place is said: by a region, or by latitude and longitude."""
    given = [name for name in ("latitude", "longitude") if said[name] is not None]
    if said["region"] is not None:
        for name in given:
            yield InvalidInputError(name, said[name], "to be left out, because region says where the edge stands")
    elif not given:
        yield InvalidInputError("region", None, "needed here: a declared region, or latitude and longitude")
    elif (half := _half_a_place(said)) is not None:
        yield half


def _network(said: Mapping[str, Any]) -> Network:
    return Network(said["name"], tuple(said["cidrs"]), _point(said), said["country"])


def _point(said: Mapping[str, Any]) -> Point:
    return Point(said["latitude"] or 0.0, said["longitude"] or 0.0)


def _half_a_place(said: Mapping[str, Any], otherwise: str = "") -> InvalidInputError | None:
    """The error when only one of latitude and longitude is given; ``otherwise`` ends what it allows."""
    given = [name for name in ("latitude", "longitude") if said.get(name) is not None]
    if len(given) != 1:
        return None
    missing = "longitude" if given == ["latitude"] else "latitude"
    return InvalidInputError(missing, None, f"needed here, in degrees, because {given[0]} is given{otherwise}")
