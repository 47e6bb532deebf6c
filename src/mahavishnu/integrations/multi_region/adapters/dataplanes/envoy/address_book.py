"""The addresses that hosts of regions were last known by, kept on disk, for a controller that starts while names fail.

A small JSON file: host name to a list of IP addresses. It is an aid, so a file that cannot be read is an empty one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import structlog

from .parts import Addresses
from .private_file import replace_private

log = structlog.get_logger(__name__)


class AddressBook:
    """Reads and writes the file at ``path``; None keeps nothing. Both calls block for as long as the disk takes."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    def load(self) -> dict[str, tuple[str, ...]]:
        """What was kept last; what is not host names with addresses is passed over."""
        if self._path is None:
            return {}
        try:
            found = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as err:
            log.warning("addresses that were kept cannot be read", path=str(self._path), error=str(err))
            return {}
        return {host: ips for host, kept in _items(found) if (ips := _ips(kept))}

    def save(self, addresses: Addresses) -> None:
        """Keep these in place of what was kept before; readable by this user alone. A failure is logged."""
        if self._path is None:
            return
        kept = {host: list(ips) for host, ips in sorted(addresses.items())}
        try:
            replace_private(self._path, json.dumps(kept).encode())
        except OSError as err:
            log.error("addresses not kept", path=str(self._path), error=str(err))


def _items(found: Any) -> list[tuple[str, Any]]:
    return list(found.items()) if isinstance(found, Mapping) else []


def _ips(kept: Any) -> tuple[str, ...]:
    """Those of a list that are IP addresses, in order."""
    return tuple(sorted(text for text in kept if _is_ip(text))) if isinstance(kept, list) else ()


def _is_ip(text: Any) -> bool:
    try:
        return isinstance(text, str) and bool(ip_address(text))
    except ValueError:
        return False
