"""The socket that a server listens on, and who may reach it."""

from __future__ import annotations

import socket

from mahavishnu.integrations.multi_region.core.address import is_loopback
from mahavishnu.integrations.multi_region.errors import InvalidInputError

BACKLOG = 2048


def resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """The address that a host name stands for here. Raises InvalidInputError for a name that nobody knows."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as err:
        raise _not_free(host, port, str(err.strerror or err)) from err
    family, _, _, _, address = found[0]
    return family, (str(address[0]), int(address[1]))


def only_this_machine(host: str) -> bool:
    """Whether a server that listens on ``host`` can be reached from this machine alone."""
    return is_loopback(resolve(host, 0)[1][0])


def listen_on(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free one. Raises InvalidInputError when the port is taken or not allowed."""
    family, address = resolve(host, port)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as err:
        sock.close()
        raise _not_free(host, port, (err.strerror or str(err)).lower()) from err
    return sock


def listen_with(sock: socket.socket, others: int) -> list[socket.socket]:
    """The socket and so many more at its address, among which the system divides connections evenly.

    The first was bound alone, so that an address which somebody else has is still refused.
    """
    found = [sock]
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    for _ in range(others):
        other = socket.socket(sock.family, socket.SOCK_STREAM)
        found.append(other)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(sock.getsockname())
        other.listen(BACKLOG)
    return found


def url_of(host: str, sock: socket.socket) -> str:
    """Where a client finds the socket: by the address itself for ``localhost``, else by the name that was given."""
    address, port = sock.getsockname()[:2]
    shown = address if host == "localhost" else host
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _not_free(host: str, port: int, why: str) -> InvalidInputError:
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return InvalidInputError("--listen", shown, f"a free port on an address of this machine ({why}); port 0: any free")
