"""The third step: uvicorn's HTTP protocol, answering ``POST /route`` as soon as its last byte has been parsed.

No scope, no task, no ASGI messages. The methods overridden here are uvicorn's internals, so its version is pinned and a
test compares them. Only the plain case is answered here: HTTP/1.1, kept alive, a small body of told size, nothing in
flight on the connection, and a client who reads what it is sent. Every other request takes uvicorn's own way.
"""

from __future__ import annotations

from asyncio import Transport
from logging import INFO
from typing import Any

from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from .asgi_shortcut import Shortcut
from .hot import JSON, PATH, Headers, HotRoute, Refusal, Reply, refuse

_URL = PATH.encode()


class HotProtocol(HttpToolsProtocol):
    """One connection. ``http_protocol`` makes the class for an app."""

    shortcut: Shortcut
    _hot: HotRoute | None = None
    _under_way = False
    _kind = b""
    _body = b""
    _last = False
    _idle_since: float | None = None
    _defaults: Headers | None = None
    _ok = b""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client came: see whether its requests may go a short way at all."""
        super().connection_made(transport)
        logs = self.access_log and self.access_logger.isEnabledFor(INFO)
        if not logs and self.limit_concurrency is None and not self.root_path:
            self._hot = self.shortcut.hot

    # --- parser callbacks -------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins: note as little as possible until its head is known."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        """Decide which way the request goes."""
        hot = self._hot
        if self.url == _URL and hot is not None and self._is_plain():
            kind = hot.takes(self.headers)
            if kind is not None:
                self._under_way, self._kind, self._body = True, kind, b""
                return
        self._go_long()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._under_way:
            self._body = self._body + body if self._body else body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here: answer it."""
        hot = self._hot
        if not self._under_way or hot is None:
            super().on_message_complete()
            return
        self._under_way = False
        try:
            self._write_ok(hot.decide(self._kind, self._body).body)
        except Refusal as err:
            self._write(refuse(err, PATH))
        except Exception:  # not the request's fault: the app fails in its own way, with its own handlers and log
            self._go_long()
            super().on_body(self._body)
            super().on_message_complete()

    # --- which way --------------------------------------------------------------------------------

    def _is_plain(self) -> bool:
        parser, cycle = self.parser, self.cycle
        return (
            (cycle is None or cycle.response_complete)
            and parser.get_method() == b"POST"
            and parser.should_keep_alive()
            and parser.get_http_version() == "1.1"
            and not parser.should_upgrade()
            and not self.expect_100_continue
            and not self.flow.write_paused
            and not self.transport.is_closing()
        )

    def _go_long(self) -> None:
        """Hand the request to uvicorn, as if it had just begun."""
        self._cancel_timer()
        headers, url, expect = self.headers, self.url, self.expect_100_continue
        super().on_message_begin()
        self.headers.extend(headers)
        self.url, self.expect_100_continue = url, expect
        super().on_headers_complete()

    # --- answering --------------------------------------------------------------------------------

    def _write_ok(self, body: bytes) -> None:
        defaults = self.server_state.default_headers
        if defaults is not self._defaults:  # uvicorn makes them anew once a second, for the date
            self._defaults = defaults
            self._ok = _head_bytes(200, [*defaults, (b"content-type", JSON)])
        if self._last:
            self._write((200, [(b"content-length", b"%d" % len(body)), (b"content-type", JSON)], body))
            return
        self.transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (self._ok, len(body), body))
        self._answered()

    def _write(self, reply: Reply) -> None:
        status, headers, body = reply
        said = [*self.server_state.default_headers, *headers]
        if self._last:
            said.append((b"connection", b"close"))
        self.transport.write(_head_bytes(status, said) + b"\r\n" + body)
        self._answered()
        if self._last:
            self.transport.close()

    def _answered(self) -> None:
        self.server_state.total_requests += 1
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    # --- keeping alive ----------------------------------------------------------------------------
    # One timer that looks at the clock when it goes off is cheaper than one that is set anew for each request.

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = None

    def timeout_keep_alive_handler(self) -> None:
        """The timer went off: close what has been idle for long enough, look again later at what has not."""
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            return  # something is on its way; whoever answers it sets the timer
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left <= 0:
            super().timeout_keep_alive_handler()
        else:
            self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)

    def on_response_complete(self) -> None:
        """uvicorn has answered a request of its own."""
        self._cancel_timer()
        super().on_response_complete()
        if self.timeout_keep_alive_task is not None:
            self._idle_since = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._cancel_timer()
        super().connection_lost(exc)

    def _cancel_timer(self) -> None:
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None

    # --- stopping ---------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """The server stops: a request whose body is still coming is answered first."""
        if self._under_way:
            self._last = True
        else:
            super().shutdown()


def http_protocol(app: FastAPI, *, past_middleware: bool = False) -> type[HotProtocol]:
    """The protocol class for ``uvicorn.Config(app, http=...)``. ``past_middleware``: as for ``accelerate``."""
    members: dict[str, Any] = {"shortcut": Shortcut(app, past_middleware=past_middleware)}
    return type("HotProtocolOfApp", (HotProtocol,), members)


def _head_bytes(status: int, headers: Headers) -> bytes:
    return b"".join([STATUS_LINE[status], *(part for name, value in headers for part in (name, b": ", value, b"\r\n"))])
