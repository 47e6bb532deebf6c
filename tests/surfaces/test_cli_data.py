"""``multi-region data``: what it prints, and how it ends, against a server on a real socket."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from mahavishnu.integrations.multi_region.errors import InvalidInputError
from mahavishnu.integrations.multi_region.surfaces.cli.data import since_time
from mahavishnu.integrations.multi_region.surfaces.cli.main import app
from mahavishnu.integrations.multi_region.surfaces.http.auth import Role
from tests.surfaces.http_served import bearer, region, served

NOW = 1_800_000_000.0
PAIR = {"from_region": "eu-west-1", "to_region": "us-east-1"}


class Data:
    """The command ``data`` for one server, with an administrator's token."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.headers = bearer(Role.ADMIN)
        self.client = httpx.Client(base_url=url, headers=self.headers)

    def __call__(self, *args: str, code: int = 0) -> str:
        token = self.headers["Authorization"].removeprefix("Bearer ")
        result = CliRunner().invoke(app, ["data", *args, "--server", self.url, "--token", token])
        assert result.exit_code == code, result.output
        return result.stdout

    def transfer(self, purpose: str) -> dict[str, Any]:
        """One transfer, decided on and recorded."""
        body = {"data_id": "d", "bytes": 10**9, "purpose": purpose, **PAIR}
        decided = self.client.post("/v1/data/transfers", json=body).json()
        done = self.client.post("/v1/data/transfers", json={**body, "decision_id": decided["id"]})
        entry: dict[str, Any] = done.json()["entry"]
        return entry


@pytest.fixture
def data() -> Iterator[Data]:
    with served() as server:
        found = Data(server.url)
        with found.client as client:
            for region_id in ("us-east-1", "us-west-2", "eu-west-1"):
                client.post("/regions", json=region(region_id)).raise_for_status()
            client.put("/v1/policies/eu", json={"template": "eea-only"}).raise_for_status()
            yield found


def test_a_class_is_told_with_its_reason(data: Data) -> None:
    assert data("classify", "d", "--rate", "50") == "d is hot: 50 accesses a day, above 10\n"
    assert json.loads(data("classify", "d", "--rate", "9", "--json"))["temperature"] == "hot"


def test_a_place_is_told_and_shown(data: Data) -> None:
    said = data("place", "d", "--region", "eu-west-1", "--region", "us-east-1", "--policy", "eu", "--class", "pan")
    assert "regions      eu-west-1, us-east-1" in said
    assert data("place", "d") == said
    assert "policy       none: any region" in data("place", "d", "--unbind")


def test_a_plan_names_who_may_not_and_what_copying_costs(data: Data) -> None:
    data("place", "d", "--policy", "eu")
    assert "not us-east-1: it policy eu does not allow it: no rule allows it" in data("replicate", "d")
    said = data("replicate", "e", "--size", "1000000000")
    assert "to copy  2000000000 bytes" in said
    assert "cost     0.04 USD" in said


def test_the_ledger_comes_as_sums_json_or_csv(data: Data) -> None:
    assert data("transfers") == "no transfer is recorded\n"
    entry = data.transfer("=cmd")
    assert data("transfers", "--since", "7d").split("\n")[2].split() == [
        "eu-west-1",
        "us-east-1",
        "1",
        "1000000000",
        "0.02",
    ]
    assert json.loads(data("transfers", "--json"))["entries"] == [entry]
    (row,) = csv.DictReader(io.StringIO(data("transfers", "--csv")))
    assert (row["data_id"], row["bytes"], row["decision_id"]) == ("d", "1000000000", entry["decision_id"])
    assert row["purpose"] == "'=cmd", "no cell is a formula"


def test_a_check_ends_with_1_when_something_would_be_unlawful(data: Data, tmp_path: Path) -> None:
    data("place", "d", "--region", "eu-west-1", "--policy", "eu")
    assert data("check") == "all of it is lawful\n"
    edited = tmp_path / "edited.json"
    edited.write_text('{"countries": {"IE": {"region.eea": false}}}')
    said = data("check", "--facts", str(edited), code=1)
    assert "would become" in said and "policy eu does not allow it" in said
    edited.write_text("[]")
    data("check", "--facts", str(edited), code=2)
    data("check", "--facts", str(tmp_path / "missing.json"), code=2)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("7d", NOW - 604_800),
        ("1.5h", NOW - 5_400),
        ("2w", NOW - 1_209_600),
        ("2026-01-31T00:00:00+00:00", 1_769_817_600),
    ],
)
def test_a_period_begins_where_it_says(text: str, moment: float) -> None:
    assert since_time(text, NOW) == moment


@pytest.mark.parametrize("text", ["7", "d", "yesterday", "7y", "-1d", "2026-13-01"])
def test_a_period_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="--since"):
        since_time(text, NOW)
