"""Hosts of regions are looked up, kept while the lookup fails, and forgotten when nobody asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.parts import Addresses
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resolve import Resolver, system_lookup


class Names:
    """A directory that tests write in; a name that is not in it is not found."""

    def __init__(self, **known: str) -> None:
        self.known = {name.replace("_", "."): addresses.split() for name, addresses in known.items()}
        self.asked: list[str] = []
        self.told: list[Addresses] = []

    async def look(self, host: str) -> Iterable[str]:
        self.asked.append(host)
        if host not in self.known:
            raise OSError(f"{host} is unknown")
        return self.known[host]

    def resolver(self, every_s: float = 3600.0) -> Resolver:
        return Resolver(self.told.append, lookup=self.look, every_s=every_s)


async def test_answers_are_told_once_and_again_when_they_differ() -> None:
    names = Names(a_test="192.0.2.2 192.0.2.1 192.0.2.1", b_test="2001:db8::1")
    resolver = names.resolver()
    resolver.follow(["a.test", "b.test"])
    await resolver.look()
    await resolver.look()
    assert names.told == [{"a.test": ("192.0.2.1", "192.0.2.2"), "b.test": ("2001:db8::1",)}]
    names.known["a.test"] = ["192.0.2.9"]
    await resolver.look()
    assert names.told[1:] == [{"a.test": ("192.0.2.9",), "b.test": ("2001:db8::1",)}]
    assert resolver.addresses == names.told[-1]


async def test_what_was_known_stays_while_the_lookup_fails_or_says_nothing() -> None:
    names = Names(a_test="192.0.2.1", b_test="192.0.2.2")
    resolver = names.resolver()
    resolver.follow(["a.test", "b.test", "never.test"])
    await resolver.look()
    del names.known["a.test"]
    names.known["b.test"] = []
    await resolver.look()
    assert resolver.addresses == {"a.test": ("192.0.2.1",), "b.test": ("192.0.2.2",)}
    assert len(names.told) == 1


async def test_an_answer_that_leads_to_a_metadata_service_is_not_believed() -> None:
    names = Names(a_test="169.254.169.254", b_test="192.0.2.2 169.254.169.254")
    resolver = names.resolver()
    resolver.follow(["a.test", "b.test"])
    await resolver.look()
    assert resolver.addresses == {"b.test": ("192.0.2.2",)}


async def test_an_answer_that_comes_when_nobody_follows_the_host_any_more_is_not_kept() -> None:
    names = Names(a_test="192.0.2.1", b_test="192.0.2.2")

    async def look(host: str) -> Iterable[str]:
        resolver.follow(["b.test"])
        return await names.look(host)

    resolver = Resolver(names.told.append, lookup=look, every_s=3600.0)
    resolver.follow(["a.test", "b.test"])
    await resolver.look()
    assert resolver.addresses == names.told[-1] == {"b.test": ("192.0.2.2",)}


async def test_that_a_first_lookup_found_nobody_is_told_since_edges_wait_for_it() -> None:
    names = Names()
    resolver = names.resolver()
    resolver.follow(["never.test"])
    waited = resolver.awaits({"never.test"})
    await resolver.look()
    await resolver.look()
    assert (waited, resolver.awaits({"never.test"}), names.told) == (True, False, [{}])


async def test_hosts_that_nobody_follows_are_forgotten() -> None:
    names = Names(a_test="192.0.2.1", b_test="192.0.2.2")
    resolver = names.resolver()
    resolver.follow(["a.test", "b.test"])
    await resolver.look()
    resolver.follow(["b.test"])
    assert resolver.addresses == {"b.test": ("192.0.2.2",)}


async def test_new_hosts_are_looked_up_at_once_and_all_from_time_to_time() -> None:
    names = Names(a_test="192.0.2.1", b_test="192.0.2.2")
    resolver = names.resolver(every_s=0.02)
    await resolver.start()
    resolver.follow(["a.test"])
    try:
        async with asyncio.timeout(30):
            while names.asked.count("a.test") < 3:
                await asyncio.sleep(0.01)
    finally:
        await resolver.close()
    patient = names.resolver()
    await patient.start()
    patient.follow(["b.test"])
    try:
        async with asyncio.timeout(30):
            while "b.test" not in patient.addresses:
                await asyncio.sleep(0.01)
    finally:
        await patient.close()


async def test_the_system_knows_this_machine() -> None:
    assert "127.0.0.1" in await system_lookup("localhost")
