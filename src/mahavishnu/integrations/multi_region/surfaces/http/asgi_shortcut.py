"""The second step: an ASGI callable around an app that answers ``POST /route`` itself and passes on all the rest.

An app without middleware gets the same callable in front of the framework's own layers when the routes are registered.
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from .hot import LARGEST, PATH, HotRoute, again, raw_route, whole


class Answerer(Protocol):
    """Knows who answers the hot route; None: nobody but the app."""

    @property
    def hot(self) -> HotRoute | None:
        """Who answers."""


class Shortcut:
    """What may be answered before it reaches an app: only what the app would do nothing else with.

    ``past_middleware``: take the short way although the app has middleware, which then does not see these requests.
    """

    def __init__(self, app: FastAPI, *, past_middleware: bool = False) -> None:
        self._app = app
        self._past_middleware = past_middleware

    @cached_property
    def hot(self) -> HotRoute | None:
        """Who answers; None: nobody but the app. Found out at the first request, when the app is complete."""
        limit = self._app.max_body_size
        if (self._app.user_middleware and not self._past_middleware) or (limit is not None and limit < LARGEST):
            return None
        raw = raw_route(self._app.router.routes)
        return None if raw is None else raw.hot


class Accelerated:
    """An app whose ``POST /route`` is answered before anything else sees it. ``app`` is the app itself."""

    def __init__(self, app: ASGIApp, shortcut: Answerer) -> None:
        self.app = app
        self._shortcut = shortcut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on: also what fails for no fault of its own, with its body to be read anew.

        All in one coroutine: one more for each request costs some 0.3 µs.
        """
        hot = None
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "POST":
            hot = None if scope["query_string"] or scope.get("root_path") else self._shortcut.hot
        if hot is None or (kind := hot.takes(scope["headers"])) is None:
            return await self.app(scope, receive, send)
        message = await receive()
        if message.get("more_body", False):
            message = await whole(message, receive)
        try:
            reply = hot.answer(kind, message, PATH)
        except Exception:
            return await self.app(scope, again(message, receive), send)
        if reply is not None:
            status, headers, body = reply
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})


def shorten(app: FastAPI) -> None:
    """Put the shortcut between an app and its layers, where it stays unused if there is middleware among them."""
    if app.middleware_stack is not None:  # the app runs already: nothing can be added to the layers any more
        app.middleware_stack = Accelerated(app.middleware_stack, Shortcut(app))
        return
    build = app.build_middleware_stack
    app.build_middleware_stack = lambda: Accelerated(build(), Shortcut(app))  # type: ignore[method-assign]
