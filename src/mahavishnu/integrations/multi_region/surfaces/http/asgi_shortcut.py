"""The second step: an ASGI callable around an app that answers ``POST /route`` itself and passes on all the rest.

An app without middleware gets the same callable in front of the framework's own layers when the routes are registered.
"""

from __future__ import annotations

from functools import cached_property

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from .hot import LARGEST, PATH, HotRoute, raw_route


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

    def __init__(self, app: ASGIApp, shortcut: Shortcut) -> None:
        self.app = app
        self._shortcut = shortcut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "POST":
            hot = self._shortcut.hot
            if hot is not None and not scope["query_string"] and not scope.get("root_path"):
                kind = hot.takes(scope["headers"])
                if kind is not None:
                    return await hot.serve(kind, scope, receive, send, self.app)
        await self.app(scope, receive, send)


def shorten(app: FastAPI) -> None:
    """Put the shortcut between an app and its layers, where it stays unused if there is middleware among them."""
    if app.middleware_stack is not None:  # the app runs already: nothing can be added to the layers any more
        app.middleware_stack = Accelerated(app.middleware_stack, Shortcut(app))
        return
    build = app.build_middleware_stack
    app.build_middleware_stack = lambda: Accelerated(build(), Shortcut(app))  # type: ignore[method-assign]
