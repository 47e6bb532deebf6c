"""A store whose file is taken away while in use: nothing is acknowledged that a restart would not find."""

from __future__ import annotations

from pathlib import Path

import pytest

from mahavishnu.integrations.multi_region.adapters.stores.sqlite import SqliteStore
from mahavishnu.integrations.multi_region.errors import StoreError


async def test_a_store_whose_file_was_moved_is_lost_until_it_is_back(tmp_path: Path) -> None:
    path, away = tmp_path / "store.db", tmp_path / "away.db"
    store = await SqliteStore.open(path)
    try:
        await store.commit({"a": "1"})
        path.rename(away)
        with pytest.raises(StoreError, match="moved, removed or replaced"):
            await store.commit({"a": "2"})
        with pytest.raises(StoreError, match="moved, removed or replaced"):
            await store.load()
        away.rename(path)
        await store.commit({"a": "3"})
        assert (await store.load()).entries["a"].value == "3"
    finally:
        await store.close()


async def test_a_store_whose_file_was_removed_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = await SqliteStore.open(path)
    try:
        path.unlink()
        with pytest.raises(StoreError, match="moved, removed or replaced"):
            await store.commit({"a": "1"})
    finally:
        await store.close()
