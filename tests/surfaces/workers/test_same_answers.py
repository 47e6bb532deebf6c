"""Whatever is asked, a worker's answer is the controller's, byte for byte: status, headers and body."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from mahavishnu.integrations.multi_region.core.model import RoutingStrategy
from tests.surfaces.cli_stage import DEADLINE_S
from tests.surfaces.workers.stage import Answer, Fleet, serving

pytestmark = pytest.mark.slow

TAKES_TURNS = {RoutingStrategy.ROUND_ROBIN, RoutingStrategy.WEIGHTED}
"""Each process counts its own, so the answers may differ."""

ODD = st.sampled_from([None, True, -1, 0, 1.5, 91, 1e308, "", "x", "eu-west-1", [], {}, [1], {"latitude": 1}])
DEGREES = (
    st.sampled_from([0, -0.0, 90, -90, 90.0000001, 180, -180, 179.999999, 52.5, 13.4]) | st.floats(-200, 200) | ODD
)
PLACE = st.fixed_dictionaries({}, optional={"latitude": DEGREES, "longitude": DEGREES, "altitude": ODD}) | ODD
LAWS = st.lists(st.sampled_from(["gdpr", "hipaa", "soc2", "none"]), max_size=3) | ODD
CONTEXT = st.fixed_dictionaries(
    {},
    optional={
        "user_location": PLACE,
        "country": st.sampled_from(["DE", "jp", "XX", ""]) | ODD,
        "ip": st.sampled_from(["8.8.8.8", "::1", "no"]) | ODD,
        "service": st.sampled_from(["web", "accounts", "nobody"]) | ODD,
        "compliance_requirements": LAWS,
        "data_id": st.sampled_from(["orders"]) | ODD,
        "data_class": st.sampled_from(["personal"]) | ODD,
        "current_region": st.sampled_from(["eu-west-1", "us-east-1", "nowhere"]) | ODD,
        "other": ODD,
    },
)
STRATEGY = st.sampled_from([s.value for s in RoutingStrategy if s not in TAKES_TURNS]) | ODD
CANDIDATES = st.integers(-1, 5) | ODD
ROUTE = st.fixed_dictionaries(
    {"request_context": CONTEXT | ODD}, optional={"strategy": STRATEGY, "candidates": CANDIDATES, "other": ODD}
)
COLUMN = st.lists(DEGREES, max_size=4) | ODD
BATCH = st.fixed_dictionaries(
    {"latitude": COLUMN, "longitude": COLUMN},
    optional={"strategy": STRATEGY, "service": ODD, "compliance_requirements": LAWS, "other": ODD},
)
CUT = st.none() | st.tuples(st.floats(0, 1), st.binary(max_size=3))
KIND = st.sampled_from(
    ["application/json"] * 6 + ["application/json; charset=x", "application/a+json", "text/plain", ""]
)
AUTHORIZATION = st.sampled_from([None, None, "Bearer wrong", "Basic eA==", "Bearer \xff", "Bearer"])


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A server with two workers over regions that are well, and stay so."""
    with serving(tmp_path_factory.mktemp("same"), "--store", "memory") as fleet:
        fleet.wait_until_well()
        yield fleet


class _Inside(http.client.HTTPConnection):
    """A connection to the controller itself, at its socket in the private directory."""

    def __init__(self, path: Path) -> None:
        super().__init__("controller", timeout=DEADLINE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE_S)
        self.sock.connect(str(self._path))


@pytest.fixture(scope="module")
def lines(fleet: Fleet) -> Iterator[tuple[http.client.HTTPConnection, http.client.HTTPConnection]]:
    """A connection to a worker, and one to the controller."""
    inside = _Inside(fleet.private_place / "http")
    with closing(fleet.connect()) as outside, closing(inside):
        yield outside, inside


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(
    asked=st.tuples(st.just("/route"), ROUTE) | st.tuples(st.just("/v1/route/batch"), BATCH),
    cut=CUT,
    kind=KIND,
    authorization=AUTHORIZATION,
)
def test_a_worker_answers_what_the_controller_answers(
    lines: tuple[http.client.HTTPConnection, http.client.HTTPConnection],
    asked: tuple[str, Any],
    cut: tuple[float, bytes] | None,
    kind: str,
    authorization: str | None,
) -> None:
    path, body = asked
    raw = json.dumps(body).encode()
    if cut is not None:  # no longer JSON, as a rule
        at = int(cut[0] * len(raw))
        raw = raw[:at] + cut[1] + raw[at + len(cut[1]) :]
    headers = {"Content-Type": kind} if kind else {}
    if authorization is not None:
        headers["Authorization"] = authorization
    outside, inside = lines
    assert _answer(outside, path, raw, headers) == _answer(inside, path, iter([raw]), headers)


def _answer(
    line: http.client.HTTPConnection, path: str, raw: bytes | Iterator[bytes], headers: dict[str, str]
) -> Answer:
    """An answer with its headers, apart from the date. What is sent in chunks goes no short way."""
    line.request("POST", path, raw, headers)
    response = line.getresponse()
    named = {name.lower(): value for name, value in response.getheaders() if name.lower() != "date"}
    return Answer(response.status, named, response.read())
