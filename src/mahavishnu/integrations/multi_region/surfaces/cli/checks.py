"""What ``doctor`` checks on this machine. Each check is a function that returns what it found; none raises."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mahavishnu.integrations.multi_region.errors import InvalidInputError, MultiRegionError, StoreError, WorldFileError
from mahavishnu.integrations.multi_region.settings import Settings, load_settings, state_dir, unknown_variables

LIBRARIES = ("aiohttp", "apsw", "fastapi", "pydantic", "typer", "uvicorn")
OLDEST_PYTHON = (3, 11)
SLOW_FSYNC_MS = 100.0


class Level(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """What was checked, what was found, and how to mend it where it must be mended."""

    name: str
    level: Level
    text: str
    remedy: str = ""


def local_checks(world: Path | None) -> Iterator[Check]:
    """Everything that can be checked without a server. ``world``: a world file to check too."""
    yield _python()
    yield _libraries()
    yield _sqlite()
    yield from _settings()
    settings = usable_settings()
    if world is not None:
        yield _world(world, settings)
    yield from _store(settings)
    yield _clock()


def usable_settings() -> Settings:
    """The settings, or the documented defaults when the environment's do not hold."""
    defaults = {"store": str(state_dir() / "multi-region.db")}
    try:
        return load_settings(defaults=defaults)
    except InvalidInputError:
        return load_settings({}, defaults=defaults)


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Check("python", Level.FAIL, found, "use Python 3.11 or newer")
    return Check("python", Level.OK, found)


def _libraries() -> Check:
    found, missing = [], []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check("libraries", Level.FAIL, "missing: " + ", ".join(missing), "install mahavishnu-multi-region again")
    return Check("libraries", Level.OK, ", ".join(found))


def _sqlite() -> Check:
    import apsw

    from mahavishnu.integrations.multi_region.adapters.stores.sqlite_file import require_sqlite

    found = apsw.sqlite_lib_version()
    try:
        require_sqlite(found)
    except StoreError as err:
        return Check("sqlite", Level.FAIL, str(err), "pip install --upgrade apsw")
    return Check("sqlite", Level.OK, found)


def _settings() -> Iterator[Check]:
    try:
        load_settings()
        yield Check("settings", Level.OK, "every variable that is set has an allowed value")
    except InvalidInputError as err:
        yield Check("settings", Level.FAIL, str(err), f"set {err.field} to {err.allowed}, or unset it")
    for name, near in unknown_variables():
        remedy = (
            f"rename it to {near}, or unset it" if near else "unset it; docs/configuration.md lists those there are"
        )
        yield Check("settings", Level.WARN, f"nothing reads {name}", remedy)


def _world(path: Path, settings: Settings) -> Check:
    from mahavishnu.integrations.multi_region.surfaces.world.load import read_world

    try:
        world = read_world(path, settings.health_check())
    except WorldFileError as err:
        return Check("world file", Level.FAIL, str(err).replace("\n", "; "), f"mend {path}, line by line as named")
    parts = f"{len(world.regions)} regions, {len(world.services)} services, {len(world.policies)} policies"
    return Check("world file", Level.OK, f"{path}: {parts}")


def _store(settings: Settings) -> Iterator[Check]:
    path = settings.store_path
    if path is None:
        text = "memory: drains, regions and events are lost when the server ends"
        yield Check("store", Level.WARN, text, "name a file in MAHAVISHNU_MULTI_REGION__STORE, or leave it unset")
        return
    remedy = f"let this account write {path} and its directory, or name another file with --store"
    place = _nearest(path)
    if not path.exists():
        writable = os.access(place, os.W_OK | os.X_OK)
        text = f"{path} will be made" if writable else f"{path} cannot be made: {place} may not be written"
        yield Check("store", Level.OK if writable else Level.FAIL, text, "" if writable else remedy)
    else:
        yield _existing_store(path, remedy)
    yield _fsync(place)


def _existing_store(path: Path, remedy: str) -> Check:
    from mahavishnu.integrations.multi_region.adapters.stores.sqlite import SqliteStore

    async def revision() -> int:
        store = await SqliteStore.open(path)
        try:
            return (await store.load(limit=1)).revision
        finally:
            await store.close()

    try:
        return Check("store", Level.OK, f"{path}, revision {asyncio.run(revision())}")
    except MultiRegionError as err:
        return Check("store", Level.FAIL, str(err), remedy)


def _nearest(path: Path) -> Path:
    """The nearest directory around a path that is there."""
    return next((parent for parent in path.absolute().parents if parent.is_dir()), Path("/"))


def _fsync(place: Path) -> Check:
    """How long the disk takes to keep something, which every acknowledged write waits for."""
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"x")
            began = time.perf_counter()
            os.fsync(file.fileno())
            took_ms = 1000 * (time.perf_counter() - began)
    except OSError as err:
        return Check("disk", Level.FAIL, f"{place}: {err.strerror}", "put the store on a disk that can be written")
    text = f"a write to {place} is safe after {took_ms:.1f} ms"
    if took_ms > SLOW_FSYNC_MS:
        return Check("disk", Level.WARN, text, "put the store on a faster disk: every change waits so long")
    return Check("disk", Level.OK, text)


def _clock() -> Check:
    """A clock that stands before the day this program was installed is wrong."""
    now = time.time()
    installed = Path(__file__).stat().st_mtime
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < installed:
        return Check(
            "clock", Level.FAIL, f"{shown} is before this program was installed", "set the clock; run an NTP client"
        )
    return Check("clock", Level.OK, shown)
