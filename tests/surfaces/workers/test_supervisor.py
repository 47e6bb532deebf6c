"""How soon a process is begun again, how connections are divided, and which options are refused."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from mahavishnu.integrations.multi_region.errors import InvalidInputError
from mahavishnu.integrations.multi_region.surfaces.cli.listening import listen_on, listen_with
from mahavishnu.integrations.multi_region.surfaces.workers.supervisor import pause_after
from tests.surfaces.cli_stage import Home


def test_a_process_that_ends_again_and_again_is_begun_ever_less_often() -> None:
    assert [pause_after(n) for n in range(10)] == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    assert pause_after(10**6) == 5.0


@pytest.mark.parametrize("text", ["-1", "257", "two", "1.5"])
def test_a_number_of_workers_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    result = Home(tmp_path).cli("serve", "--workers", text)
    assert result.exit_code == 2
    assert all(part in result.output for part in ("--workers", repr(text), "a whole number from 0 up to 256"))


def test_all_sockets_take_connections_and_nobody_else_gets_the_address() -> None:
    sockets = listen_with(listen_on("127.0.0.1", 0), 3)
    port = sockets[0].getsockname()[1]
    with pytest.raises(InvalidInputError, match="a free port"):
        listen_on("127.0.0.1", port)
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
    taken = [_accepted(sock) for sock in sockets]
    for sock in (*sockets, *clients):
        sock.close()
    assert sum(taken) == 200
    assert min(taken) > 20


def _accepted(sock: socket.socket) -> int:
    """How many connections wait at a socket; closes them."""
    sock.setblocking(False)
    count = 0
    while True:
        try:
            sock.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1
