"""The servers for edges: aggregated discovery, incremental and state of the world, and load reports, over gRPC.

Carries bytes and decides who may speak; what is said on a stream is in ``stream.py``, who the edges are in
``roster.py``. An edge is known by its node id. Until it is said which edges there are a stream waits; from then on one
of another edge is refused with NOT_FOUND, and with mutual TLS one whose certificate stands for another with
PERMISSION_DENIED.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import grpc
import grpc.aio
import structlog

from mahavishnu.integrations.multi_region.errors import UnavailableError
from mahavishnu.integrations.multi_region.ports.clock import Clock, SystemClock
from mahavishnu.integrations.multi_region.ports.dataplane import EdgeListener, EdgeState, Rejection

from .edge_record import Link
from .exchange import Ask
from .frames import Frames, read_delta, read_sotw
from .load_reports import REQUEST, LoadReports, wanted_reports
from .proto import message
from .resources import Snapshot
from .roster import Problems, Roster
from .tls import ServerTls, certified_names, check_listen

log = structlog.get_logger(__name__)

DISCOVERY = "envoy.service.discovery.v3.AggregatedDiscoveryService"
LOAD_REPORTING = "envoy.service.load_stats.v3.LoadReportingService"
HEALTH = "grpc.health.v1.Health"

_SERVING = b"\x08\x01"  # HealthCheckResponse: status SERVING

RETRY_S = 45.0
"""How often edges are offered once more what they refuse, in seconds."""

_MOST_REFUSED = 1000
"""Refusals that are remembered, so that each is logged once."""

_STOPPING = "the server stops"
_CLIENT_LEFT = "the client left"

_OPTIONS = (
    ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a share of the streams
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    # A peer that went silent is noticed after 10 s. The ping's own timeout is what makes the two before it work.
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # Edges watch us as closely.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 200),
    ("grpc.http2.max_ping_strikes", 0),
)


class AdsServer:
    """Serves edges at ``listen`` (HOST:PORT, port 0 for a free one).

    ``tls``: required off loopback. ``report_every_s``: how often edges report their load; ``retry_every_s``: how often
    they are offered once more what they refuse, as ``clock`` tells time. Raises InvalidInputError naming the setting.
    """

    def __init__(
        self,
        listen: str,
        tls: ServerTls | None = None,
        *,
        report_every_s: float = 1.0,
        retry_every_s: float = RETRY_S,
        clock: Clock | None = None,
    ) -> None:
        check_listen(listen, tls)
        self._listen = listen
        self._tls = tls
        self._credentials = tls.credentials() if tls is not None else None
        self._report_every_s = report_every_s
        self._retry_every_s = retry_every_s
        self._clock = clock or SystemClock()
        self._retrying: asyncio.Task[None] | None = None
        self._roster = Roster()
        self._frames = Frames()
        self._refused: set[tuple[str, str]] = set()
        self._server: grpc.aio.Server | None = None
        self._port = 0

    # --- life -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen. Raises UnavailableError when the address cannot be had."""
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers((self._discovery(), self._load_reporting(), _health()))
        try:
            if self._credentials is None:
                self._port = server.add_insecure_port(self._listen)
            else:
                self._port = server.add_secure_port(self._listen, self._credentials)
        except RuntimeError as err:
            await server.stop(None)
            raise UnavailableError(f"cannot listen for edges on {self._listen}: {err}") from err
        await server.start()
        self._server = server
        self._retrying = asyncio.create_task(self._retry_forever(), name="refused parts again")

    @property
    def address(self) -> str:
        """HOST:PORT where edges reach it; the port is known once it listens."""
        return f"{self._listen.rpartition(':')[0]}:{self._port}"

    async def stop(self, grace_s: float = 1.0) -> None:
        """End every stream, then listen no longer; edges go on with what they have."""
        self._roster.end_all(_STOPPING)
        if self._retrying is not None:
            self._retrying.cancel()
            await asyncio.wait((self._retrying,))
            self._retrying = None
        if self._server is not None:
            await self._server.stop(grace_s)
            self._server = None

    async def _retry_forever(self) -> None:
        while True:
            await self._clock.sleep(self._retry_every_s)
            try:
                self._roster.try_again()
            except Exception:  # one bad turn must not end the trying
                log.exception("refused parts not offered again")

    # --- what edges are told, and what they tell ----------------------------------------------

    def publish(self, snapshots: Mapping[str, Snapshot], problems: Problems | None = None) -> None:
        """What every edge is to hold from now on, by edge id; does not wait for them.

        What is the same as before is not sent again and counts as taken over. ``problems``: parts of a plan that could
        not be told; an edge that has some does not acknowledge the generation.
        """
        self._frames.forget()
        self._roster.publish(snapshots, problems or {})

    def declare(self, edge_ids: Iterable[str]) -> None:
        """Which edges there are from now on; streams of others end."""
        self._frames.forget()
        self._roster.declare(edge_ids)

    def offer(
        self,
        edge_id: str,
        snapshot: Snapshot,
        problems: tuple[Rejection, ...] = (),
        remarks: tuple[Rejection, ...] = (),
    ) -> None:
        """What a declared edge is to hold from now on; like ``publish`` for one edge alone.

        ``remarks``: what to say of it that does not keep the edge from acknowledging it.
        """
        self._roster.offer(edge_id, snapshot, problems, remarks)

    def states(self) -> Mapping[str, EdgeState]:
        """Each edge that is published to or connected, by id."""
        return self._roster.states()

    def subscribe(self, listener: EdgeListener) -> None:
        """Be told what happens at edges from now on."""
        self._roster.subscribe(listener)

    # --- discovery ----------------------------------------------------------------------------

    def _discovery(self) -> grpc.GenericRpcHandler:
        kinds = {
            "StreamAggregatedResources": (self._sotw, read_sotw),
            "DeltaAggregatedResources": (self._delta, read_delta),
        }
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            name: grpc.stream_stream_rpc_method_handler(run, read) for name, (run, read) in kinds.items()
        }
        return grpc.method_handlers_generic_handler(DISCOVERY, methods)

    async def _sotw(self, _: object, context: Any) -> None:
        await self._serve(context, delta=False)

    async def _delta(self, _: object, context: Any) -> None:
        await self._serve(context, delta=True)

    async def _serve(self, context: Any, *, delta: bool) -> None:
        """One stream, from its first request to its end."""
        first = await context.read()
        if first is grpc.aio.EOF:
            return
        ask, node = first
        await self._admit(node, context)
        self._refused = {refused for refused in self._refused if refused[0] != node.id}
        link = self._roster.connect(node.id, _build(node), delta=delta)
        hearing = asyncio.create_task(self._hear(context, link, ask))
        try:
            await self._speak(context, link)
        finally:
            hearing.cancel()
            await asyncio.wait((hearing,))
            self._roster.disconnect(link)
        if not hearing.cancelled():
            hearing.result()
        if link.over not in (_STOPPING, _CLIENT_LEFT):
            await self._refuse(context, node.id, grpc.StatusCode.NOT_FOUND, str(link.over))

    async def _hear(self, context: Any, link: Link, ask: Ask) -> None:
        """Take requests in until there are no more."""
        try:
            while True:
                self._roster.hear(link, ask)
                link.wake.set()
                following = await context.read()
                if following is grpc.aio.EOF:
                    return
                ask, _ = following
        finally:
            link.end(_CLIENT_LEFT)

    async def _speak(self, context: Any, link: Link) -> None:
        """Send what is due each time there may be something."""
        while link.over is None:
            await link.wake.wait()
            link.wake.clear()
            for reply in link.stream.replies() if link.over is None else ():
                await context.write(self._frames.encode(reply, delta=link.stream.delta))

    # --- load reports -------------------------------------------------------------------------

    def _load_reporting(self) -> grpc.GenericRpcHandler:
        handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(
            self._reports, message(REQUEST).FromString
        )
        return grpc.method_handlers_generic_handler(LOAD_REPORTING, {"StreamLoadStats": handler})

    async def _reports(self, _: object, context: Any) -> None:
        """One stream of load reports."""
        first = await context.read()
        if first is grpc.aio.EOF:
            return
        await self._admit(first.node, context)
        reports = LoadReports(first.node.id, self._report_every_s)
        await context.write(wanted_reports(self._report_every_s))
        while (request := await context.read()) is not grpc.aio.EOF:
            self._roster.report(reports.read(request))

    # --- who may speak ------------------------------------------------------------------------

    async def _admit(self, node: Any, context: Any) -> None:
        """Return when the node may have a stream; else end the call."""
        if not node.id:
            await self._refuse(context, "", grpc.StatusCode.INVALID_ARGUMENT, "the first request must name the node")
        if self._tls is not None and self._tls.check_names:
            names = certified_names(context.auth_context())
            if node.id not in names:
                why = f"the certificate stands for {_listed(names)}, not for {node.id}"
                await self._refuse(context, node.id, grpc.StatusCode.PERMISSION_DENIED, why)
        if not self._roster.knows(node.id):
            why = f"no edge {node.id!r} is declared"
            await self._refuse(context, node.id, grpc.StatusCode.NOT_FOUND, why)

    async def _refuse(self, context: Any, edge_id: str, code: grpc.StatusCode, why: str) -> NoReturn:
        if (edge_id, why) not in self._refused:  # it asks again and again
            self._refused = {*self._refused, (edge_id, why)} if len(self._refused) < _MOST_REFUSED else {(edge_id, why)}
            log.warning("edge_refused", edge_id=edge_id, peer=context.peer(), reason=why)
        await context.abort(code, why)
        raise AssertionError("abort does not return")


def _health() -> grpc.GenericRpcHandler:
    """Edges ask whether we answer at all; who does not is passed over for the next controller."""

    async def check(_: bytes, __: object) -> bytes:
        return _SERVING

    return grpc.method_handlers_generic_handler(HEALTH, {"Check": grpc.unary_unary_rpc_method_handler(check)})


def _build(node: Any) -> str:
    """What an edge says it is: ``1.40.0``."""
    if node.HasField("user_agent_build_version"):
        version = node.user_agent_build_version.version
        return f"{version.major_number}.{version.minor_number}.{version.patch}"
    return str(node.user_agent_version)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nobody"
