"""Clients of the servers for edges over real sockets, and what listeners heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.load_reports import REQUEST, RESPONSE
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.proto import message
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.server import DISCOVERY, LOAD_REPORTING, AdsServer
from mahavishnu.integrations.multi_region.ports.dataplane import EdgeEvent

PATIENCE_S = 60.0

DELTA = "Delta"
SOTW = ""

_MESSAGES = {
    DELTA: ("DeltaAggregatedResources", "DeltaDiscoveryRequest", "DeltaDiscoveryResponse"),
    SOTW: ("StreamAggregatedResources", "DiscoveryRequest", "DiscoveryResponse"),
}


class Stream:
    """One open discovery stream of a node."""

    def __init__(self, call: Any, request: Any, edge_id: str) -> None:
        self.call = call
        self._request = request
        self._edge_id = edge_id

    async def ask(self, type_url: str, **fields: Any) -> None:
        """Send a request; the first one names the node."""
        found = self._request(type_url=type_url, **fields)
        if self._edge_id:
            found.node.id, self._edge_id = self._edge_id, ""
            found.node.user_agent_build_version.version.major_number = 1
        await self.call.write(found)

    async def read(self) -> Any:
        """The next response. Raises AioRpcError with the status of a stream that was ended with one."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.call.read()

    async def take(self, **fields: Any) -> Any:
        """The next response, accepted."""
        found = await self.read()
        await self.ask(found.type_url, response_nonce=found.nonce, **fields)
        return found


@asynccontextmanager
async def stream(
    address: str, edge_id: str, kind: str = DELTA, credentials: grpc.ChannelCredentials | None = None
) -> AsyncIterator[Stream]:
    """A discovery stream to a server."""
    method, request, response = _MESSAGES[kind]
    package = "envoy.service.discovery.v3."
    async with _channel(address, credentials) as channel:
        call: Any = channel.stream_stream(
            f"/{DISCOVERY}/{method}",
            request_serializer=lambda found: found.SerializeToString(),
            response_deserializer=message(package + response).FromString,
        )()
        yield Stream(call, message(package + request), edge_id)
        call.cancel()


@asynccontextmanager
async def load_stream(address: str) -> AsyncIterator[Any]:
    """A stream of load reports; the raw call."""
    async with _channel(address, None) as channel:
        call: Any = channel.stream_stream(
            f"/{LOAD_REPORTING}/StreamLoadStats",
            request_serializer=lambda found: found.SerializeToString(),
            response_deserializer=message(RESPONSE).FromString,
        )()
        yield call
        call.cancel()


def load_request(**fields: Any) -> Any:
    """A message that reports loads."""
    return message(REQUEST)(**fields)


def _channel(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    if credentials is None:
        return grpc.aio.insecure_channel(address)
    return grpc.aio.secure_channel(address, credentials, options=(("grpc.ssl_target_name_override", "controller"),))


@asynccontextmanager
async def serving(server: AdsServer) -> AsyncIterator[list[EdgeEvent]]:
    """A server that runs; yields what it tells."""
    heard: list[EdgeEvent] = []
    server.subscribe(heard.append)
    await server.start()
    try:
        yield heard
    finally:
        await server.stop(0.1)


async def until(fact: Callable[[], object], what: str = "") -> None:
    """Wait until something is so. Raises AssertionError when it never is."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_S
    while not fact():
        assert loop.time() < deadline, f"never so: {what or fact}"
        await asyncio.sleep(0.01)


def versions(found: Any) -> Mapping[str, str]:
    """Version by name in an incremental response."""
    return {one.name: one.version for one in found.resources}
