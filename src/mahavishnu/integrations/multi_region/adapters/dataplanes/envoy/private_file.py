"""Writes a file that only its owner may read, whole or not at all: a reader finds the old content or the new."""

from __future__ import annotations

import os
from pathlib import Path


def replace_private(path: Path, content: bytes) -> None:
    """Put ``content`` in place of what the file held; it outlives a loss of power. Raises OSError."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
