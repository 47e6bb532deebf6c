"""An edge says once that no controller serves it, and once that one does again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.contact import PATIENCE_S, Contact

LOST, AGAIN = "no controller serves the edge", "a controller serves the edge again"


def heard(looks: list[int | None], *, tls: bool = False) -> list[MutableMapping[str, Any]]:
    """What is said over these looks, each a fifth of the patience after the one before; None: Envoy is away."""
    now = [0.0]
    contact = Contact("e1", (("127.0.0.1", 1), ("127.0.0.1", 2)), lambda: now[0], tls=tls)
    with capture_logs() as lines:
        for streams in looks:
            if streams is None:
                contact.pause()
            else:
                contact.saw(streams)
            now[0] += PATIENCE_S / 5
    return lines


@pytest.mark.parametrize(
    ("looks", "events"),
    [
        ([0] * 5, []),
        ([0] * 6, [LOST]),
        ([0] * 60, [LOST]),
        ([1] * 60, []),
        ([0, 1, 0, 0, 1, 0, 0], [LOST]),  # streams that end at once are none
        ([0] * 6 + [1, 1], [LOST, AGAIN]),
        ([0] * 6 + [1, 1] + [0] * 3 + [1, 1], [LOST, AGAIN]),
        ([0] * 6 + [1, 1] + [0] * 9, [LOST, AGAIN, LOST]),
        ([0, 0, 0, None, 0, 0, 0, None, 0, 0], []),
    ],
)
def test_it_is_said_once_and_once_when_it_is_over(looks: list[int | None], events: list[str]) -> None:
    assert [line["event"] for line in heard(looks)] == events


@pytest.mark.parametrize(("tls", "hint"), [(False, "--certificate"), (True, "a controller without certificates")])
def test_where_and_why_is_said(tls: bool, hint: str) -> None:
    (line,) = heard([0] * 9, tls=tls)
    assert line["controllers"] == ["127.0.0.1:1", "127.0.0.1:2"]
    assert "TLS" in line["hint"]
    assert hint in line["hint"]


_PRINT = (
    "import os, mahavishnu.integrations.multi_region.adapters.dataplanes.envoy; print(os.environ['GRPC_VERBOSITY'])"
)


@pytest.mark.parametrize(("given", "found"), [({}, "ERROR"), ({"GRPC_VERBOSITY": "DEBUG"}, "DEBUG")])
def test_grpc_is_quiet_about_handshakes_unless_somebody_wants_to_hear(given: dict[str, str], found: str) -> None:
    env = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"} | given
    ended = subprocess.run([sys.executable, "-c", _PRINT], env=env, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == found
