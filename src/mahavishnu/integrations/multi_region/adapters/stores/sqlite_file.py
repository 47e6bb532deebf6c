"""The SQLite file itself: its schema, its transactions. Blocking; ``sqlite.py`` keeps it off the event loop."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from mahavishnu.integrations.multi_region.errors import StaleRevisionError, StoreError
from mahavishnu.integrations.multi_region.ports.store import Changes, Entry, Loaded, check_start, prefix_end

APPLICATION_ID = 0x4D52_5354  # "MRST"
SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE meta(id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL, floor INTEGER NOT NULL) STRICT;
CREATE TABLE entries(key TEXT PRIMARY KEY, value TEXT NOT NULL, revision INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE history(revision INTEGER, key TEXT, value TEXT, PRIMARY KEY (revision, key)) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES (1, 0, 0);
"""
OLDEST_SQLITE = (3, 51, 3)  # earlier ones can corrupt a WAL that a sidecar checkpoints
WAL_LIMIT_BYTES = 64 * 2**20
PAGE = 256  # commits that one look into the history reads

_CAUSES: tuple[tuple[type[apsw.Error], str], ...] = (
    (apsw.BusyError, "another process holds the file's lock for too long"),
    (apsw.LockedError, "another connection holds a lock on it for too long"),
    (apsw.FullError, "the disk is full"),
    (apsw.CorruptError, "the file is damaged: put a backup in its place"),
    (apsw.NotADBError, "the file is not an SQLite database"),
    (apsw.ReadOnlyError, "the file or its directory may not be written"),
    (apsw.CantOpenError, "the file cannot be opened"),
    (apsw.IOError, "the disk or the file system failed"),
)


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of history: the changes up to revision ``upto``, while the store was at ``revision``."""

    changes: list[Changes]
    upto: int
    revision: int


# --- open -----------------------------------------------------------------------------------------


def require_sqlite(version: str) -> None:
    """Raise StoreError unless SQLite of this version can be trusted with a shared WAL."""
    if tuple(int(part) for part in version.split(".")) < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        raise StoreError(f"SQLite {version} can damage the store; needed: {oldest} or later (upgrade apsw)")


def open_writer(path: Path, busy_timeout_s: float) -> apsw.Connection:
    """The connection that writes; makes the directory (0700), the file (0600) and the tables where they are missing."""
    require_sqlite(apsw.sqlite_lib_version())
    _make_place(path)
    with translated(path, "be opened"):
        db = _connect(path, busy_timeout_s)
        try:
            _retry_while_busy(db, "PRAGMA journal_mode = WAL", busy_timeout_s)
            db.execute("PRAGMA synchronous = FULL")
            db.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
            with writing(db):
                _ensure_schema(db, path)
        except BaseException:
            db.close()
            raise
    return db


def open_reader(path: Path, busy_timeout_s: float) -> apsw.Connection:
    """A connection that only reads, of a file that ``open_writer`` has opened."""
    with translated(path, "be opened"):
        db = _connect(path, busy_timeout_s)
        db.execute("PRAGMA query_only = ON")
    return db


def _make_place(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Only ever with O_EXCL: closing a descriptor of a file in use would drop SQLite's locks in this process.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as err:
        raise StoreError(f"{path} cannot be made: {err.strerror}") from err


def _connect(path: Path, busy_timeout_s: float) -> apsw.Connection:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    db.set_busy_timeout(int(busy_timeout_s * 1000))
    return db


def _retry_while_busy(db: apsw.Connection, sql: str, busy_timeout_s: float) -> None:
    """SQLite does not wait by itself where two processes switch a new file to WAL at once."""
    deadline = time.monotonic() + busy_timeout_s
    while True:
        try:
            db.execute(sql)
            return
        except apsw.BusyError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.01)


def _ensure_schema(db: apsw.Connection, path: Path) -> None:
    version = _number(db, "PRAGMA user_version")
    application = _number(db, "PRAGMA application_id")
    if application == APPLICATION_ID and version == SCHEMA_VERSION:
        return
    if application == APPLICATION_ID:
        raise StoreError(f"{path} has schema {version}, this program knows {SCHEMA_VERSION}: upgrade the program")
    if _number(db, "SELECT count(*) FROM sqlite_schema"):
        raise StoreError(f"{path} is a database of another program: give the store a file of its own")
    db.execute(SCHEMA)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}")


# --- transactions ---------------------------------------------------------------------------------


@contextmanager
def translated(path: Path, doing: str) -> Iterator[None]:
    """Turn the driver's errors into StoreError that names the file and the cause."""
    try:
        yield
    except apsw.Error as err:
        cause = next((text for kind, text in _CAUSES if isinstance(err, kind)), "SQLite refused")
        raise StoreError(f"{path} cannot {doing}: {cause} ({type(err).__name__}: {err})") from err


@contextmanager
def writing(db: apsw.Connection) -> Iterator[None]:
    """One write transaction, all of it or none. Takes the write lock first, so that reads in it are current."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            with suppress(apsw.Error):
                db.execute("ROLLBACK")
        raise


def commit(db: apsw.Connection, values: Mapping[str, str | None], guards: Mapping[str, int], history: int) -> int:
    """One commit; the revision after it. Keeps at least the last ``history`` commits for watches."""
    _require_in_place(db)
    with writing(db):
        revision, floor = _meta(db)
        for key, expected in guards.items():
            if (actual := _revision_of(db, key)) != expected:
                raise StaleRevisionError(key, expected, actual)
        changed = {key: value for key, value in values.items() if value is not None or _revision_of(db, key)}
        if changed:
            revision += 1
            _apply(db, changed, revision)
            floor = _compact(db, revision, floor, history)
            db.execute("UPDATE meta SET revision = ?, floor = ?", (revision, floor))
    return revision


def load(db: apsw.Connection, prefix: str, after: str, limit: int | None) -> Loaded:
    """The entries of a range and the revision they belong to, of one moment."""
    _require_in_place(db)
    where, bindings = _range(prefix, after)
    sql = f"SELECT key, value, revision FROM entries WHERE {where} ORDER BY key LIMIT ?"
    with db:
        revision, _ = _meta(db)
        rows: list[Any] = db.execute(sql, (*bindings, -1 if limit is None else limit)).fetchall()
    return Loaded(revision, {key: Entry(value, written) for key, value, written in rows})


def changes(db: apsw.Connection, prefix: str, after: int) -> Page:
    """The next piece of history after revision ``after``. Raises HistoryGoneError when it is not there."""
    where, bindings = _range(prefix, "")
    sql = f"SELECT revision, key, value FROM history WHERE revision > ? AND revision <= ? AND {where} ORDER BY 1, 2"
    with db:
        revision, floor = _meta(db)
        check_start(after, floor, revision)
        upto = min(after + PAGE, revision)
        commits: dict[int, dict[str, str | None]] = {}
        for written, key, value in db.execute(sql, (after, upto, *bindings)):
            commits.setdefault(written, {})[key] = value
    return Page([Changes(written, values) for written, values in commits.items()], upto, revision)


def data_version(db: apsw.Connection) -> int:
    """A number that differs from the last one when another connection has committed in between."""
    return _number(db, "PRAGMA data_version")


def _require_in_place(db: apsw.Connection) -> None:
    """Raise StoreError when the file was moved, removed or replaced: what went into it now, no restart would find."""
    moved = ctypes.c_int(0)
    db.file_control("main", apsw.SQLITE_FCNTL_HAS_MOVED, ctypes.addressof(moved))
    if moved.value:
        raise StoreError(f"{db.filename} was moved, removed or replaced while in use: put it back, or restart")


def _apply(db: apsw.Connection, changed: Mapping[str, str | None], revision: int) -> None:
    put = "INSERT INTO entries VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET value = ?2, revision = ?3"
    db.executemany(put, [(key, value, revision) for key, value in changed.items() if value is not None])
    db.executemany("DELETE FROM entries WHERE key = ?", [(key,) for key, value in changed.items() if value is None])
    db.executemany("INSERT INTO history VALUES (?, ?, ?)", [(revision, key, value) for key, value in changed.items()])


def _compact(db: apsw.Connection, revision: int, floor: int, history: int) -> int:
    if revision - floor <= history + history // 100:  # a hundredth of slack: one sweep for many commits
        return floor
    floor = revision - history
    db.execute("DELETE FROM history WHERE revision <= ?", (floor,))
    return floor


def _range(prefix: str, after: str) -> tuple[str, list[str]]:
    where, bindings = ("key > ?", [after]) if after >= prefix else ("key >= ?", [prefix])
    if (end := prefix_end(prefix)) is not None:
        where, bindings = f"{where} AND key < ?", [*bindings, end]
    return where, bindings


def _meta(db: apsw.Connection) -> tuple[int, int]:
    revision, floor = db.execute("SELECT revision, floor FROM meta").get
    return revision, floor


def _revision_of(db: apsw.Connection, key: str) -> int:
    return int(db.execute("SELECT revision FROM entries WHERE key = ?", (key,)).get or 0)


def _number(db: apsw.Connection, sql: str) -> int:
    return int(db.execute(sql).get)
