"""Every door that takes HOST:PORT takes and refuses the same: settings, command line, edges and their server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.tls import check_listen
from mahavishnu.integrations.multi_region.core.edges import parse_listen
from mahavishnu.integrations.multi_region.errors import InvalidInputError
from mahavishnu.integrations.multi_region.settings import PREFIX, load_settings
from tests.surfaces.cli_stage import Home

BAD = [
    "::1:18000",
    "[::1:18000",
    "[a]:80",
    "a b:80",
    "a/b:80",
    "127.0.0.1",
    "127.0.0.1:65536",
    "256.0.0.1:80",
    "a:\u0663",
]
DOORS: dict[str, Callable[[str], object]] = {
    "LISTEN": lambda text: load_settings({PREFIX + "LISTEN": text}),
    "XDS": lambda text: load_settings({PREFIX + "XDS": text}),
    "XDS_PEERS": lambda text: load_settings({PREFIX + "XDS_PEERS": f"10.0.0.1:18000,{text}"}),
    "listen": parse_listen,
    "xds.listen": lambda text: check_listen(text, None),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("text", BAD)
def test_what_is_no_address_is_refused_at_every_door(door: str, text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"an IPv6 address in brackets|\[::1\]:10000") as caught:
        DOORS[door](text)
    assert caught.value.field.endswith(door)


@pytest.mark.parametrize("text", ["[::1]:18000", "127.0.0.1:18000"])
def test_what_is_one_is_taken_at_every_door(text: str) -> None:
    for take in DOORS.values():
        take(text)


@pytest.mark.parametrize("text", [*BAD, "127.0.0.1:0"])
def test_a_controller_of_an_edge_is_an_address(tmp_path: Path, text: str) -> None:
    done = Home(tmp_path).cli("edge", "run", "edge-eu", "--controller", text)
    assert done.exit_code == 2
    assert all(part in done.output for part in ("--controller", "HOST:PORT, an IPv6 address in brackets"))


def test_a_peer_has_a_port_of_its_own() -> None:
    with pytest.raises(InvalidInputError, match="a port from 1 to 65535"):
        load_settings({PREFIX + "XDS_PEERS": "10.0.0.1:0"})
