"""The OpenAPI document tells the truth: schemathesis asks the served app what the document says it may.

One test for each operation. `/events` is left out: it ends only when the client hangs up (test_http_events.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig

from mahavishnu.integrations.multi_region.shell.failure import FailureHandler
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter
from mahavishnu.integrations.multi_region.surfaces.http.auth import Role
from mahavishnu.integrations.multi_region.surfaces.http.server import create_app
from mahavishnu.integrations.multi_region.system import MultiRegionSystem
from tests.surfaces.http_served import TOKENS, Served, bearer, region, served

pytestmark = pytest.mark.slow

# A value may have the right shape and still name a region that is not there, a country that does not exist, or an
# endpoint that probes may not go to: 422 answers those, and 503 a request that no region may serve.
_REFUSED_FOR_ITS_MEANING = ["2xx", "401", "403", "404", "409", "422", "503"]


def _config(headers: dict[str, str], examples: int) -> SchemathesisConfig:
    return SchemathesisConfig.from_dict(
        {
            "seed": 20250101,
            "headers": headers,
            "generation": {"max-examples": examples, "deterministic": True, "database": "none"},
            "phases": {"coverage": {"enabled": bool(headers)}},  # who is nobody gets no further than the door
            "checks": {
                "positive_data_acceptance": {"expected-statuses": _REFUSED_FOR_ITS_MEANING},
                "not_a_server_error": {"expected-statuses": ["2xx", "4xx", "503"]},
            },
        }
    )


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served(open_reads=False) as running:
        with httpx.Client(base_url=running.url, headers=bearer(Role.ADMIN)) as client:
            for region_id in ("eu-west-1", "us-east-1", "ap-southeast-2"):
                client.post("/regions", json=region(region_id)).raise_for_status()
        yield running


def _document() -> dict[str, Any]:
    """The document of a server that asks everybody for a token; it needs no running system."""
    manager = RegionManager()
    router = RegionAwareRouter(manager)
    system = MultiRegionSystem(manager, router, FailureHandler(manager, router))
    return create_app(system, tokens=TOKENS, open_reads=False).openapi()


DOCUMENT = _document()


def _schema(headers: dict[str, str], examples: int) -> Any:
    return schemathesis.openapi.from_dict(DOCUMENT, config=_config(headers, examples)).exclude(path="/events")


@_schema(bearer(Role.ADMIN), 25).parametrize()  # type: ignore[untyped-decorator]  # a schema is not typed
def test_every_answer_to_an_admin_is_as_documented(case: Any, server: Served) -> None:
    if case.meta.generation.mode is GenerationMode.POSITIVE:
        _name_real_things(case)
    case.call_and_validate(base_url=server.url)


def _name_real_things(case: Any) -> None:
    """Most good requests name regions that are there, so that more than 404 and 422 is seen."""
    if "region_id" in case.path_parameters and case.method != "DELETE":
        case.path_parameters["region_id"] = "us-east-1"
    for body in _objects(case.body):
        for key in {"region_id", "from_region", "to_region"} & body.keys():
            body[key] = "eu-west-1" if key == "to_region" else "us-east-1"
        if "endpoint" in body:
            body.pop("provider", None)
            body.update(endpoint="https://region.example.test:8443/", latitude=1.5, longitude=2)


def _objects(part: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object in a body."""
    if isinstance(part, dict):
        yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _objects(inner)


@_schema({}, 5).parametrize()  # type: ignore[untyped-decorator]  # a schema is not typed
def test_every_answer_to_nobody_is_as_documented(case: Any, server: Served) -> None:
    case.call_and_validate(base_url=server.url)


def test_the_served_document_is_the_one_that_was_tested(server: Served) -> None:
    assert httpx.get(f"{server.url}/openapi.json").json() == DOCUMENT
