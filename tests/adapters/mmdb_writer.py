"""Writes small MaxMind DB files, by the published format (version 2.0), so that tests need no other's data."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path
from typing import Any

_MARKER = b"\xab\xcd\xefMaxMind.com"
_Node = list[Any]


def write_mmdb(path: Path, records: Mapping[str, Any], *, ip_version: int = 6) -> Path:
    """A database of these networks (``203.0.113.0/24``) and their records; ``path`` again."""
    root: _Node = [None, None]
    for network, record in records.items():
        _insert(root, ip_network(network), record, ip_version)
    nodes = _numbered(root)
    data, offsets = bytearray(), dict[int, int]()
    for record in records.values():
        offsets[id(record)] = len(data)
        data += encoded(record)
    tree = b"".join(
        struct.pack(">II", *(_pointer(child, nodes, offsets) for child in node)) for node, _ in nodes.values()
    )
    about = {
        "binary_format_major_version": _Short(2),
        "binary_format_minor_version": _Short(0),
        "build_epoch": _Long(1_700_000_000),
        "database_type": "Test",
        "description": {"en": "made by a test"},
        "ip_version": _Short(ip_version),
        "languages": ["en"],
        "node_count": len(nodes),
        "record_size": _Short(32),
    }
    path.write_bytes(tree + bytes(16) + bytes(data) + _MARKER + encoded(about))
    return path


class _Short(int):
    """A whole number of 16 bits; readers insist on the type."""


class _Long(int):
    """A whole number of 64 bits."""


class _Leaf:
    def __init__(self, record: Any) -> None:
        self.record = record


def _insert(root: _Node, network: IPv4Network | IPv6Network, record: Any, ip_version: int) -> None:
    bits = f"{int(network.network_address):0{network.max_prefixlen}b}"[: network.prefixlen]
    if isinstance(network, IPv4Network) and ip_version == 6:
        bits = "0" * (IPv6Address("::").max_prefixlen - 32) + bits
    node = root
    for bit in bits[:-1]:
        if node[int(bit)] is None:
            node[int(bit)] = [None, None]
        node = node[int(bit)]
    node[int(bits[-1])] = _Leaf(record)


def _numbered(root: _Node) -> dict[int, tuple[_Node, int]]:
    """All nodes by identity, each with its number, parents first."""
    found: dict[int, tuple[_Node, int]] = {}
    waiting = [root]
    while waiting:
        node = waiting.pop(0)
        found[id(node)] = (node, len(found))
        waiting += [child for child in node if isinstance(child, list)]
    return found


def _pointer(child: Any, nodes: Mapping[int, tuple[_Node, int]], offsets: Mapping[int, int]) -> int:
    if isinstance(child, list):
        return nodes[id(child)][1]
    return len(nodes) if child is None else len(nodes) + 16 + offsets[id(child.record)]


_WHOLE = {_Short: 5, _Long: 9}


def encoded(value: Any) -> bytes:
    """A value of the data section: text, float, int from 0, bool, list or dict."""
    match value:
        case bool():
            return _head(14, int(value))
        case str():
            return _head(2, len(value.encode())) + value.encode()
        case float():
            return _head(3, 8) + struct.pack(">d", value)
        case int():
            size = (value.bit_length() + 7) // 8
            return _head(_WHOLE.get(type(value), 6), size) + value.to_bytes(size)
        case dict():
            return _head(7, len(value)) + b"".join(encoded(key) + encoded(item) for key, item in value.items())
        case _:
            return _head(11, len(value)) + b"".join(map(encoded, value))


def _head(kind: int, size: int) -> bytes:
    """The control byte, the byte of an extended type, and that of a size from 29 to 284."""
    small, more = (size, b"") if size < 29 else (29, bytes([size - 29]))
    first = bytes([small]) + bytes([kind - 7]) if kind > 7 else bytes([kind << 5 | small])
    return first + more
