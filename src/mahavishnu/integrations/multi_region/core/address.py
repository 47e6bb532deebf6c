"""HOST:PORT in text: the one parser of it, which hosts it takes, and which of them only this machine reaches."""

from __future__ import annotations

import re
from ipaddress import ip_address

from ..errors import InvalidInputError

_SHAPE = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?)\]|(?P<host>[^\[\]:]+)):(?P<port>[0-9]{1,5})")
_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")


def address_words(*, names: bool = True, any_port: bool = False) -> str:
    """What ``parse_address`` takes, in words."""
    port = f"a port from {0 if any_port else 1} to 65535"
    if names:
        return f"HOST:PORT, an IPv6 address in brackets, {port}"
    return f"ADDRESS:PORT such as 127.0.0.1:10000 or [::1]:10000, {port}"


def parse_address(
    text: object, field: str = "address", *, names: bool = True, any_port: bool = False
) -> tuple[str, int]:
    """The host (an IPv6 address without its brackets) and the port of HOST:PORT.

    ``names``: whether the host may be a name, or an IPv6 address with its zone; else it is an address. ``any_port``:
    whether the port may be 0, which stands for any free one. Raises InvalidInputError.
    """
    found = _SHAPE.fullmatch(text) if isinstance(text, str) else None
    if found is not None:
        host, port = found["six"] or found["host"], int(found["port"])
        if (0 if any_port else 1) <= port <= 65_535 and _is_host(host, bracketed=bool(found["six"]), names=names):
            return host, port
    raise InvalidInputError(field, text, address_words(names=names, any_port=any_port))


def is_host_name(text: str) -> bool:
    """Whether a text is a host's name in ASCII, or an IPv4 address."""
    return len(text) <= 253 and _NAME.fullmatch(text) is not None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host; a name other than ``localhost`` is not trusted to be so."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _is_host(host: str, *, bracketed: bool, names: bool) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        last = host.rstrip(".").rpartition(".")[2]  # a number at the end makes a mistyped address of it
        return names and not bracketed and is_host_name(host) and not last.isdigit()
    return bracketed == (address.version == 6) and (names or "%" not in host)
