"""What every store must keep, as a pytest class: derive from ``StoreContract`` and say how your store is opened.

    class TestMyStore(StoreContract):
        async def open_store(self, place: Path, history: int) -> Store:
            return await MyStore.open(place / "mine", history=history)

Needs pytest-asyncio with ``asyncio_mode = auto``. Revisions are only taken to grow, not to grow by one, so that a store
which shares its counter with others (etcd) passes as well.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mahavishnu.integrations.multi_region.errors import InvalidInputError, StaleRevisionError
from mahavishnu.integrations.multi_region.ports.store import Loaded, Store

from .watch_contract import PATIENCE_S, WatchContract, collect

__all__ = ["AWKWARD_KEYS", "AWKWARD_PREFIXES", "PATIENCE_S", "StoreContract", "collect"]

AWKWARD_KEYS = [
    "%", "_", "a", "a%", "a%b", "a/", "a/b", "a0", "a_b", "aa", "b", "z\x00z", "é", "\ud7ff", "\ue000", "\uffff",
    "\uffffz", "😀", "\U0010ffff", "\U0010ffff\U0010ffff", "a\U0010ffff", "a\U0010ffffb",
]  # fmt: skip
AWKWARD_PREFIXES = [
    "",
    "%",
    "_",
    "a",
    "a%",
    "a/",
    "a_",
    "é",
    "\ud7ff",
    "\uffff",
    "😀",
    "\U0010ffff",
    "a\U0010ffff",
    "no",
]


class StoreContract(WatchContract):
    """Facts about ``load`` and ``commit``, and those about ``watch`` and ``close``."""

    # --- load and commit --------------------------------------------------------------------------

    async def test_a_new_store_is_empty(self, store: Store) -> None:
        assert (await store.load()).entries == {}

    async def test_what_was_committed_is_loaded_with_its_revision(self, store: Store) -> None:
        first = await store.commit({"a": "1", "b": "2"})
        second = await store.commit({"b": "3"})
        loaded = await store.load()
        assert {key: (entry.value, entry.revision) for key, entry in loaded.entries.items()} == {
            "a": ("1", first),
            "b": ("3", second),
        }
        assert loaded.revision == second > first

    async def test_none_deletes(self, store: Store) -> None:
        await store.commit({"a": "1", "b": "2"})
        deleted = await store.commit({"a": None})
        loaded = await store.load()
        assert list(loaded.entries) == ["b"]
        assert loaded.revision == deleted

    @pytest.mark.parametrize("values", [{}, {"absent": None}], ids=["no values", "delete of an absent key"])
    async def test_a_commit_that_changes_nothing_leaves_the_revision(
        self, store: Store, values: dict[str, str | None]
    ) -> None:
        before = await store.commit({"a": "1"})
        assert await store.commit(values, {"a": before}) == before
        assert (await store.load()).revision == before
        with pytest.raises(StaleRevisionError):
            await store.commit(values, {"a": before + 1})

    async def test_writing_the_same_value_again_is_a_change(self, store: Store) -> None:
        first = await store.commit({"a": "1"})
        second = await store.commit({"a": "1"})
        assert second > first
        assert (await store.load("a")).entries["a"].revision == second

    async def test_entries_come_in_order_of_their_utf8_bytes(self, store: Store) -> None:
        await store.commit({key: "x" for key in reversed(AWKWARD_KEYS)})
        assert list((await store.load()).entries) == sorted(AWKWARD_KEYS, key=str.encode)

    @pytest.mark.parametrize("prefix", AWKWARD_PREFIXES)
    async def test_a_prefix_selects_exactly_the_keys_that_start_with_it(self, store: Store, prefix: str) -> None:
        await store.commit({key: key for key in AWKWARD_KEYS})
        expected = sorted(key for key in AWKWARD_KEYS if key.startswith(prefix))
        assert list((await store.load(prefix)).entries) == expected

    @pytest.mark.parametrize("prefix", ["", "a", "\U0010ffff"])
    async def test_pages_of_any_size_join_to_the_whole(self, store: Store, prefix: str) -> None:
        await store.commit({key: key for key in AWKWARD_KEYS})
        whole = list((await store.load(prefix)).entries)
        for size in (1, 2, 3, len(AWKWARD_KEYS)):
            pages, after = [], ""
            while page := list((await store.load(prefix, after=after, limit=size)).entries):
                assert len(page) <= size
                pages += page
                after = page[-1]
            assert pages == whole

    async def test_after_need_not_exist_nor_carry_the_prefix(self, store: Store) -> None:
        await store.commit({"a/1": "x", "a/3": "x", "b": "x"})
        assert list((await store.load("a/", after="a/2")).entries) == ["a/3"]
        assert list((await store.load("a/", after="A")).entries) == ["a/1", "a/3"]
        assert list((await store.load("a/", after="b")).entries) == []

    @pytest.mark.parametrize("value", ["", "x" * 2**20, "å€😀\x00" * 1000, '{"a": [1, null]}', "\n"])
    async def test_values_come_back_as_they_went_in(self, store: Store, value: str) -> None:
        await store.commit({"k": value})
        assert (await store.load("k")).entries["k"].value == value

    # --- guards -----------------------------------------------------------------------------------

    async def test_guard_zero_means_absent(self, store: Store) -> None:
        revision = await store.commit({"a": "1"}, {"a": 0})
        with pytest.raises(StaleRevisionError) as caught:
            await store.commit({"a": "2"}, {"a": 0})
        assert (caught.value.key, caught.value.expected, caught.value.actual) == ("a", 0, revision)

    async def test_a_stale_guard_writes_nothing_at_all(self, store: Store) -> None:
        old = await store.commit({"a": "1", "b": "1"})
        new = await store.commit({"a": "2"})
        with pytest.raises(StaleRevisionError) as caught:
            await store.commit({"a": "3", "b": "3", "c": "3"}, {"b": old, "a": old})
        assert (caught.value.key, caught.value.expected, caught.value.actual) == ("a", old, new)
        loaded = await store.load()
        assert {key: entry.value for key, entry in loaded.entries.items()} == {"a": "2", "b": "1"}
        assert loaded.revision == new

    async def test_a_guard_that_holds_lets_the_commit_pass(self, store: Store) -> None:
        revision = await store.commit({"a": "1"})
        await store.commit({"b": "1"})
        await store.commit({"a": "2"}, {"a": revision, "absent": 0})
        assert (await store.load("a")).entries["a"].value == "2"

    async def test_deleted_and_made_again_is_not_the_same(self, store: Store) -> None:
        first = await store.commit({"a": "1"})
        await store.commit({"a": None})
        with pytest.raises(StaleRevisionError) as caught:
            await store.commit({"a": "2"}, {"a": first})
        assert caught.value.actual == 0
        again = await store.commit({"a": "1"}, {"a": 0})
        with pytest.raises(StaleRevisionError):
            await store.commit({"a": "2"}, {"a": first})
        await store.commit({"a": "2"}, {"a": again})

    async def test_a_guard_may_stand_on_a_key_that_is_not_written(self, store: Store) -> None:
        revision = await store.commit({"leader": "me"})
        await store.commit({"leader": "you"})
        with pytest.raises(StaleRevisionError):
            await store.commit({"plan": "mine"}, {"leader": revision})
        assert (await store.load("plan")).entries == {}

    async def test_of_many_that_race_for_one_key_one_wins_each_round(self, store: Store) -> None:
        async def count_up(times: int) -> int:
            lost = 0
            for _ in range(times):
                while True:
                    entry = (await store.load("n")).entries["n"]
                    try:
                        await store.commit({"n": str(int(entry.value) + 1)}, {"n": entry.revision})
                        break
                    except StaleRevisionError:
                        lost += 1
            return lost

        await store.commit({"n": "0"})
        await asyncio.gather(*(count_up(10) for _ in range(5)))
        assert (await store.load("n")).entries["n"].value == "50"

    async def test_a_load_never_sees_half_a_commit(self, store: Store) -> None:
        async def write() -> None:
            for number in range(100):
                await store.commit({"left": str(number), "right": str(number)})

        writing = asyncio.create_task(write())
        while not writing.done():
            entries = (await store.load()).entries
            assert len({entry.value for entry in entries.values()}) <= 1
            await asyncio.sleep(0)
        await writing

    # --- what is not allowed ----------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("values", "guards"),
        [
            ({"": "x"}, {}),
            ({"\ud800": "x"}, {}),
            ({"a": "\udfff"}, {}),
            ({"a": 1}, {}),
            ({}, {"": 0}),
            ({}, {"a": -1}),
            ({}, {"a": True}),
        ],
    )
    async def test_what_cannot_be_stored_is_refused_and_changes_nothing(
        self, store: Store, values: dict[str, str | None], guards: dict[str, int]
    ) -> None:
        before = (await store.load()).revision
        with pytest.raises(InvalidInputError):
            await store.commit({"good": "1", **values}, guards)
        assert await store.load() == Loaded(before, {})

    async def test_a_range_that_cannot_be_answered_is_refused(self, store: Store) -> None:
        wrong: list[dict[str, Any]] = [{"limit": 0}, {"limit": -1}, {"prefix": "\ud800"}, {"after": "\ud800"}]
        for range_ in wrong:
            with pytest.raises(InvalidInputError):
                await store.load(**range_)
