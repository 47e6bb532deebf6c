"""``edges``: the proxies that carry traffic: which there are, how far each has come, declaring and removing them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mahavishnu.integrations.multi_region.errors import InvalidInputError

from .options import AsJson, ServerUrl, TokenText, Yes

EdgeId = Annotated[str, typer.Argument(metavar="EDGE", help="The edge's id.")]


def edges(ctx: typer.Context, as_json: AsJson = False, server: ServerUrl = None, token: TokenText = None) -> None:
    """Look at edges, declare them and remove them. Without a command: list them.

    Example: `multi-region edges`
    """
    if ctx.invoked_subcommand is None:
        list_edges(as_json, server, token)
        return
    for option, given in (("--json", as_json), ("--server", server), ("--token", token)):
        if given:
            raise InvalidInputError(option, "given here", f"{option} after {ctx.invoked_subcommand}, which takes it")


def list_edges(as_json: AsJson = False, server: ServerUrl = None, token: TokenText = None) -> None:
    """List the edges, with the requests/s that each region gets from them.

    Example: `multi-region edges list`
    """
    from .client import connect
    from .output import show_json, show_table

    found = connect(server, token).get("/v1/edges")
    if as_json:
        show_json(found)
        return
    columns = ("edge", "listen", "connected", "plan", "refused", "in flight", "requests/s")
    show_table(columns, [_row(edge) for edge in found], empty="no edge is declared or connected")


def show_edge(edge: EdgeId, as_json: AsJson = False, server: ServerUrl = None, token: TokenText = None) -> None:
    """Show one edge: how it is declared, and what it does.

    Example: `multi-region edges show edge-eu`
    """
    from .client import connect, segment
    from .output import show_fields, show_json

    found = connect(server, token).get(f"/v1/edges/{segment(edge)}")
    if as_json:
        show_json(found)
        return
    show_fields([("edge", found["edge_id"]), *_declared(found["spec"]), *_observed(found)])


def add_edge(
    edge: EdgeId,
    region: Annotated[str | None, typer.Option(help="The declared region at whose place it stands.")] = None,
    latitude: Annotated[float | None, typer.Option(help="Degrees north, where it stands at no region.")] = None,
    longitude: Annotated[float | None, typer.Option(help="Degrees east.")] = None,
    country: Annotated[
        str | None, typer.Option(help="ISO 3166-1 alpha-2, such as IE.  [default: the region's]")
    ] = None,
    listen: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where clients find it.")] = None,
    client_place: Annotated[
        str | None, typer.Option(help="How it tells where a client is: edge or geoip; for cidr write a world file.")
    ] = None,
    trusted_hops: Annotated[
        int | None, typer.Option(help="Proxies in front whose X-Forwarded-For is believed.")
    ] = None,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Declare an edge, or replace its declaration; what is left out takes its default.

    Example: `multi-region edges add edge-eu --region eu-west-1 --listen 0.0.0.0:10000`
    """
    from .client import connect, segment
    from .output import say, show_json

    given = {
        "region": region,
        "latitude": latitude,
        "longitude": longitude,
        "country": country,
        "listen": listen,
        "client_place": client_place,
        "trusted_hops": trusted_hops,
    }
    answer = connect(server, token).put(f"/v1/edges/{segment(edge)}", given)
    if as_json:
        show_json(answer)
    else:
        say(f"{edge} is declared, and listens on {answer['spec']['listen']} once it runs")


def remove_edge(
    edge: EdgeId, yes: Yes = False, as_json: AsJson = False, server: ServerUrl = None, token: TokenText = None
) -> None:
    """Remove an edge's declaration. One that runs elsewhere goes on with what it was told last; one run here ends.

    Example: `multi-region edges rm edge-eu --yes`
    """
    from .asking import agreed
    from .client import connect, segment
    from .output import say, show_json

    agreed(f"{edge} is told nothing new any more.", f"Remove {edge}?", yes, as_json)
    connect(server, token).delete(f"/v1/edges/{segment(edge)}")
    if as_json:
        show_json({"removed": edge})
    else:
        say(f"{edge} is removed")


def _row(edge: dict[str, Any]) -> tuple[object, ...]:
    flying = edge["in_flight"]
    return (
        edge["edge_id"],
        "not declared" if edge["spec"] is None else edge["spec"]["listen"],
        _connected(edge),
        _plan(edge),
        None if edge["rejections"] is None else len(edge["rejections"]),
        None if flying is None else sum(flying.values()),
        _rates(edge["rates"]),
    )


def _connected(edge: dict[str, Any]) -> str:
    """Whether it follows this controller, and whether clients reach it at all as far as that is known."""
    if not edge["connected"]:
        return "no"
    return "yes, listens to nobody" if edge["serving"] is False else "yes"


def _plan(edge: dict[str, Any]) -> str | None:
    """How far the edge has come with what it is told; None where nobody tells it anything."""
    if edge["synced"] is None:
        return None
    if edge["acknowledged"] is None:
        return "none yet"
    held = f"{edge['acknowledged']}"
    if edge["synced"]:
        return held
    return f"{held} of {edge['current']}{', lagging' if edge['lagging'] else ''}"


def _rates(rates: dict[str, float] | None) -> str | None:
    """Requests/s by region, the busiest first."""
    from .output import number

    by_rate = sorted((rates or {}).items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{region_id} {number(round(rate, 1))}" for region_id, rate in by_rate) or None


def _declared(spec: dict[str, Any] | None) -> list[tuple[str, object]]:
    if spec is None:
        return [("declared", "no")]
    return [
        ("place", f"{spec['point']['latitude']:g}, {spec['point']['longitude']:g}"),
        ("country", spec["country"]),
        ("listen", spec["listen"]),
        ("clients by", spec["client_place"]),
        ("networks", ", ".join(network["name"] for network in spec["networks"]) or None),
        ("hops", spec["trusted_hops"] or None),
    ]


def _observed(edge: dict[str, Any]) -> list[tuple[str, object]]:
    flying = ", ".join(f"{region_id} {count}" for region_id, count in (edge["in_flight"] or {}).items() if count)
    refused = [(f"refused {n}", f"{r['resource']}: {r['reason']}") for n, r in enumerate(edge["rejections"] or (), 1)]
    return [
        ("connected", _connected(edge)),
        ("version", edge["version"] or None),
        ("plan", _plan(edge)),
        ("requests/s", _rates(edge["rates"])),
        ("in flight", flying or None),
        *refused,
        *((f"astray in {name}", ", ".join(regions)) for name, regions in (edge["astray"] or {}).items()),
    ]
