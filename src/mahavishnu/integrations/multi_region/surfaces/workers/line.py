"""The line between the supervisor and a process that it started: an inherited pair of sockets.

Down it goes what the process needs to begin, and later which sockets to listen on; up comes, once a second, that its
event loop turns and whether it is ready. When one side ends, however it ends, the other hears it at once.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mahavishnu.integrations.multi_region.core.intent import World
from mahavishnu.integrations.multi_region.settings import Settings
from mahavishnu.integrations.multi_region.surfaces.http.auth import Tokens

from .heartbeat import BEAT_EVERY_S
from .state import decoded, encoded

BEGINS = b"b"
READY = b"r"
"""What a process says of itself with every beat."""


@dataclass(frozen=True, slots=True)
class Boot:
    """What a process needs to begin. ``place``: the private directory where the processes meet.

    ``tokens``, ``open_reads``: who may do what. ``world``: what the controller makes the intent, None for what the
    store holds. ``as_json``: how the controller says what that changed.
    """

    settings: Settings
    place: Path
    tokens: Tokens
    open_reads: bool
    world: World | None = None
    as_json: bool = False

    @property
    def state_path(self) -> Path:
        """The socket where workers hear the controller's state."""
        return self.place / "state"

    @property
    def http_path(self) -> Path:
        """The socket where the controller answers what workers pass on."""
        return self.place / "http"


@dataclass(frozen=True, slots=True)
class Listening:
    """On which of the sockets that it inherited a worker shall accept connections."""

    numbers: frozenset[int]


class LowerEnd:
    """The line as a started process has it.

    ``listening``: is called with what ``Listening`` says. ``broken``: the supervisor is gone.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""
        self._word = BEGINS
        self.listening: Callable[[frozenset[int]], None] = lambda _: None
        self.broken = False

    @classmethod
    def of_fd(cls, fd: int) -> Self:
        """The line at an inherited file descriptor."""
        return cls(socket.socket(fileno=fd))

    def boot(self) -> Boot:
        """What to begin with; waits for it. Raises SystemExit when the supervisor has gone."""
        while (found := self._cut()) is None:
            if not self._read():
                raise SystemExit("the supervisor is gone")
        assert isinstance(found, Boot)
        return found

    def ready(self) -> None:
        """Say that requests are answered. A supervisor that has gone meanwhile is noticed by ``watch``."""
        self._word = READY
        self._say()

    def clean_up(self, boot: Boot) -> None:
        """At the end, do what the supervisor would: if it is gone, remove the directory where the processes met."""
        if self.broken:
            shutil.rmtree(boot.place, ignore_errors=True)

    def watch(self) -> None:
        """From now on hear what is said, and let it be heard that the event loop turns; end like on SIGTERM when the
        supervisor is gone, whatever goes on then.
        """
        loop = asyncio.get_running_loop()
        self._sock.setblocking(False)

        def read() -> None:
            if not self._read():
                loop.remove_reader(self._sock)
                self.broken = True
                return os.kill(os.getpid(), signal.SIGTERM)
            while isinstance(said := self._cut(), Listening):
                self.listening(said.numbers)

        loop.add_reader(self._sock, read)
        self._beat()

    def _beat(self) -> None:
        """Say that the event loop turns, again and again; what is not heard while it hangs is the sign that it does."""
        if not self.broken:
            self._say()
            asyncio.get_running_loop().call_later(BEAT_EVERY_S, self._beat)

    def _say(self) -> None:
        with suppress(BlockingIOError, ConnectionError):  # a supervisor that does not read has more than enough to read
            self._sock.send(self._word)

    def _read(self) -> bool:
        try:
            piece = self._sock.recv(1 << 16)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        self._buffer += piece
        return bool(piece)

    def _cut(self) -> object:
        """The next whole message, None when there is none yet."""
        length = int.from_bytes(self._buffer[:4], "big")
        if len(self._buffer) < 4 or len(self._buffer) < 4 + length:
            return None
        raw, self._buffer = self._buffer[4 : 4 + length], self._buffer[4 + length :]
        return decoded(raw)


class UpperEnd(asyncio.Protocol):
    """The line as the supervisor has it. ``heard_at``: when the process last spoke, by the event loop's clock."""

    def __init__(self) -> None:
        self.heard_at: float | None = None
        self._loop = asyncio.get_running_loop()
        self._is_ready: asyncio.Future[bool] = self._loop.create_future()
        self._transport: asyncio.WriteTransport | None = None

    @classmethod
    async def open(cls) -> tuple[Self, socket.socket]:
        """A line, and the end that the process is to inherit."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        _, line = await asyncio.get_running_loop().create_connection(cls, sock=ours)
        return line, theirs

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The line is there."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """The process speaks."""
        self.heard_at = self._loop.time()
        if READY in data:
            self._settle(ready=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """The process has ended, or the line was let go."""
        self._settle(ready=False)

    def say(self, what: Boot | Listening) -> None:
        """Say something; a process that has ended does not hear it."""
        message = encoded(what)
        assert self._transport is not None  # connections are made before they are handed out
        self._transport.write(len(message).to_bytes(4, "big") + message)

    async def ready(self) -> bool:
        """Wait until the process is ready; False when it has ended instead."""
        return await asyncio.shield(self._is_ready)

    def close(self) -> None:
        """Let go."""
        assert self._transport is not None
        self._transport.close()

    def _settle(self, *, ready: bool) -> None:
        if not self._is_ready.done():
            self._is_ready.set_result(ready)
