"""The controller as the demo uses it: over HTTP, with a token, like anybody else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import aiohttp

from mahavishnu.integrations.multi_region.core.model import Point
from mahavishnu.integrations.multi_region.errors import UnavailableError

READY = "listening on "
"""What the controller's process prints, followed by its URL, once it answers."""

ANSWER_S = 1.0
"""How long the controller may take to answer."""

DRAIN_S = 20.0
"""How long it may take to answer for a drain, which waits for requests in flight."""

CANDIDATES = 100
"""How many regions a client wants to know of: all, so that it has somewhere to turn."""


class ControllerFailure(UnavailableError):
    """The controller did not answer in time, or refused."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request is to go, and where else it may, best first."""

    region_id: str
    alternatives: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """How one call of a region went."""

    region_id: str
    ok: bool
    latency_ms: float
    service: str


@dataclass(frozen=True, slots=True)
class Status:
    """How the controller sees a region. ``load`` and ``capacity`` in requests/s."""

    region_id: str
    phase: str
    load: float
    capacity: float


@dataclass(frozen=True, slots=True)
class Happening:
    """One event of the controller's log, ``at`` in seconds since the epoch.

    ``phase``: the one that a region is in now; ``to``: where traffic was moved; each None when that is not told.
    ``detected_ms``: from the first bad sign to the failover.
    """

    seq: int
    at: float
    kind: str
    subject: str
    reason: str
    phase: str | None = None
    detected_ms: float = 0.0
    to: str | None = None
    details: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def outcome(self) -> str:
        """What came of it, in a word or two; empty when the kind says it all."""
        return f"to {self.to}" if self.to else self.phase or ""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a deployment's history; ``at`` in seconds since the epoch."""

    at: float
    state: str
    why: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """A deployment as it stands: ``step`` from 0, -1 before the first; ``held``: why it does not go on."""

    deployment_id: str
    state: str
    settled: bool
    step: int
    held: str | None
    history: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge as the controller sees it. ``synced``: it has taken over the newest plan."""

    edge_id: str
    connected: bool
    synced: bool


@dataclass(frozen=True, slots=True)
class Drained:
    """A drain as it was answered. ``at``: seconds since the epoch when it was asked for."""

    state: str
    at: float


@dataclass(frozen=True, slots=True)
class Explained:
    """A decision: the request in words, where it goes, and why each other region is left out."""

    request: str
    selected: str | None
    excluded: Mapping[str, str]


class Controller:
    """The controller at ``url``. Every call raises ControllerFailure when it comes to nothing."""

    def __init__(self, url: str, token: str | None, session: aiohttp.ClientSession) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._session = session

    async def route(self, client: Point, service: str) -> Route:
        """Where a client's request for a service goes."""
        asked = {"request_context": _context(client, service), "candidates": CANDIDATES}
        first, *others = (region["region_id"] for region in (await self._ask("POST", "/route", asked))["candidates"])
        return Route(first, tuple(others))

    async def observe(self, reports: Iterable[Report]) -> None:
        """Tell how real requests went."""
        told = [asdict(report) for report in reports]
        await self._ask("POST", "/v1/observations", {"outcomes": told})

    async def statuses(self) -> list[Status]:
        """How each region is."""
        return [_status(raw) for raw in await self._ask("GET", "/v1/regions")]

    async def happenings(self, after: int) -> list[Happening]:
        """The events after number ``after``, oldest first."""
        answer = await self._ask("GET", f"/v1/events?after={after}&limit=200")
        return [_happening(raw) for raw in answer["events"]]

    async def explain(self, city: str, client: Point, service: str) -> Explained:
        """The decision for a request, with the reason for each region that is left out."""
        answer = await self._ask("POST", "/v1/route/explain", {"request_context": _context(client, service)})
        excluded = {region_id: why["text"] for region_id, why in answer["excluded"].items()}
        decision = answer["decision"]
        return Explained(f"{service} from {city}", decision and decision["selected_region"], excluded)

    async def deploy_blue_green(self, body: Mapping[str, Any]) -> Rollout:
        """Begin a blue-green deployment."""
        return _rollout(await self._ask("POST", "/v1/deployments/blue-green", body))

    async def rollout(self, deployment_id: str) -> Rollout:
        """A deployment as it stands."""
        return _rollout(await self._ask("GET", f"/v1/deployments/{deployment_id}"))

    async def edges(self) -> list[Edge]:
        """Every edge that is declared or connected."""
        found = await self._ask("GET", "/v1/edges")
        return [Edge(raw["edge_id"], raw["connected"], bool(raw["synced"])) for raw in found]

    async def drain(self, region_id: str, reason: str) -> Drained:
        """Take a region out of service; answers once requests in flight there have ended, or time is up."""
        path = f"/v1/regions/{quote(region_id, safe='')}/drain"
        answer = await self._ask("POST", path, {"reason": reason, "graceful": True}, DRAIN_S)
        return Drained(answer["state"], answer["at"])

    async def undrain(self, region_id: str, reason: str) -> None:
        """Lift a drain."""
        await self._ask("POST", f"/v1/regions/{quote(region_id, safe='')}/undrain", {"reason": reason})

    async def put_policy(self, policy_id: str, body: Mapping[str, Any]) -> None:
        """Register or replace a policy."""
        await self._ask("PUT", f"/v1/policies/{quote(policy_id, safe='')}", body)

    async def verify_log(self) -> int:
        """Prove that the log of events is whole; how many there are."""
        answer = await self._ask("GET", "/v1/audit/verify")
        return int(answer["events"])

    async def _ask(self, method: str, path: str, body: object = None, within_s: float = ANSWER_S) -> Any:
        limit = aiohttp.ClientTimeout(total=within_s)
        try:
            async with self._session.request(
                method, self._url + path, json=body, headers=self._headers, timeout=limit
            ) as answer:
                if answer.status >= 400:
                    raise ControllerFailure(f"the controller answered {answer.status}: {await _why(answer)}")
                return await answer.json() if answer.status != 204 else None
        except (aiohttp.ClientError, OSError) as err:  # TimeoutError is an OSError
            raise ControllerFailure(f"the controller did not answer: {type(err).__name__}") from err


async def _why(answer: aiohttp.ClientResponse) -> str:
    """The detail of a problem document."""
    problem = await answer.json(content_type=None)
    return str(problem.get("detail") or problem.get("title") or problem)


def _context(client: Point, service: str) -> dict[str, Any]:
    place = {"latitude": client.latitude, "longitude": client.longitude}
    return {"service": service, "user_location": place}


def _status(raw: Mapping[str, Any]) -> Status:
    return Status(raw["region_id"], raw["phase"], raw["load"], raw["max_capacity"])


def _rollout(raw: Mapping[str, Any]) -> Rollout:
    history = tuple(Step(line["at"], line["state"], line["why"]) for line in raw["history"])
    named = (raw["deployment_id"], raw["state"], raw["settled"], raw["step"], raw["held"])
    return Rollout(*named, history)


def _happening(raw: Mapping[str, Any]) -> Happening:
    return Happening(
        seq=raw["seq"],
        at=raw["at"],
        kind=raw["kind"],
        subject=raw["subject"],
        reason=raw["reason"],
        phase=(raw["after"] or {}).get("phase"),
        detected_ms=raw["details"].get("detected_ms", 0.0),
        to=raw["details"].get("to"),
        details=raw["details"],
    )
