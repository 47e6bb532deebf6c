"""Answers to changes wait until every worker decides by them: who was told that a region is drained, finds it so."""

from __future__ import annotations

from .feed import Feed
from .proxy import ASGIApp, Message, Receive, Send

LONGEST_S = 1.0
"""How long an answer waits at most: a worker that hangs must not hold up the operator."""

_LOOKING = frozenset({"GET", "HEAD", "OPTIONS"})


class Settling:
    """Middleware for the controller's app."""

    def __init__(self, app: ASGIApp, feed: Feed) -> None:
        self._app = app
        self._feed = feed

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass on; hold back the beginning of the answer to what may have changed something."""
        if scope["type"] != "http" or scope["method"] in _LOOKING:
            return await self._app(scope, receive, send)

        async def settle(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self._feed.settled(LONGEST_S)
            await send(message)

        await self._app(scope, receive, settle)
