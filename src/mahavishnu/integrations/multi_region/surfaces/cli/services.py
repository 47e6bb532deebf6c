"""``services`` and ``policies``: look, and remove a service."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .options import AsJson, ServerUrl, TokenText, Yes

ServiceName = Annotated[str, typer.Argument(metavar="SERVICE", help="The service's name.")]
PolicyId = Annotated[str, typer.Argument(metavar="POLICY", help="The policy's id.")]


def list_services(as_json: AsJson = False, server: ServerUrl = None, token: TokenText = None) -> None:
    """List the services.

    Example: `multi-region services list`
    """
    from .client import connect
    from .output import show_json, show_table

    found = connect(server, token).get("/v1/services")
    if as_json:
        show_json(found)
        return
    rows = [(s["name"], ", ".join(s["hosts"]), s["strategy"], s["policy"], _where(s), s["priority"]) for s in found]
    show_table(("service", "hosts", "strategy", "policy", "regions", "priority"), rows, empty="no service is declared")


def show_service(
    service: ServiceName, as_json: AsJson = False, server: ServerUrl = None, token: TokenText = None
) -> None:
    """Show one service.

    Example: `multi-region services show api`
    """
    from .client import connect, segment
    from .output import show_fields, show_json

    found = connect(server, token).get(f"/v1/services/{segment(service)}")
    if as_json:
        show_json(found)
        return
    deployment = found["deployment"]
    show_fields(
        [
            ("service", found["name"]),
            ("hosts", ", ".join(found["hosts"]) or "none"),
            ("strategy", found["strategy"]),
            ("policy", found["policy"] or "none: any region"),
            ("deployment", None if deployment is None else deployment["type"]),
            ("regions", _where(found)),
            ("weights", None if not deployment else _weights(deployment["weights"])),
            ("priority", found["priority"]),
            ("failback", found["failback_mode"]),
            *_carried(found["routes"]),
        ]
    )


def remove_service(
    service: ServiceName, yes: Yes = False, as_json: AsJson = False, server: ServerUrl = None, token: TokenText = None
) -> None:
    """Remove a service.

    Example: `multi-region services rm api --yes`
    """
    from .asking import agreed
    from .client import connect, segment
    from .output import say, show_json

    agreed(f"Requests for {service} are no longer known as such.", f"Remove {service}?", yes, as_json)
    connect(server, token).delete(f"/v1/services/{segment(service)}")
    if as_json:
        show_json({"removed": service})
    else:
        say(f"{service} is removed")


def list_policies(as_json: AsJson = False, server: ServerUrl = None, token: TokenText = None) -> None:
    """List the data placement policies.

    Example: `multi-region policies list`
    """
    from .client import connect
    from .output import show_json, show_table

    found = connect(server, token).get("/v1/policies")
    if as_json:
        show_json(found)
        return
    rows = [
        (p["policy_id"], p["name"], ", ".join(p["compliance_requirements"]), _allowed(p), p["locality_level"])
        for p in found
    ]
    show_table(("policy", "name", "requires", "regions", "locality"), rows, empty="no policy is registered")


def show_policy(policy: PolicyId, as_json: AsJson = False, server: ServerUrl = None, token: TokenText = None) -> None:
    """Show one data placement policy.

    Example: `multi-region policies show gdpr`
    """
    from .client import connect, segment
    from .output import show_fields, show_json

    found = connect(server, token).get(f"/v1/policies/{segment(policy)}")
    if as_json:
        show_json(found)
        return
    show_fields(
        [
            ("policy", found["policy_id"]),
            ("name", found["name"]),
            ("requires", ", ".join(found["compliance_requirements"]) or "nothing"),
            ("regions", _allowed(found)),
            ("locality", found["locality_level"]),
            ("transfer", "out of these regions allowed" if found["cross_region_transfer"] else "not out of them"),
        ]
    )


def _carried(routes: list[dict[str, Any]]) -> list[tuple[str, object]]:
    """How requests are carried, a line for each route."""
    return [("carried", "as by default")] if not routes else [(f"path {r['prefix']}", _route(r)) for r in routes]


def _route(route: dict[str, Any]) -> str:
    parts = [f"within {route['timeout_s']:g} s" if route["timeout_s"] else "without a limit"]
    if route["attempt_timeout_s"] is not None:
        parts.append(f"another region asked after {route['attempt_timeout_s']:g} s")
    parts.append(f"repeated up to {route['retries']} x" + (", with a key too" if route["retry_keyed"] else ""))
    return ", ".join(parts)


def _where(service: dict[str, Any]) -> str:
    deployment = service["deployment"]
    return "any" if deployment is None else ", ".join(deployment["regions"])


def _weights(weights: dict[str, float]) -> str | None:
    return ", ".join(f"{name} {weight:g}" for name, weight in weights.items()) or None


def _allowed(policy: dict[str, Any]) -> str:
    allowed = policy["allowed_regions"]
    return "each that attests" if allowed is None else ", ".join(allowed) or "none"
