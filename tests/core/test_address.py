"""HOST:PORT: what it is taken apart into, what is refused and with which words, and which hosts are this machine."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.core.address import address_words, is_loopback, parse_address
from mahavishnu.integrations.multi_region.errors import InvalidInputError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:80", "127.0.0.1", 80),
        ("[::1]:65535", "::1", 65_535),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
        ("localhost:1", "localhost", 1),
        ("a-b.example.test.:080", "a-b.example.test.", 80),
        ("pod_1:9", "pod_1", 9),
    ],
)
def test_an_address_is_taken_apart(text: str, host: str, port: int) -> None:
    assert parse_address(text) == (host, port)


BAD: list[Any] = [
    *("", ":80", "80", "a", "a:", "a:x", "a:-1", "a:+1", "a:65536", "a:123456", "a:\u0663", "\uff11:80", "a:80\n"),
    *("::1:18000", "[::1:5", "::1]:5", "[a]:80", "[127.0.0.1]:80", "[]:80", "[::1]", "[::1]80", "[[::1]]:80"),
    *("a b:80", "a/b:1", "http://a:80", "-a:80", "a..b:80", "256.0.0.1:80", "10.0.0:80", "a" * 64 + ":80"),
    *("bücher.test:80", "a:80:80", None, 80, b"a:80"),
]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("names", [True, False])
@pytest.mark.parametrize("any_port", [True, False])
def test_anything_else_is_named_with_what_is_allowed(bad: Any, names: bool, any_port: bool) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_address(bad, "here", names=names, any_port=any_port)
    words = address_words(names=names, any_port=any_port)
    assert (caught.value.field, caught.value.value, caught.value.allowed) == ("here", bad, words)


def test_names_and_port_0_are_taken_where_they_may_be() -> None:
    assert parse_address("a:0", any_port=True) == ("a", 0)
    assert "from 0" in address_words(any_port=True)
    for text, names in [("a:0", True), ("a:1", False), ("[fe80::1%eth0]:80", False)]:
        with pytest.raises(InvalidInputError):
            parse_address(text, names=names)


@given(st.ip_addresses(), st.integers(1, 65_535))
def test_every_address_is_read_back(address: Any, port: int) -> None:
    host = f"[{address}]" if address.version == 6 else str(address)
    assert parse_address(f"{host}:{port}", names=False) == (str(address), port)


@given(st.text("a1.:[]%-_ /", max_size=12))
def test_what_addresses_alone_take_names_take_as_well(text: str) -> None:
    try:
        found = parse_address(text, names=False)
    except InvalidInputError:
        return
    assert parse_address(text, any_port=True) == found


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        *(("localhost", True), ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("::1%lo", True)),
        *(("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("a.test", False), ("localhost.a.test", False)),
        *(("[::1]", False), ("", False)),
    ],
)
def test_only_this_machine_reaches_loopback(host: str, ours: bool) -> None:
    assert is_loopback(host) is ours
