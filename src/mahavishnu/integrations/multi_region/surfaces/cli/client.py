"""The command line's HTTP client: one request, one answer; every failure one of two errors."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mahavishnu.integrations.multi_region.errors import InvalidInputError, SettingsError
from mahavishnu.integrations.multi_region.settings import PREFIX, Settings, load_settings

from . import session
from .errors import ProblemError, UnreachableError

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

CONNECT_S = 5.0
ANSWER_S = 120.0  # a graceful failover waits for requests in flight
QUIET_S = 60.0  # an event stream sends a sign of life more often than that
RETRY_S = 1.0
LONGEST_LINE = 2**22


@dataclass(frozen=True, slots=True)
class Remote:
    """A server and the token to show it. A call that comes to nothing raises ProblemError or UnreachableError."""

    base: str
    token: str | None

    def get(self, path: str, **params: object) -> Any:
        """The answer to a GET; parameters that are None are left out."""
        return asyncio.run(self._call("GET", path, params, None))

    def post(self, path: str, body: object, **params: object) -> Any:
        """The answer to a POST of ``body`` as JSON."""
        return asyncio.run(self._call("POST", path, params, body))

    def put(self, path: str, body: object) -> Any:
        """The answer to a PUT of ``body`` as JSON."""
        return asyncio.run(self._call("PUT", path, {}, body))

    def delete(self, path: str) -> Any:
        """The answer to a DELETE; None when there is none."""
        return asyncio.run(self._call("DELETE", path, {}, None))

    def date(self) -> float | None:
        """The server's time, in seconds since the epoch; None when it does not say."""
        return asyncio.run(self._date())

    async def _date(self) -> float | None:
        async with self._open(ANSWER_S) as http:
            with _translated(self.base):
                async with http.get(self.base + "/healthz", allow_redirects=False) as response:
                    await _answer(self.base, response)
                    said = parsedate_to_datetime(response.headers["Date"]) if "Date" in response.headers else None
        return None if said is None else said.timestamp()

    async def _call(self, method: str, path: str, params: Mapping[str, object], body: object) -> Any:
        async with self._open(ANSWER_S) as http:
            with _translated(self.base):
                async with http.request(
                    method, self.base + path, params=_query(params), json=body, allow_redirects=False
                ) as response:
                    return await _answer(self.base, response)

    async def events(self, after: int, lost: Callable[[str], None]) -> AsyncIterator[dict[str, Any]]:
        """Events as they come, after number ``after``; connects again when the line breaks.

        ``lost`` is told why, once for each break. Never ends. Raises UnreachableError when the first connection fails,
        ProblemError when the server says no.
        """
        last, connected, known = after, False, False
        while True:
            why = f"{self.base} closed the stream"
            try:
                async for event in self._stream(last):
                    connected = known = True
                    if event is not None:
                        last = int(event["seq"])
                        yield event
            except UnreachableError as err:
                if not known:
                    raise
                why = str(err)
            if connected:
                lost(f"{why}; connecting again")
            connected = False
            await asyncio.sleep(RETRY_S)

    async def _stream(self, after: int) -> AsyncIterator[dict[str, Any] | None]:
        """One connection's events; first of all None, once the server has answered."""
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        async with self._open(None, QUIET_S) as http:
            with _translated(self.base):
                async with http.get(self.base + "/events", headers=headers, allow_redirects=False) as response:
                    if response.status != 200 or response.content_type != "text/event-stream":
                        await _answer(self.base, response)
                        raise UnreachableError(f"{self.base} sends no events")
                    yield None
                    async for data in _messages(response):
                        yield json.loads(data)

    def _open(self, total_s: float | None, quiet_s: float | None = None) -> ClientSession:
        from aiohttp import ClientSession, ClientTimeout

        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        timeout = ClientTimeout(total=total_s, sock_connect=CONNECT_S, sock_read=quiet_s)
        return ClientSession(headers=headers, timeout=timeout, read_bufsize=LONGEST_LINE)


def connect(server: str | None, token: str | None) -> Remote:
    """The server to ask, by the options or else the settings; its user's own pass where no token is given.

    Raises InvalidInputError naming the option, SettingsError naming the variable.
    """
    settings = settings_with({"server": server, "token": token})
    secret = None if settings.token is None else settings.token.get_secret_value()
    if secret is None and (found := session.find(settings.server)) is not None:
        return Remote(found.url, found.token)
    return Remote(settings.server, secret)


def settings_with(options: Mapping[str, str | None], defaults: Mapping[str, str] | None = None) -> Settings:
    """The settings with the options that were given over them. Raises InvalidInputError naming the option."""
    given = {field: value for field, value in options.items() if value is not None}
    try:
        return load_settings(options=given, defaults=defaults)
    except SettingsError as err:
        field = err.field.removeprefix(PREFIX).lower()
        if field not in given:
            raise
        raise InvalidInputError("--" + field.replace("_", "-"), err.value, err.allowed) from None


def segment(text: str) -> str:
    """A text as one segment of a path."""
    return quote(text, safe="")


def _query(params: Mapping[str, object]) -> dict[str, str]:
    given = {name: value for name, value in params.items() if value is not None}
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in given.items()}


async def _answer(base: str, response: ClientResponse) -> Any:
    """The body of an answer; a refusal raises ProblemError, what no server of ours would say UnreachableError."""
    text = await response.text(errors="replace")
    if response.status == 204:
        return None
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if response.ok and body is not None:
        return body
    if response.status >= 400 and isinstance(body, dict):
        raise ProblemError(response.status, body)
    kind = response.content_type
    raise UnreachableError(f"{base} answers, but not as a multi-region server does (status {response.status}, {kind})")


async def _messages(response: ClientResponse) -> AsyncIterator[str]:
    """The data of each server-sent event."""
    data: list[str] = []
    async for raw in response.content:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data = []


@contextmanager
def _translated(base: str) -> Iterator[None]:
    """Turn the client library's errors into UnreachableError that names the server and the cause."""
    from aiohttp import ClientError, InvalidURL

    try:
        yield
    except InvalidURL as err:
        raise InvalidInputError("--server", base, "a URL that begins with http:// or https://") from err
    except TimeoutError as err:
        raise UnreachableError(f"{base} does not answer in time") from err
    except (ClientError, OSError, ValueError) as err:
        raise UnreachableError(f"cannot reach {base}: {_cause(err)}") from err


def _cause(err: BaseException) -> str:
    """What went wrong, without the words of a library."""
    inner = getattr(err, "os_error", None) or err
    number = getattr(inner, "errno", None)
    if isinstance(number, int) and number > 0:  # the library's own text repeats the address
        return os.strerror(number)
    return getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
