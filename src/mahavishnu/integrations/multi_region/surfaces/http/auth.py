"""Who may do what over HTTP: tokens with roles. Knows no web framework; ``guarding.py`` puts it in front of endpoints.

A token is 32 random bytes, so its SHA-256 cannot be guessed back: a slow hash is for passwords, which people choose.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from mahavishnu.integrations.multi_region.core.model import parse_enum
from mahavishnu.integrations.multi_region.errors import ForbiddenError, InvalidInputError

TOKEN_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")
_HASH = re.compile(r"[0-9a-f]{64}")
_LINE = "a line `NAME ROLE sha256:HASH`"


class Role(StrEnum):
    """What a token may do, each role all that the ones before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, needed: Role) -> bool:
        """Whether this role may do what ``needed`` may."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. ``name`` is the token's name and what the audit log records; ``role`` is None for a caller unknown."""

    name: str
    role: Role | None


class NotAuthenticatedError(ForbiddenError):
    """No token was shown, or one that is not known. ``shown``: whether there was one."""

    def __init__(self, message: str, *, shown: bool) -> None:
        self.shown = shown
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class _Entry:
    caller: Caller
    digest: str


class Tokens:
    """The tokens that a server accepts, by their hashes."""

    def __init__(self, entries: Iterable[_Entry] = ()) -> None:
        self._entries = tuple(entries)

    def __len__(self) -> int:
        return len(self._entries)

    @staticmethod
    def issue(name: str, role: Role | str) -> tuple[str, str]:
        """A new token, and the line for the tokens file. The token itself is kept nowhere: show it once.

        Raises InvalidInputError for a name or a role that is not allowed.
        """
        token = secrets.token_urlsafe(TOKEN_BYTES)
        wanted = parse_enum(Role, role, "role")
        return token, f"{_checked_name(name, 'name')} {wanted.value} sha256:{_digest(token)}"

    @classmethod
    def parse(cls, text: str, source: str = "tokens") -> Self:
        """The tokens that a text lists: ``NAME ROLE sha256:HASH`` on each line, ``#`` begins a comment.

        Raises InvalidInputError naming the line.
        """
        entries: dict[str, _Entry] = {}
        for number, raw in enumerate(text.splitlines(), start=1):
            line = raw.partition("#")[0].split()
            if not line:
                continue
            entry = _entry(line, f"{source}:{number}")
            if entry.caller.name in entries:
                raise InvalidInputError(f"{source}:{number}", entry.caller.name, "a name that no other line has")
            entries[entry.caller.name] = entry
        return cls(entries.values())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The tokens of a file that others on this machine can neither read nor change.

        Raises InvalidInputError for a file that cannot be read, is open to others, or has a line that is none.
        """
        path = Path(path)
        try:
            with path.open(encoding="utf-8") as file:
                if os.name == "posix":
                    _check_mode(path, os.fstat(file.fileno()).st_mode)
                return cls.parse(file.read(), str(path))
        except (OSError, UnicodeDecodeError) as err:
            raise InvalidInputError("tokens_file", str(path), f"a text file that can be read ({err})") from err

    def find(self, token: str) -> Caller | None:
        """Whose token this is. Takes as long for a good token as for a bad one."""
        digest = _digest(token)
        found: Caller | None = None
        for entry in self._entries:  # every entry, whether or not one has matched
            if hmac.compare_digest(entry.digest, digest):
                found = entry.caller
        return found


class Authorizer:
    """Decides whether a request may pass. ``open_reads``: what only looks needs no token.

    Without ``tokens`` nothing that changes anything passes.
    """

    def __init__(self, tokens: Tokens | None, *, open_reads: bool = False) -> None:
        self._tokens = tokens
        self._open_reads = open_reads

    def is_open(self, needed: Role) -> bool:
        """Whether anybody may do what this role may."""
        return self._open_reads and needed is Role.VIEWER

    def admit(self, authorization: str | None, needed: Role) -> Caller:
        """Who asks, by the ``Authorization`` header. Raises NotAuthenticatedError, ForbiddenError."""
        if self._tokens is None:
            raise ForbiddenError(
                "this server was started without tokens, so it lets nobody do this: make one with `multi-region token "
                "NAME --role ROLE`, put its line into a file, and name that in MAHAVISHNU_MULTI_REGION__TOKENS_FILE"
            )
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise NotAuthenticatedError("a token is needed: Authorization: Bearer TOKEN", shown=False)
        caller = self._tokens.find(token.strip())
        if caller is None or caller.role is None:
            raise NotAuthenticatedError("this token is not known here", shown=True)
        if not caller.role.includes(needed):
            raise ForbiddenError(f"this needs the role {needed.value}; the token {caller.name} has {caller.role.value}")
        return caller


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _entry(words: list[str], where: str) -> _Entry:
    if len(words) != 3:
        raise InvalidInputError(where, f"{len(words)} words", _LINE)
    name, role, given = words
    digest = given.removeprefix("sha256:")
    if digest == given or not _HASH.fullmatch(digest):
        raise InvalidInputError(where, "(not shown)", _LINE + ", the hash as 64 hexadecimal digits in lower case")
    return _Entry(Caller(_checked_name(name, where), parse_enum(Role, role, where)), digest)


def _checked_name(name: str, where: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidInputError(where, name, "a name of 1 to 63 letters, digits and . _ @ -")
    return name


def _check_mode(path: Path, mode: int) -> None:
    """Refuse a file that everybody may read, or that anybody but its owner may change."""
    if mode & 0o027:
        allowed = "a file that others cannot read and only its owner can change: chmod 600 it"
        raise InvalidInputError("tokens_file", f"{path} (mode {mode & 0o777:o})", allowed)
