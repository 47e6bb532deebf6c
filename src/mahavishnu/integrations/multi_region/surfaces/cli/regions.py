"""``regions``: which there are, how they are, and changing which there are."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .options import AsJson, RegionId, ServerUrl, TokenText, Yes


def list_regions(
    healthy: Annotated[bool, typer.Option("--healthy", help="Only regions that welcome traffic.")] = False,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """List the regions.

    Example: `multi-region regions list --healthy`
    """
    from .client import connect
    from .output import number, show_json, show_table

    found = connect(server, token).get("/regions", healthy_only=healthy or None)
    if as_json:
        show_json(found)
        return
    rows = [
        (
            region["region_id"],
            region["name"],
            region["provider"],
            region["country"],
            ", ".join(region["capabilities"]["compliance"]),
            number(region["capabilities"]["max_capacity"]),
            region["endpoint"],
        )
        for region in found
    ]
    columns = ("region", "name", "provider", "country", "compliance", "capacity", "endpoint")
    show_table(columns, rows, empty="no region is healthy" if healthy else "no region is registered")


def show_region(region: RegionId, as_json: AsJson = False, server: ServerUrl = None, token: TokenText = None) -> None:
    """Show one region: how it is declared, and how it is.

    Example: `multi-region regions show eu-west-1`
    """
    from .client import connect, segment
    from .output import show_fields, show_json

    remote = connect(server, token)
    declared = remote.get(f"/regions/{segment(region)}")
    health = remote.get(f"/regions/{segment(region)}/health")
    if as_json:
        show_json({"region": declared, "health": health})
    else:
        show_fields([*_declared(declared), *_observed(health)])


def add_region(
    region: RegionId,
    endpoint: Annotated[str, typer.Option(metavar="URL", help="Where clients are sent: http, https or tcp.")],
    latitude: Annotated[float | None, typer.Option(help="Degrees north; the catalog knows its own regions'.")] = None,
    longitude: Annotated[float | None, typer.Option(help="Degrees east.")] = None,
    provider: Annotated[str | None, typer.Option(help="Who runs it, such as aws.")] = None,
    country: Annotated[str | None, typer.Option(help="ISO 3166-1 alpha-2, such as IE.")] = None,
    compliance: Annotated[list[str] | None, typer.Option(help="A framework that you attest; may be repeated.")] = None,
    max_capacity: Annotated[float | None, typer.Option(help="The most load it can take, in requests/s.")] = None,
    health_path: Annotated[str | None, typer.Option(metavar="PATH", help="What a probe asks for.")] = None,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Register a region. For an id of the catalog, the endpoint is enough.

    Example: `multi-region regions add eu-west-1 --endpoint https://eu-west-1.example.com --compliance gdpr`
    """
    from .client import connect
    from .output import note, say, show_json

    capabilities = _given(compliance=compliance or None, max_capacity=max_capacity)
    body = _given(
        region_id=region,
        endpoint=endpoint,
        latitude=latitude,
        longitude=longitude,
        provider=provider,
        country=country,
        capabilities=capabilities or None,
        health=None if health_path is None else {"path": health_path},
    )
    answer = connect(server, token).post("/regions", body)
    if as_json:
        show_json(answer)
        return
    for warning in answer["warnings"]:
        note(f"warning: {warning}")
    say(f"{region} is registered")


def remove_region(
    region: RegionId, yes: Yes = False, as_json: AsJson = False, server: ServerUrl = None, token: TokenText = None
) -> None:
    """Remove a region. Refused while a service runs in it.

    Example: `multi-region regions rm eu-west-1 --yes`
    """
    from .asking import agreed
    from .client import connect, segment

    agreed(f"{region} is no longer watched and gets no traffic.", f"Remove {region}?", yes, as_json)
    connect(server, token).delete(f"/v1/regions/{segment(region)}")
    _done(f"{region} is removed", {"removed": region}, as_json)


def _done(text: str, document: dict[str, Any], as_json: bool) -> None:
    from .output import say, show_json

    if as_json:
        show_json(document)
    else:
        say(text)


def _given(**values: object) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _declared(region: dict[str, Any]) -> list[tuple[str, object]]:
    from .output import number

    capabilities = region["capabilities"]
    return [
        ("region", region["region_id"]),
        ("name", region["name"]),
        ("provider", region["provider"]),
        ("location", ", ".join(filter(None, (region["location"], region["country"])))),
        ("place", f"{region['latitude']:g}, {region['longitude']:g}"),
        ("endpoint", region["endpoint"]),
        ("protocol", region["protocol"]),
        ("compliance", ", ".join(capabilities["compliance"]) or "none"),
        ("load", f"{number(region['current_capacity'])} of {number(capabilities['max_capacity'])}"),
        ("price", f"{number(region['cost_multiplier'])} x"),
    ]


def _observed(health: dict[str, Any]) -> list[tuple[str, object]]:
    from .output import local_time, number

    latency = health["latency_ms"]
    return [
        ("phase", health["status"]),
        ("score", number(health["health_score"])),
        ("because", health["reason"] or None),
        ("errors", f"{100 * health['error_rate']:.1f} %"),
        ("latency", None if latency is None else f"{latency:.1f} ms"),
        ("breaker", health["circuit_breaker"]),
        ("operator", health["admin_state"]),
        ("held", health["held"]),
        ("seen", local_time(health["last_checked"]) or "never"),
    ]
