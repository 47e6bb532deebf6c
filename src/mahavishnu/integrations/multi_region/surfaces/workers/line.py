"""The line between the supervisor and a process that it started: an inherited pair of sockets.

Down it goes what the process needs to begin, and later which sockets to listen on; up comes that it is ready. When one
side ends, however it ends, the other hears it at once.
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

from .state import decoded, encoded

READY = b"r"


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
        with suppress(ConnectionError):
            self._sock.send(READY)

    def clean_up(self, boot: Boot) -> None:
        """At the end, do what the supervisor would: if it is gone, remove the directory where the processes met."""
        if self.broken:
            shutil.rmtree(boot.place, ignore_errors=True)

    def watch(self) -> None:
        """From now on hear what is said, and end like on SIGTERM when the supervisor is gone, whatever goes on then."""
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


class UpperEnd:
    """The line as the supervisor has it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls) -> tuple[Self, socket.socket]:
        """A line, and the end that the process is to inherit."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=ours)
        return cls(reader, writer), theirs

    def say(self, what: Boot | Listening) -> None:
        """Say something; a process that has ended does not hear it."""
        message = encoded(what)
        self._writer.write(len(message).to_bytes(4, "big") + message)

    async def ready(self) -> bool:
        """Wait until the process is ready; False when it has ended instead."""
        try:
            return await self._reader.read(1) == READY
        except ConnectionError:
            return False

    def close(self) -> None:
        """Let go."""
        self._writer.close()
