"""What clients of a real Envoy may do and say: names with a dot at the end, HTTP/1.0, TRACE, where they claim to be."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from mahavishnu.integrations.multi_region.core.edges import ClientPlace, EdgeSpec, Network
from mahavishnu.integrations.multi_region.core.model import Point

from .edge import static_edge
from .plans import SPEC, kind, plan, service, target
from .regions import ask, regions

pytestmark = pytest.mark.slow

OFFICE = Network("office", ("203.0.113.0/24",), Point(50.0, 8.0))


async def raw(port: int, text: str) -> str:
    """All that is answered to these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text.encode())
    try:
        async with asyncio.timeout(30):
            return (await reader.read()).decode("latin-1")
    finally:
        writer.close()


async def test_old_names_old_protocols_and_echoes(tmp_path: Path) -> None:
    async with regions(["fra"]) as found:
        classes = kind([target("fra", found["fra"].url)])
        async with static_edge(plan(service(classes, hosts=("api.test",))), tmp_path) as (port, _):
            dotted = await raw(port, "GET / HTTP/1.1\r\nhost: api.test.\r\nconnection: close\r\n\r\n")
            with_port = await raw(port, "GET / HTTP/1.1\r\nhost: api.test.:80\r\nconnection: close\r\n\r\n")
            old = await raw(port, "GET / HTTP/1.0\r\nhost: api.test\r\n\r\n")
            nameless = await raw(port, "GET / HTTP/1.0\r\n\r\n")
            echo = await ask(port, method="TRACE", headers=[("cookie", "secret")])
            stated = await ask(port, method="TRACE", headers=[("x-compliance-requirements", "nonsense")])
    assert dotted.startswith("HTTP/1.1 200") and with_port.startswith("HTTP/1.1 200")
    assert old.startswith("HTTP/1.") and old.split(" ")[1] == "200"
    assert nameless.split(" ")[1] in ("400", "404")
    assert (echo.status, stated.status) == (405, 405)
    assert echo.value("x-multi-region-reason") == "method not allowed"
    assert "GET" in (echo.value("allow") or "") and "TRACE" not in (echo.value("allow") or "")
    assert "secret" not in echo.body
    assert [asked.method for asked in found["fra"].asked] == ["GET"] * 3


@pytest.mark.parametrize(
    "spec",
    [SPEC, replace(SPEC, client_place=ClientPlace.CIDR, networks=(OFFICE,))],
    ids=["by edge", "by address"],
)
async def test_a_country_that_a_client_claims_reaches_no_region(tmp_path: Path, spec: EdgeSpec) -> None:
    async with regions(["fra"]) as found:
        told = replace(plan(service(kind([target("fra", found["fra"].url)]))), edge=spec)
        async with static_edge(told, tmp_path) as (port, _):
            await ask(port, headers=[("x-geo-country", "DE"), ("x-own", "kept")])
        (asked,) = found["fra"].asked
    assert (asked.values("x-geo-country"), asked.values("x-own")) == ([], ["kept"])
