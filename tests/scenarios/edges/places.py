"""Regions as processes: how they are run, and how each is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from .processes import Started, free_port
from .region import READY

HOST = "127.0.0.1"
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"


class Place(Protocol):
    """A region of the stage: where it is, and how it is lost and comes back."""

    url: str
    declared: Mapping[str, Any]

    async def start(self) -> None:
        """Begin to serve, at the same address as before if it did."""

    def kill(self) -> None:
        """Its process crashes."""

    def hang(self) -> None:
        """It takes connections, and no more."""

    def end(self) -> None:
        """Clear up."""


class PythonPlace:
    """Runs ``region.py``, which can be told how to behave. ``host``: of this machine."""

    def __init__(self, env: Mapping[str, str], said: Path, host: str = HOST, prefix: tuple[str, ...] = ()) -> None:
        self._port = free_port()
        script = str(Path(__file__).with_name("region.py"))
        self._notes = said.with_suffix(".notes")
        command = [*prefix, sys.executable, script, host, str(self._port), str(self._notes)]
        self._process = Started(command, env, said)
        self.url = f"http://{host}:{self._port}"
        self.declared: Mapping[str, Any] = {"endpoint": self.url}

    async def start(self) -> None:
        """Begin to serve."""
        self._process.start()
        await self._process.line(READY)

    def behave(self, how: str) -> None:
        """Behave so from now on; see ``region.py``."""
        self._process.say(how)

    async def asked(self, path: str | None = None) -> int:
        """How many requests came in for a path, or for any; checks do not count."""
        async with aiohttp.ClientSession() as http, http.get(f"{self.url}/count") as answer:
            counts: dict[str, int] = await answer.json(content_type=None)
        return sum(counts.values()) if path is None else counts.get(path, 0)

    def kill(self) -> None:
        """Its process crashes."""
        self._process.kill()

    def hang(self) -> None:
        """It takes connections, and no more."""
        self._process.signal(signal.SIGSTOP)

    def wake(self) -> None:
        """It goes on after it hung, with all that came in meanwhile."""
        self._process.signal(signal.SIGCONT)

    def carried_out(self, path: str) -> list[str]:
        """The numbers of the POSTs for a path that it took up, also before it crashed."""
        lines = (line.split(" ") for line in self._notes.read_text().splitlines())
        return [number for asked, number in lines if asked == path]

    def end(self) -> None:
        """Clear up."""
        self._process.kill()


class NginxPlace:
    """HTTP/2 without negotiation, so that edges notice by PING when it falls silent; checks by HTTP/1.1 beside it."""

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        folder.mkdir()
        http2, http1 = free_port(), free_port()
        config = folder / "nginx.conf"
        config.write_text(_NGINX.format(folder=folder, http2=http2, http1=http1))
        self._process = Started([NGINX, "-e", str(folder / "error.log"), "-c", str(config)], env, folder / "out")
        self.url, self._check = f"http://{HOST}:{http2}", f"http://{HOST}:{http1}/healthz"
        self.declared: Mapping[str, Any] = {
            "endpoint": self.url,
            "protocol": "http2",
            "health": {"url": self._check, "interval": "250ms", "timeout": "500ms"},
        }

    async def start(self) -> None:
        """Begin to serve."""
        self._process.start()

    def kill(self) -> None:
        """Its process crashes."""
        self._process.kill()

    def hang(self) -> None:
        """It takes connections, and no more."""
        self._process.signal(signal.SIGSTOP)

    def end(self) -> None:
        """Clear up."""
        self._process.kill()


_NGINX = """daemon off; master_process off; worker_processes 1; pid {folder}/pid;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder}; keepalive_requests 1000000;
  server {{ listen 127.0.0.1:{http2} http2 backlog=4096; location / {{ return 200 "ok"; }} }}
  server {{ listen 127.0.0.1:{http1}; location / {{ return 200 "ok"; }} }}
}}
"""


class Island:
    """A network of its own, joined to this machine by one pair of interfaces, whose packets can be dropped."""

    def __init__(self) -> None:
        number = next(_NUMBERS)
        self.name = f"mr{os.getpid() % 100_000}n{number}"
        self._inside, self._outside = f"{self.name}i", f"{self.name}o"
        base = (os.getpid() * 32 + number) % 16_384 * 4
        network = f"198.{18 + base // 65_536}.{base // 256 % 256}"
        self._here, self.host = f"{network}.{base % 256 + 1}", f"{network}.{base % 256 + 2}"

    def make(self) -> None:
        """Set it up. Raises OSError."""
        _run("ip", "netns", "add", self.name)
        _run("ip", "link", "add", self._outside, "type", "veth", "peer", "name", self._inside, "netns", self.name)
        _run("ip", "addr", "add", f"{self._here}/30", "dev", self._outside)
        _run("ip", "link", "set", self._outside, "up")
        _run(*self._within, "ip", "addr", "add", f"{self.host}/30", "dev", self._inside)
        _run(*self._within, "ip", "link", "set", self._inside, "up")

    @property
    def _within(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.name)

    def place(self, env: Mapping[str, str], said: Path) -> PythonPlace:
        """A region that runs in it."""
        return PythonPlace(env, said, self.host, self._within)

    def drop(self) -> None:
        """From now on no packet goes in or out, and nobody is told. Raises OSError."""
        chains = "\n".join(f"chain {way} {{ type filter hook {way} priority 0; policy drop; }}" for way in _WAYS)
        _run(*self._within, "nft", f"table inet lost {{\n{chains}\n}}")

    def remove(self) -> None:
        """Take it down again."""
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)


_WAYS = ("input", "output")
_NUMBERS = count()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


def missing_for_islands() -> str | None:
    """Why there can be no islands here, in capitals; None when there can: one was made, and taken down again."""
    if os.geteuid() != 0:
        return "NO RIGHT TO MAKE NETWORK NAMESPACES: PACKETS ARE DROPPED ONLY IN TESTS THAT RUN AS ROOT"
    absent = [tool for tool in ("ip", "nft") if shutil.which(tool) is None]
    if absent:
        return f"NO {' AND NO '.join(absent).upper()} HERE: INSTALL iproute2 AND nftables TO DROP PACKETS"
    trial = Island()
    try:
        trial.make()
        trial.drop()
    except OSError as wrong:
        return f"NO RIGHT TO MAKE NETWORKS AND TO DROP THEIR PACKETS, NOT EVEN AS ROOT: IN A CONTAINER? ({wrong})"
    finally:
        trial.remove()
    return None
