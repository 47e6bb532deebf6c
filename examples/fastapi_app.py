"""Your own FastAPI app with the multi-region endpoints: `uvicorn --app-dir examples fastapi_app:app`."""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI

from mahavishnu.integrations.multi_region import MultiRegionAPI, create_multi_region_system, region_from_catalog


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    system = await create_multi_region_system()
    for region_id in ("us-east-1", "eu-west-1"):
        endpoint = f"http://127.0.0.1:9/{region_id}"  # nobody answers: the stated score counts at first
        await system.region_manager.register_region(
            region_from_catalog(region_id, endpoint=endpoint, health_score=95.0)
        )
    MultiRegionAPI(*system).register_routes(app)
    yield
    await system.close()


app = FastAPI(lifespan=lifespan)


@app.get("/hello")
async def hello() -> str:
    return "a route of your own"


def visit(url: str) -> None:
    wish = json.dumps({"request_context": {"country": "PL"}, "strategy": "latency_based"}).encode()
    route = urllib.request.Request(url + "/route", wish, {"Content-Type": "application/json"})
    for request in (url + "/hello", route):
        with urllib.request.urlopen(request, timeout=30) as answer:
            print(answer.read().decode())


async def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        serving = asyncio.create_task(server.serve(sockets=[sock]))
        await asyncio.to_thread(visit, f"http://127.0.0.1:{sock.getsockname()[1]}")
        server.should_exit = True
        await serving


if __name__ == "__main__":
    asyncio.run(main())
