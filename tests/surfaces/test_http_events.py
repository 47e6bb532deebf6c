"""The event stream, over real sockets."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from mahavishnu.integrations.multi_region.shell.event_log import EventLog
from mahavishnu.integrations.multi_region.surfaces.http.auth import Role
from mahavishnu.integrations.multi_region.surfaces.http.sse import Streams
from tests.surfaces.http_served import Served, bearer, own_server, region, running_system, served

DEADLINE_S = 30


@pytest.fixture
def server() -> Iterator[Served]:
    with served(keep_alive_s=0.05) as running:
        yield running


def _register(server: Served, *region_ids: str) -> None:
    for region_id in region_ids:
        answer = httpx.post(f"{server.url}/regions", json=region(region_id), headers=bearer(Role.ADMIN))
        answer.raise_for_status()


class Reader:
    """Reads a stream block by block; a comment is under the empty name."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.blocks = self._read()

    def events(self, count: int) -> list[dict[str, str]]:
        """The next events, comments left out."""
        found: list[dict[str, str]] = []
        while len(found) < count:
            block = next(self.blocks)
            found += [block] if "id" in block else []
        return found

    def _read(self) -> Iterator[dict[str, str]]:
        block: dict[str, str] = {}
        for line in self.answer.iter_lines():
            if line:
                name, _, value = line.partition(":")
                block[name] = value.strip()
            else:
                yield block
                block = {}


@contextmanager
def _stream(server: Served, query: str = "", **headers: str) -> Iterator[Reader]:
    with httpx.stream("GET", f"{server.url}/events{query}", headers=headers, timeout=DEADLINE_S) as answer:
        yield Reader(answer)


def test_the_stream_begins_with_what_is_there_and_goes_on_with_what_comes(server: Served) -> None:
    _register(server, "eu-west-1")
    with _stream(server) as reader:
        assert reader.answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert reader.answer.headers["cache-control"] == "no-store"
        (first,) = reader.events(1)
        _register(server, "us-east-1")
        (second,) = reader.events(1)
    assert (first["id"], first["event"], second["id"]) == ("1", "region.registered", "2")
    data = json.loads(second["data"])
    assert (data["seq"], data["subject"], data["previous"]) == (2, "us-east-1", json.loads(first["data"])["digest"])


@pytest.mark.parametrize(
    ("query", "header", "seen"),
    [("", None, ["1", "2", "3"]), ("?after=1", None, ["2", "3"]), ("", "2", ["3"]), ("?after=0", "2", ["3"])],
)
def test_a_client_takes_up_where_it_left_off(server: Served, query: str, header: str | None, seen: list[str]) -> None:
    _register(server, "eu-west-1", "us-east-1", "ap-southeast-2")
    with _stream(server, query, **({} if header is None else {"Last-Event-ID": header})) as reader:
        assert [event["id"] for event in reader.events(len(seen))] == seen


def test_a_quiet_stream_is_kept_alive_by_comments(server: Served) -> None:
    with _stream(server) as reader:
        assert [set(next(reader.blocks)) for _ in range(4)] == [{""}] * 4


@pytest.mark.parametrize(("query", "header"), [("?after=x", "1"), ("", "x"), ("", "-1"), ("?aftr=1", "1")])
def test_a_start_that_cannot_be_is_refused(server: Served, query: str, header: str) -> None:
    with _stream(server, query, **{"Last-Event-ID": header}) as reader:
        assert reader.answer.status_code == 422


def test_the_stream_needs_a_token_when_reads_do() -> None:
    with served(open_reads=False) as server, _stream(server) as reader:
        assert reader.answer.status_code == 401


def test_a_server_that_stops_ends_its_streams() -> None:
    with served() as server:
        _register(server, "eu-west-1")
        with _stream(server) as reader:
            assert [event["id"] for event in reader.events(1)] == ["1"]
            server.server.should_exit = True
            rest = list(reader.blocks)  # ends without an error: the last chunk was sent
        server.thread.join(DEADLINE_S)
        assert not server.thread.is_alive()
    assert all("id" not in block for block in rest)


def test_a_client_that_hangs_up_leaves_nothing_behind(server: Served) -> None:
    streams = server.app.state.streams
    with _stream(server) as reader:
        next(reader.blocks)
        assert streams.open == 1
    deadline = time.monotonic() + DEADLINE_S
    while streams.open and time.monotonic() < deadline:
        time.sleep(0.01)
    assert streams.open == 0


async def test_streams_are_bounded() -> None:
    async with running_system() as system:
        streams = Streams(EventLog(system.region_manager.store), most=1)
        first = await streams.events()
        body = first.body_iterator
        assert "events after 0" in str(await anext(aiter(body)))
        with pytest.raises(Exception, match="1 of 1 streams are open"):
            await streams.events()
        streams.close()
        assert [chunk async for chunk in body] == []
        assert streams.open == 0


async def test_a_stopping_server_takes_no_more_streams() -> None:
    async with own_server() as (client, app):
        app.state.streams.close()
        answer = await client.get("/events")
    assert answer.status_code == 503
