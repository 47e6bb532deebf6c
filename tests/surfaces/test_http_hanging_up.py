"""A client who hangs up in the middle of a body is no failure of the server's: nothing is raised, nothing is logged."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.types import Message

from tests.surfaces.http_served import own_server

PATHS = ("/route", "/v1/route/batch", "/regions", "/v1/apply", "/v1/observations")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("told", [b"100", b"100000", None], ids=["small", "large", "in-chunks"])
async def test_hanging_up_in_the_middle_of_a_body_fails_nothing(path: str, told: bytes | None) -> None:
    async with own_server() as (client, app):
        token = client.headers["authorization"].encode()
        length = [(b"transfer-encoding", b"chunked")] if told is None else [(b"content-length", told)]
        headers = [(b"content-type", b"application/json"), (b"authorization", token), *length]
        scope: dict[str, Any] = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode()}
        scope |= {"query_string": b"", "headers": headers, "http_version": "1.1", "scheme": "http", "root_path": ""}
        coming: list[Message] = [
            {"type": "http.request", "body": b'{"request', "more_body": True},
            {"type": "http.disconnect"},
        ]

        async def receive() -> Message:
            return coming.pop(0) if coming else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            assert message.get("status", 400) == 400

        await app(scope, receive, send)
