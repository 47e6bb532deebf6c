"""The pass of a server on this machine: a token that its own user's command line finds without being told.

A server on a loopback address that was given no tokens makes one for itself and leaves it, readable by its user alone,
in the user's runtime directory; one file for each port, gone when the server ends.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mahavishnu.integrations.multi_region.core.address import is_loopback
from mahavishnu.integrations.multi_region.errors import StoreError
from mahavishnu.integrations.multi_region.settings import runtime_dir


@dataclass(frozen=True, slots=True)
class Session:
    """Where a server of this user listens, and the token that it takes."""

    url: str
    token: str
    pid: int


def session_file(port: int) -> Path:
    """Where the pass for a port lies."""
    return runtime_dir() / f"server-{port}.json"


def leave(session: Session) -> Path:
    """Write the pass, mode 0600 in a directory of mode 0700; where it is. Raises StoreError when that fails."""
    path = session_file(_port(session.url))
    draft = path.with_suffix(f".{session.pid}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            draft.unlink()
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            json.dump(asdict(session), file)
        draft.replace(path)
    except OSError as err:
        raise StoreError(f"{path} cannot be written: {err.strerror}; start with --tokens FILE instead") from err
    return path


def take_back(session: Session) -> None:
    """Remove the pass, unless another server has left its own there since."""
    path = session_file(_port(session.url))
    if _read(path) == session:
        with suppress(OSError):
            path.unlink()


def find(url: str) -> Session | None:
    """The pass for the server at ``url``, None where there is none.

    A token is only ever shown to the address that its server listens on: ``localhost`` stands for that address.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "http" or not is_loopback(host):
        return None
    session = _read(session_file(_port(url)))
    if session is None or host not in ("localhost", urlsplit(session.url).hostname) or not _lives(session.pid):
        return None
    return session


def _port(url: str) -> int:
    return urlsplit(url).port or 80


def _lives(pid: int) -> bool:
    """Whether a process of that number is there that this user might have started; a killed server leaves its pass."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _read(path: Path) -> Session | None:
    try:
        if path.stat().st_uid != os.geteuid():
            return None
        raw = json.loads(path.read_text())
        return Session(str(raw["url"]), str(raw["token"]), int(raw["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
