"""Addresses are kept between starts, and a file that is not as it should be is as good as none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.address_book import AddressBook
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.parts import Addresses
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resolve import Resolver


def test_what_is_saved_is_loaded_again_by_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "addresses.json"
    for known in ({"a.test": ("192.0.2.1", "2001:db8::1")}, {"b.test": ("192.0.2.2",)}):
        AddressBook(path).save(known)
        assert AddressBook(path).load() == known
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["addresses.json"]


def test_without_a_path_nothing_is_kept() -> None:
    book = AddressBook()
    book.save({"a.test": ("192.0.2.1",)})
    assert book.load() == {}


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"a.test": "192.0.2.1"}', '{"a.test": [7, "moon", null]}'])
def test_what_makes_no_sense_is_passed_over(tmp_path: Path, text: str) -> None:
    path = tmp_path / "addresses.json"
    path.write_text(text)
    assert AddressBook(path).load() == {}


def test_where_nothing_can_be_written_nothing_is_kept_and_nothing_fails(tmp_path: Path) -> None:
    book = AddressBook(tmp_path / "missing" / "addresses.json")
    book.save({"a.test": ("192.0.2.1",)})
    assert book.load() == {}


async def test_a_kept_address_where_no_region_may_be_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "addresses.json"
    path.write_text(json.dumps({"a.test": ["169.254.169.254"], "b.test": ["169.254.169.254", "192.0.2.2"]}))

    async def lookup(_: str) -> list[str]:
        raise OSError("no such host")

    told: list[Addresses] = []
    resolver = Resolver(told.append, lookup=lookup, book=AddressBook(path))
    await resolver.start()
    try:
        resolver.follow(["a.test", "b.test"])
        assert resolver.addresses == {"b.test": ("192.0.2.2",)}
        assert resolver.awaits({"a.test"}) and not resolver.awaits({"b.test"})
        await resolver.look()
        assert resolver.addresses == {"b.test": ("192.0.2.2",)}
        assert not resolver.awaits({"a.test"})
    finally:
        await resolver.close()
