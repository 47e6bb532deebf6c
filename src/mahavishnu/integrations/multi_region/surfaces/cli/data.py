"""``data``: hot or cold, where data is and belongs, the ledger of transfers, and what the law of the day says."""

from __future__ import annotations

import csv
import json
import re
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from mahavishnu.integrations.multi_region.errors import InvalidInputError

from .options import AsJson, ServerUrl, TokenText

DataId = Annotated[str, typer.Argument(metavar="DATA", help="The data's id.")]
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_COLUMNS = (
    "seq",
    "at",
    "recorded",
    "data_id",
    "from_region",
    "to_region",
    "bytes",
    "purpose",
    "mechanism",
    "cost_usd",
    "policies",
    "decision_id",
    "actor",
    "reason",
)


def classify(
    data: DataId,
    rate: Annotated[float | None, typer.Option("--rate", help="Accesses a day.  [default: as reported]")] = None,
    mode: Annotated[str, typer.Option("--mode", help="threshold, or cost: what a copy saves and costs.")] = "threshold",
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Say whether data is hot or cold, and remember it.

    Example: `multi-region data classify user_123_data --rate 50`
    """
    from .client import connect
    from .output import say, show_json

    body = {"data_id": data, "access_frequency": rate, "mode": mode}
    found = connect(server, token).post("/v1/data/classify", body)
    show_json(found) if as_json else say(f"{data} is {found['temperature']}: {found['reason']}")


def place(
    data: DataId,
    region: Annotated[
        list[str] | None, typer.Option("--region", metavar="REGION", help="Holds the data; the first is the primary.")
    ] = None,
    policy: Annotated[str | None, typer.Option("--policy", metavar="POLICY", help="The policy that binds it.")] = None,
    data_class: Annotated[str | None, typer.Option("--class", metavar="WORD", help="What kind of data it is.")] = None,
    unbind: Annotated[bool, typer.Option("--unbind", help="Take policy and class away.")] = False,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Say where data is and which policy binds it; without options, show it.

    Example: `multi-region data place user_123_data --region eu-west-1 --policy eu-data-policy`
    """
    from .client import connect
    from .output import show_fields, show_json

    remote = connect(server, token)
    if region or policy or data_class or unbind:
        body = {"data_id": data, "regions": region or None, "policy": policy, "data_class": data_class}
        found = remote.post("/v1/data/place", {**body, "unbind": unbind})
    else:
        found = remote.get("/v1/data/place", data_id=data)
    if as_json:
        show_json(found)
        return
    show_fields(
        [
            ("data", data),
            ("regions", ", ".join(found["regions"]) or "not known"),
            ("policy", found["policy"] or "none: any region"),
            ("class", found["data_class"]),
            ("temperature", found["temperature"]),
        ]
    )


def replicate(
    data: DataId,
    strategy: Annotated[str, typer.Option("--strategy", help="full, partial, sharded or local.")] = "full",
    size: Annotated[int | None, typer.Option("--size", metavar="BYTES", min=0, help="For bytes and cost.")] = None,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Show which regions shall hold data, who may not and why, and what copying costs. Changes nothing.

    Example: `multi-region data replicate user_123_data --strategy sharded`
    """
    from .client import connect
    from .output import note, number, say, show_fields, show_json

    body = {"data_id": data, "strategy": strategy, "size_bytes": size}
    found = connect(server, token).post("/v1/data/replicate", body)
    if as_json:
        show_json(found)
        return
    show_fields(
        [
            ("regions", ", ".join(found["regions"])),
            ("primary", found["primary"]),
            ("then", ", ".join(found["fallbacks"]) or None),
            ("to copy", None if found["bytes"] is None else f"{found['bytes']} bytes"),
            ("cost", None if found["bytes"] is None else f"{number(found['estimated_cost_usd']) or 'not known'} USD"),
        ]
    )
    for region_id, why in found["excluded"].items():
        say(f"not {region_id}: it {why}")
    if size is None:
        note("give --size for bytes and cost")


def transfers(
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="7d, 12h, or a day such as 2026-01-31.")] = "",
    policy: Annotated[str | None, typer.Option("--policy", metavar="POLICY", help="Only those it bound.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print every entry as CSV.")] = False,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Show what went from where to where: the ledger's sums, or every entry with `--json` or `--csv`.

    Example: `multi-region data transfers --since 7d --policy eu-data-policy`
    """
    from .client import connect
    from .output import number, show_json, show_table

    start = since_time(since, time.time()) if since else None
    found = connect(server, token).get("/v1/data/transfers", policy=policy, since=start)
    if as_json:
        show_json(found)
    elif as_csv:
        _show_csv(found["entries"])
    else:
        rows = [
            (t["from_region"], t["to_region"], t["count"], t["bytes"], number(t["cost_usd"]), t["unpriced"] or None)
            for t in found["totals"]
        ]
        show_table(
            ("from", "to", "transfers", "bytes", "USD", "without a price"), rows, empty="no transfer is recorded"
        )


def check(
    facts: Annotated[
        Path | None, typer.Option("--facts", metavar="FILE", help="JSON: facts to change; without it, as they are.")
    ] = None,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """List every placement and service region that is unlawful now, or would be with edited facts. Changes nothing.

    Exits with 1 when there is any.

    Example: `multi-region data check --facts edited.json`
    """
    from .client import connect
    from .errors import REFUSED
    from .output import show_json, show_table

    edited = None if facts is None else read_facts(facts)
    found = connect(server, token).post("/v1/data/check", {"facts": edited})
    if as_json:
        show_json(found)
    else:
        rows = [
            (b["kind"], b["name"], b["region_id"], "would become" if b["new"] else "is now", b["why"])
            for b in found["breaches"]
        ]
        show_table(("what", "name", "region", "unlawful", "it"), rows, empty="all of it is lawful")
    if not found["lawful"]:
        raise typer.Exit(REFUSED)


def since_time(text: str, now: float) -> float:
    """The moment (seconds since the epoch) that ``7d`` before ``now``, or a day or time in ISO form, names.

    Raises InvalidInputError.
    """
    ago = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smhdw])", text)
    if ago is not None:
        return max(0.0, now - float(ago[1]) * _UNITS[ago[2]])
    try:
        return max(0.0, datetime.fromisoformat(text).astimezone().timestamp())
    except (ValueError, OverflowError, OSError):
        raise InvalidInputError("--since", text, "7d, 12h, 30m, or a day such as 2026-01-31") from None


def read_facts(path: Path) -> Any:
    """The edited facts in a file. Raises InvalidInputError when it cannot be read or is no JSON object."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as err:
        raise InvalidInputError("--facts", str(path), f"a file with a JSON object ({err})") from err
    if not isinstance(found, dict):
        raise InvalidInputError("--facts", str(path), "a file with a JSON object")
    return found


def _show_csv(entries: list[dict[str, Any]]) -> None:
    """Entries as CSV with a header; several policies in one cell are parted by blanks.

    A cell that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    writer = csv.DictWriter(sys.stdout, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for entry in entries:
        row = {name: entry[name] for name in _COLUMNS} | {"policies": " ".join(entry["policies"])}
        writer.writerow({name: _harmless(value) for name, value in row.items()})


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
