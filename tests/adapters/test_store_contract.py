"""The store's contract against the in-memory reference and SQLite; and both side by side through any calls."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mahavishnu.integrations.multi_region.adapters.stores.sqlite import SqliteStore
from mahavishnu.integrations.multi_region.errors import HistoryGoneError, StaleRevisionError
from mahavishnu.integrations.multi_region.ports.store import MemoryStore, Store, prefix_end
from mahavishnu.integrations.multi_region.testing.store_contract import (
    AWKWARD_KEYS,
    AWKWARD_PREFIXES,
    StoreContract,
    collect,
)


class TestMemoryStore(StoreContract):
    async def open_store(self, place: Path, history: int) -> Store:
        return MemoryStore(history=history)


class TestSqliteStore(StoreContract):
    async def open_store(self, place: Path, history: int) -> Store:
        return await SqliteStore.open(place / "state" / "store.db", history=history)


def test_prefix_end_stands_right_after_all_keys_with_the_prefix() -> None:
    assert prefix_end("a/") == "a0"
    assert prefix_end("a\U0010ffff") == "b"
    assert prefix_end("\ud7ff") == "\ue000"
    assert prefix_end("") is prefix_end("\U0010ffff") is None


HISTORY = 6
KEYS = st.sampled_from(AWKWARD_KEYS) | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3)
PREFIXES = st.sampled_from(AWKWARD_PREFIXES) | st.text(st.characters(exclude_categories=["Cs"]), max_size=2)
VALUES = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


class BothStores(RuleBasedStateMachine):
    """Gives the same calls to both stores; they must answer alike, step by step."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.memory: Store = MemoryStore(history=HISTORY)
        self.sqlite: Store = self.runner.run(SqliteStore.open(Path(self.folder.name) / "store.db", history=HISTORY))
        self.known: list[str] = ["a"]
        self.log: list[tuple[int, list[str]]] = []

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self.sqlite.close())
            self.runner.close()
            self.folder.cleanup()

    @rule(values=st.dictionaries(KEYS, VALUES, max_size=4), data=st.data())
    def commit(self, values: dict[str, str | None], data: st.DataObject) -> None:
        if data.draw(st.booleans()):  # touch what is there already
            values[data.draw(st.sampled_from(self.known))] = data.draw(VALUES)
        guarded = data.draw(st.lists(st.sampled_from(self.known), max_size=2))
        entries = self.runner.run(self.memory.load()).entries
        true = {key: entries[key].revision if key in entries else 0 for key in guarded}
        guards = {key: max(0, revision + data.draw(st.sampled_from([0, 0, 0, -1]))) for key, revision in true.items()}
        self.known += values
        answers = [self.ask_commit(store, values, guards) for store in self.both()]
        assert answers[0] == answers[1]
        if isinstance(answers[0], int):
            self.log.append((answers[0], [key for key in values if values[key] is not None or key in entries]))

    @rule(prefix=PREFIXES, after=st.just("") | KEYS, limit=st.none() | st.integers(1, 4))
    def load(self, prefix: str, after: str, limit: int | None) -> None:
        loaded = [self.runner.run(store.load(prefix, after=after, limit=limit)) for store in self.both()]
        assert loaded[0] == loaded[1]
        assert list(loaded[0].entries) == list(loaded[1].entries)

    @rule(prefix=PREFIXES, back=st.integers(-1, HISTORY + 2))
    def watch(self, prefix: str, back: int) -> None:
        revision = self.runner.run(self.memory.load()).revision
        after = max(0, revision - back)
        expected = [at for at, keys in self.log if at > after and any(key.startswith(prefix) for key in keys)]
        gone = after > revision or after < revision - HISTORY
        told = [self.ask_watch(store, prefix, after, 1 if gone else len(expected)) for store in self.both()]
        assert told[0] == told[1]
        assert told[0] == "gone" if gone else [changes.revision for changes in told[0]] == expected

    @invariant()
    def same(self) -> None:
        if hasattr(self, "runner"):
            assert self.runner.run(self.memory.load()) == self.runner.run(self.sqlite.load())

    def ask_commit(self, store: Store, values: dict[str, str | None], guards: dict[str, int]) -> object:
        try:
            return self.runner.run(store.commit(values, guards))
        except StaleRevisionError as err:
            return err.key, err.expected, err.actual

    def ask_watch(self, store: Store, prefix: str, after: int, count: int) -> Any:
        try:
            return self.runner.run(collect(store.watch(prefix, after=after), count))
        except HistoryGoneError:
            return "gone"

    def both(self) -> tuple[Store, Store]:
        return self.memory, self.sqlite


TestBothStores = BothStores.TestCase
TestBothStores.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
