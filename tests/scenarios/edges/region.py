"""One region as a process of its own: HTTP/1.1 on loopback, told on standard input how to behave; ends with it.

``well``; ``half``: every second answer is 503; ``errors``: each is; ``sick``: only the checks get 503; ``slow S``: each
answer takes so many seconds. The checks pass but when ``sick`` and ``errors`` say otherwise. ``/stream/S`` answers at
once and sends its body over S seconds; ``/count`` tells how often each path was asked for, checks left out. Each POST
is noted in a file, path and number, before it is answered: what was carried out is known of a region that crashed, too.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path

NUMBERS = ("idempotency-key", "x-number")
"""Headers in which a request may carry its number."""

READY = "listening on "
PIECES = 10


class Behaviour:
    """How the region answers now, and what it was asked. ``notes``: the file of POSTs."""

    def __init__(self, notes: Path) -> None:
        self._notes = notes.open("a", buffering=1)
        self.mode, self.delay_s = "well", 0.0
        self.asked: Counter[str] = Counter()
        self._turn = 0

    def obey(self, line: str) -> None:
        """Do as a line says from now on."""
        self.mode, _, number = line.partition(" ")
        self.delay_s = float(number or 0)

    def note(self, path: str, number: str) -> None:
        """A POST is carried out."""
        self._notes.write(f"{path} {number}\n")

    def status(self, path: str) -> int:
        """Of the answer to a request that was just read."""
        if path == "/healthz":
            return 503 if self.mode in ("sick", "errors") else 200
        if path == "/count":
            return 200
        self.asked[path] += 1
        self._turn += 1
        return 503 if self.mode == "errors" or (self.mode == "half" and self._turn % 2) else 200


async def answer_all(told: Behaviour, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one connection's requests until the peer hangs up."""
    try:
        while (head := await _head(reader)) is not None:
            method, path, number = head
            if method == "POST":
                told.note(path, number)
            status = told.status(path)
            if path != "/healthz" and told.delay_s:
                await asyncio.sleep(told.delay_s)
            if path.startswith("/stream/"):
                await _stream(writer, float(path.removeprefix("/stream/")))
            else:
                body = json.dumps(told.asked) if path == "/count" else f"{method} {path}\n"
                text = "" if method == "HEAD" else body
                writer.write(f"HTTP/1.1 {status} -\r\ncontent-length: {len(body)}\r\n\r\n{text}".encode())
            await writer.drain()
    except OSError:
        pass  # the peer is gone
    finally:
        writer.close()


async def _head(reader: asyncio.StreamReader) -> tuple[str, str, str] | None:
    """Method, path and number of the next request, its body read over; None when there is none."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").lower().split("\r\n")
    headers = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    await reader.readexactly(int(headers.get("content-length", 0)))
    method, path, _ = first.split(" ")
    return method.upper(), path, next((headers[name] for name in NUMBERS if name in headers), "")


async def _stream(writer: asyncio.StreamWriter, seconds: float) -> None:
    writer.write(b"HTTP/1.1 200 -\r\ntransfer-encoding: chunked\r\n\r\n")
    for _ in range(PIECES):
        writer.write(b"5\r\npiece\r\n")
        await writer.drain()
        await asyncio.sleep(seconds / PIECES)
    writer.write(b"0\r\n\r\n")


async def main(host: str, port: int, notes: Path) -> None:
    """Listen, say where, and obey until standard input ends."""
    told = Behaviour(notes)
    server = await asyncio.start_server(lambda r, w: answer_all(told, r, w), host, port, backlog=1024)
    print(f"{READY}{server.sockets[0].getsockname()[1]}", flush=True)
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        told.obey(line.decode().strip())
    server.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
