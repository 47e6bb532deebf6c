"""A real Envoy that is told a translated snapshot once, at its start, with no controller."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.admin import Admin
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.binary import find_envoy
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.parts import Addresses, EdgeOptions
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.proto import document, message
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resources import (
    CLUSTER,
    ENDPOINTS,
    LISTENER,
    ROUTES,
    Resource,
    Snapshot,
)
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.translate import Translator
from mahavishnu.integrations.multi_region.core.traffic import EdgePlan

DEADLINE_S = 60.0
_KNOWN = (
    "no configured limit",
    "MaxMindConfig' is contained in proto file",
)  # of static bootstraps; of any geoip filter


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def plain(resource: Resource) -> dict[str, Any]:
    """A resource in JSON form."""
    return document(message(resource.type_url.rpartition("/")[2]).FromString(resource.body))


def static_bootstrap(snapshot: Snapshot, admin_socket: str) -> dict[str, Any]:
    """A bootstrap that holds a whole snapshot, for an Envoy that asks nobody."""
    found = snapshot.resources
    clusters = [_static(plain(made), plain(found[ENDPOINTS][name])) for name, made in found[CLUSTER].items()]
    listeners = [plain(made) for made in found[LISTENER].values()]
    routes = {name: plain(made) for name, made in found[ROUTES].items()}
    for made in listeners:
        manager = made["filter_chains"][0]["filters"][0]["typed_config"]
        manager["route_config"] = routes[manager.pop("rds")["route_config_name"]]
    return {
        "node": {"id": "edge", "cluster": "test"},
        "admin": {"address": {"pipe": {"path": admin_socket}}},
        "static_resources": {"clusters": clusters, "listeners": listeners},
    }


def _static(cluster: Mapping[str, Any], endpoints: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in cluster.items() if key not in ("eds_cluster_config", "lrs_server")}
    return {**kept, "type": "STATIC", "load_assignment": endpoints}


def validate(bootstrap: Mapping[str, Any], folder: Path) -> str:
    """What Envoy says against a bootstrap; empty when it takes it, and warns of nothing that is ours."""
    path = folder / "validated.json"
    path.write_text(json.dumps(bootstrap))
    command = [str(find_envoy().path), "--mode", "validate", "-c", str(path), "-l", "warning", "--base-id", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    lines = (ended.stdout + ended.stderr).splitlines()
    said = [line for line in lines if not any(known in line for known in _KNOWN)]
    return "" if ended.returncode == 0 and said == [f"configuration '{path}' OK"] else "\n".join(said)


@asynccontextmanager
async def static_edge(
    plan: EdgePlan, folder: Path, *, options: EdgeOptions | None = None, addresses: Addresses | None = None
) -> AsyncIterator[tuple[int, Admin]]:
    """An Envoy that carries a plan out; yields the port for clients, and its admin interface."""
    port = free_port()
    listening = replace(plan, edge=replace(plan.edge, listen=f"127.0.0.1:{port}"))
    snapshot, problems = Translator(options).snapshot(listening, 1, addresses or {})
    assert problems == ()
    async with run_envoy(static_bootstrap(snapshot, str(folder / "admin.sock")), folder) as (admin, _):
        yield port, admin


@asynccontextmanager
async def run_envoy(bootstrap: Mapping[str, Any], folder: Path) -> AsyncIterator[tuple[Admin, int]]:
    """An Envoy with this bootstrap, ready: its admin interface and its process; ended at the end."""
    path = folder / "bootstrap.json"
    path.write_text(json.dumps(bootstrap))
    command = [str(find_envoy().path), "-c", str(path), "--use-dynamic-base-id", "--concurrency", "1", "-l", "warning"]
    with (folder / "envoy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
    try:
        async with Admin(bootstrap["admin"]["address"]["pipe"]["path"]) as admin:
            async with asyncio.timeout(DEADLINE_S):
                while not await admin.ready():
                    assert process.returncode is None, (folder / "envoy.log").read_text()
                    await asyncio.sleep(0.05)
            yield admin, process.pid
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
