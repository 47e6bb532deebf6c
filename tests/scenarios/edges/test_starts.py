"""A controller that starts: with a new store its edges are welcome at once, and a file that is mended is taken up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.adapters.mmdb_writer import write_mmdb

from .processes import until
from .stage import EDGE, NEAREST, Stage, world

pytestmark = pytest.mark.slow

DATABASE = {"203.0.113.0/24": {"country": {"iso_code": "US"}}}


async def test_with_a_new_store_no_edge_is_turned_away() -> None:
    async with Stage() as stage:
        await stage.regions("fra", "iad")
        await stage.controller(world(stage, NEAREST), store=str(stage.folder / "new.db"))
        assert "edge_refused" not in stage.logs()


async def test_an_edge_of_its_own_serves_again_when_it_is_started_anew_with_its_file_mended() -> None:
    async with Stage() as stage:
        await stage.regions("fra", "iad")
        database = stage.folder / "geo.mmdb"
        write_mmdb(database, DATABASE)
        told = world(stage, NEAREST, edge={"client_place": "geoip"})
        controller = await stage.controller(told, edges=False, settings={"GEOIP_DATABASE": str(database)})
        replace(database, b"no database")
        first = await stage.edge(controller.xds)
        await controller.happened("edge.rejected", EDGE)
        seen = await controller.edge()
        assert (seen["serving"], seen["synced"], seen["acknowledged"]) == (False, False, None)
        assert seen["rejections"][0]["reason"] == seen["rejections"][0]["reason"].strip()
        assert (await stage.request())[0] == 0
        first.stop()
        write_mmdb(stage.folder / "fresh.mmdb", DATABASE).replace(database)
        await stage.edge(controller.xds)

        async def serves() -> bool:
            return bool((await controller.edge())["serving"])

        await until(serves, "it listens to clients")
        await stage.serves(by=("fra",))
        await controller.synced()


def replace(path: Path, content: bytes) -> None:
    """Put a file in the place of another at once."""
    fresh = path.with_suffix(".fresh")
    fresh.write_bytes(content)
    fresh.replace(path)
