"""A client in a process of its own, who tells when another region begins to serve it.

``python -m benchmarks.edges_watch PORT HOST`` asks over one kept connection, again and again, and prints a line for
each change: the moment (the clock that all processes share), status and region.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from types import TracebackType
from typing import Self

from .edges_parts import DEADLINE_S, HOST, SERVED_BY

PAUSE_S = 0.0002
"""Between requests, so that a machine with two processors has time for Envoy and its controller as well."""


def watch(port: int, host: str) -> None:
    """Ask until killed."""
    request, last = f"GET / HTTP/1.1\r\nhost: {host}\r\n\r\n".encode(), ""
    with socket.create_connection((HOST, port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            connection.sendall(request)
            answer = connection.recv(65_536)
            now = time.monotonic()
            if not answer:
                return
            said = f"{int(answer[9:12])} {answer.partition(SERVED_BY)[2].partition(bytes((13,)))[0].decode()}"
            if said != last:
                print(f"{now!r} {said}", flush=True)
                last = said
            time.sleep(PAUSE_S)


class Watcher:
    """The process, and what it said last. Times are ``time.monotonic`` of any process."""

    def __init__(self, port: int, host: str) -> None:
        self._command = [sys.executable, "-m", "benchmarks.edges_watch", str(port), host]
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(*self._command, stdout=asyncio.subprocess.PIPE)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def served(self, by: str) -> float:
        """Wait until it is served by a region; when it first was. Raises SystemExit when that never is."""
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(DEADLINE_S):
                while line := await self._process.stdout.readline():
                    moment, status, region = line.decode().rstrip("\n").split(" ")
                    if status == "200" and region == by:
                        return float(moment)
        except TimeoutError:
            raise SystemExit(f"no request was served by {by} within {DEADLINE_S:g} s") from None
        raise SystemExit("the edge hung up")


if __name__ == "__main__":
    watch(int(sys.argv[1]), sys.argv[2])
