"""Protobuf's encoding where whole messages would be too slow to make, and how types are named in it.

Needs no protobuf itself: what writes JSON for Envoy can be imported without it.
"""

from __future__ import annotations

TYPE_URL = "type.googleapis.com/"
"""What the address of a message's type begins with; its full name follows."""


def field(number: int, body: bytes) -> bytes:
    """A field of the wire type that has a length, as text, bytes and messages have; ``number``: up to 15."""
    return bytes((number << 3 | 2,)) + varint(len(body)) + body


def varint(number: int) -> bytes:
    """A number as protobuf writes lengths: seven bits at a time, the lowest first."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])
