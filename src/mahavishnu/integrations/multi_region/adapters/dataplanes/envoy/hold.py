"""Sees to it that one agent at a time runs an edge: a second one would end the Envoy of the first."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from mahavishnu.integrations.multi_region.errors import UnavailableError


class Hold:
    """A lock on a file; the system lets go of it when its process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    @property
    def taken(self) -> bool:
        """Whether we have it."""
        return self._file is not None

    def take(self) -> None:
        """Take it. Raises UnavailableError when somebody else has it, OSError when there can be no such file."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            os.close(file)
            raise UnavailableError(f"another agent runs this edge already ({self._path} is locked)") from err
        self._file = file

    def release(self) -> None:
        """Let go of it, if we have it."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)
