"""Every way to ``POST /route`` accepts and rejects exactly alike: the declared route, and each step before it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import Depends, FastAPI, Request
from hypothesis import example, given, settings, strategies as st
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mahavishnu.integrations.multi_region.core.model import RoutingStrategy
from mahavishnu.integrations.multi_region.shell.failure import FailureHandler
from mahavishnu.integrations.multi_region.shell.manager import RegionManager
from mahavishnu.integrations.multi_region.shell.router import RegionAwareRouter
from mahavishnu.integrations.multi_region.surfaces.http.api import MultiRegionAPI
from mahavishnu.integrations.multi_region.surfaces.http.auth import Authorizer, Role
from mahavishnu.integrations.multi_region.surfaces.http.hot import HotRoute
from mahavishnu.integrations.multi_region.surfaces.http.routes import StrictRequest
from tests.surfaces.hot_stage import BODY, Line, Seen, Wire, an_api, nothing, wire
from tests.surfaces.http_served import TOKENS, bearer, in_process

JSON = b"application/json"
Headers = list[tuple[bytes, bytes]]


class Passing:
    """Middleware that only says that a request came by."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-passed", b"yes")]
            await send(message)

        await self.app(scope, receive, marked if scope["type"] == "http" else send)


@dataclass(frozen=True, slots=True)
class Said:
    """An answer, as far as all ways must agree on it."""

    status: int
    kind: str | None
    body: Any
    refusal: str | None
    authenticate: str | None

    @classmethod
    def of(cls, status: int, headers: dict[str, str], body: bytes) -> Said:
        """An answer with header names in lower case."""
        shown = ("content-type", "x-multi-region-refusal", "www-authenticate")
        kind, refusal, authenticate = (headers.get(name) for name in shown)
        return cls(status, kind, json.loads(body), refusal, authenticate)


class InProcess:
    """An app that is called without a server."""

    def __init__(self, runner: asyncio.Runner, app: ASGIApp, api: MultiRegionAPI) -> None:
        self._runner = runner
        self._app = app
        self.api = api

    def ask(self, body: bytes, headers: Headers) -> Said:
        """The answer to a request."""
        return self._runner.run(self._ask(body, headers))

    async def _ask(self, body: bytes, headers: Headers) -> Said:
        sent: list[Message] = []
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            return waiting.pop() if waiting else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app(_scope(headers), receive, send)
        given = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
        return Said.of(sent[0]["status"], given, b"".join(m.get("body", b"") for m in sent[1:]))


class OverWire:
    """A server whose protocol takes the short way."""

    def __init__(self, server: Wire) -> None:
        self._server = server
        self._stack = ExitStack()
        self._line: Line | None = None
        self.api = server.api

    def ask(self, body: bytes, headers: Headers) -> Said:
        """The answer to a request, on the connection of the last one if that is still open."""
        if self._line is None:
            self._line = self._stack.enter_context(self._server.connected())
        lines = [b"POST /route HTTP/1.1", b"host: server", *(b"%b: %b" % pair for pair in headers)]
        self._line.send(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        reply = self._line.reply()
        if reply.headers.get("connection") == "close":
            self._line = None
        return Said.of(reply.status, reply.headers, reply.body)

    def close(self) -> None:
        """Hang up."""
        self._stack.close()


def _scope(headers: Headers) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/route",
        "raw_path": b"/route",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"server"), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }


def _declared(api: MultiRegionAPI) -> FastAPI:
    """An app on which only the declared route answers: dependencies of the whole app close every short way."""
    app = FastAPI(dependencies=[Depends(nothing)])
    api.register_routes(app)
    return app


def _with_middleware(api: MultiRegionAPI) -> FastAPI:
    app = FastAPI(middleware=[Middleware(Passing)])
    api.register_routes(app)
    return app


def _alone(api: MultiRegionAPI) -> FastAPI:
    app = FastAPI()
    api.register_routes(app)
    return app


Ways = dict[str, InProcess | OverWire]


def _ways(stack: ExitStack, authorizer: Authorizer | None = None) -> Ways:
    """Every way to the endpoint; each has regions and counters of its own."""
    runner = stack.enter_context(asyncio.Runner())

    def way(make: Any) -> InProcess:
        api = runner.run(an_api(authorizer))
        return InProcess(runner, make(api), api)

    over = OverWire(stack.enter_context(wire(authorizer=authorizer)))
    stack.callback(over.close)
    return {
        "declared": way(_declared),
        "raw route, behind middleware": way(_with_middleware),
        "raw route, without middleware": way(_alone),
        "accelerated": way(lambda api: api.accelerate(_with_middleware(api), past_middleware=True)),
        "protocol": over,
    }


@pytest.fixture(scope="module")
def ways() -> Iterator[Ways]:
    with ExitStack() as stack:
        yield _ways(stack)


def _agree(ways: Ways, body: bytes, headers: Headers) -> Said:
    headers = [*headers, (b"content-length", b"%d" % len(body))]
    said = {name: way.ask(body, headers) for name, way in ways.items()}
    expected = said["declared"]
    assert said == dict.fromkeys(said, expected)
    return expected


# --- the same bodies ------------------------------------------------------------------------------

numbers = st.one_of(
    st.floats(-90, 90),
    st.integers(-91, 91),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([90, -90.0, 90.0000001, 180, -0.0, 1e308, 10**40]),
)
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)
places = st.one_of(
    st.fixed_dictionaries({"latitude": numbers, "longitude": numbers}),
    st.fixed_dictionaries({"latitude": numbers}, optional={"longitude": anything, "altitude": numbers}),
    anything,
)
known = {
    "user_location": places,
    "country": st.one_of(st.sampled_from(["DE", "us", "ZZ", ""]), anything),
    "compliance_requirements": st.one_of(st.lists(st.sampled_from(["gdpr", "GDPR", "hipaa", "gdrp"])), anything),
    "data_id": st.one_of(st.just("user-1"), anything),
    "data_class": st.one_of(st.just("health"), anything),
    "service": st.one_of(st.sampled_from(["api", "nowhere", "apy"]), anything),
    "current_region": st.one_of(st.sampled_from(["us-east-1", "mars"]), anything),
}
contexts = st.one_of(
    st.fixed_dictionaries({"user_location": st.fixed_dictionaries({"latitude": numbers, "longitude": numbers})}),
    st.fixed_dictionaries({}, optional=known),
    st.fixed_dictionaries({}, optional={**known, "usr_location": anything}),
    anything,
)
strategies = st.one_of(st.none(), st.sampled_from([*RoutingStrategy, "Latency-Based", "fastest"]), anything)
objects = st.one_of(
    st.fixed_dictionaries({"request_context": contexts}, optional={"strategy": strategies}),
    st.fixed_dictionaries(
        {"request_context": contexts}, optional={"strategy": strategies, "candidates": anything, "stratgy": anything}
    ),
    anything,
)
texts = st.builds(
    lambda value, spaced, ascii_only: json.dumps(
        value, ensure_ascii=ascii_only, separators=None if spaced else (",", ":")
    ).encode("utf-8", "surrogatepass"),
    objects,
    st.booleans(),
    st.booleans(),
)
damaged = st.builds(
    lambda raw, at, put, cut: raw[: at % (len(raw) + 1)] + put + raw[at % (len(raw) + 1) + cut :],
    texts,
    st.integers(0, 500),
    st.binary(max_size=4),
    st.integers(0, 6),
)
kinds = st.sampled_from(
    [JSON] * 6
    + [b"application/json; charset=utf-8", b"APPLICATION/JSON", b"application/problem+json", b"text/plain", b""]
)


@settings(max_examples=400)
@given(body=st.one_of(texts, texts, damaged, st.binary(max_size=40)), kind=kinds)
def test_all_ways_answer_the_same_bodies_alike(ways: Ways, body: bytes, kind: bytes) -> None:
    _agree(ways, body, [(b"content-type", kind)])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (BODY, 200),
        (b'{"request_context":{}}', 200),
        (b' {"request_context" : {} , "strategy":null, "candidates":null}\n', 200),
        (b'{"request_context":{"user_location":{"latitude":52,"longitude":13}},"candidates":2}', 200),
        (b'{"request_context":{"user_location":{"longitude":-0.0,"latitude":9e1}},"strategy":"latency_based"}', 200),
        (b'{"request_context":{"user_location":{"latitude":90,"longitude":-180}},"strategy":null}', 200),
        (b'{"request_context":{"user_location":{"latitude":1,"longitude":2}},"strategy":"latency-based"}', 200),
        (b'{"request_context":{"user_location":{"latitude":1,"longitude":2}},"strategy":"cost_based"}', 200),
        (b'{"request_context":{"user_location":{"latitude":1,"longitude":2},"country":"JP"}}', 200),
        (b'{"request_context":{"user_location":{"latitude":1,"longitude":2}},"candidates":1}', 200),
        (b'{"request_context":{"user_location":{"latitude":1,"longitude":2}},"candidates":true}', 422),
        (b'{"request_context":{"user_location":{"latitude":90.000000000000001,"longitude":2}}}', 200),
        (b'{"request_context":{"user_location":{"latitude":90.0000000000001,"longitude":2}}}', 422),
        (b'{"request_context":{"user_location":{"latitude":1,"longitude":180.00000000000003}}}', 422),
        (b'{"request_context":{},"strategy":"round_robin"}', 200),
        (b'{"request_context":{"service":"api"},"strategy":"COST-BASED"}', 200),
        (
            b'{"request_context":{"user_location":{"latitude":99,"latitude":1,"longitude":2}}}',
            200,
        ),  # the last one counts
        (b'{"request_context":5,"request_context":{}}', 200),
        (b'{"request_\\u0063ontext":{}}', 200),
        (b'{"request_context":{"data_id":"\\u00fc \xf0\x9f\x8c\x8d"}}', 200),
        (b"", 400),
        (b"\xef\xbb\xbf" + BODY, 400),
        (BODY + b"x", 400),
        (BODY[:-1], 400),
        (b'{"request_context":{"user_location":{"latitude":NaN,"longitude":1}}}', 400),
        (b'{"request_context":{"user_location":{"latitude":1e999,"longitude":1}}}', 400),
        (b'{"request_context":{"data_id":"\\ud800"}}', 400),
        (b'{"request_context":{"data_id":"\xff"}}', 400),
        (b"[" * 5_000, 400),
        (b'{"request_context":' + b"[" * 4_000 + b"]" * 4_000 + b"}", 400),
        (b"null", 422),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"request_context":null}', 422),
        (b'{"request_context":{},"strategi":"x"}', 422),
        (b'{"request_context":{"user_location":{"latitude":true,"longitude":1}}}', 422),
        (b'{"request_context":{"user_location":{"latitude":91,"longitude":1}}}', 422),
        (b'{"request_context":{"user_location":{"latitude":"1","longitude":1}}}', 422),
        (b'{"request_context":{"user_location":{"latitude":1,"longitude":1,"altitude":1}}}', 422),
        (b'{"request_context":{"service":"apy"}}', 422),
        (b'{"request_context":{},"candidates":1.0}', 422),
        (b'{"request_context":{},"candidates":true}', 422),
        (b'{"request_context":{"service":"nowhere"}}', 503),
    ],
)
def test_all_ways_answer_it_so(ways: Ways, body: bytes, status: int) -> None:
    assert _agree(ways, body, [(b"content-type", JSON)]).status == status


@pytest.mark.parametrize("context", ['{"user_location":{"latitude":52,"longitude":13}}', '{"country":"JP"}', "{}"])
@pytest.mark.parametrize("strategy", ["null", '"latency_based"', '"cost_based"'])
def test_candidates_are_named_by_all_ways_whenever_they_are_asked_for(ways: Ways, context: str, strategy: str) -> None:
    plain = f'"request_context":{context},"strategy":{strategy}'
    for asked, count in (("", None), (',"candidates":null', None), (',"candidates":1', 1), (',"candidates":2', 2)):
        said = _agree(ways, f"{{{plain}{asked}}}".encode(), [(b"content-type", JSON)]).body
        found = said.pop("candidates", None)
        assert (None if found is None else len(found)) == count
        if found is not None:
            estimates = [candidate["estimate_ms"] for candidate in found]
            assert found[0]["region_id"] == said["selected_region"]
            assert all(ms is None if context == "{}" else ms > 0 for ms in estimates)


@pytest.mark.parametrize("size", [9_999, 10_000, 65_536, 200_000, 1_000_000])
def test_a_large_body_is_read_by_all_ways(ways: Ways, size: int) -> None:
    assert _agree(ways, BODY.ljust(size), [(b"content-type", JSON)]).status == 200


def test_of_a_header_that_comes_twice_the_first_counts(ways: Ways) -> None:
    twice = [(b"content-type", b"text/plain"), (b"content-type", JSON)]
    assert _agree(ways, BODY, twice).status == 415
    assert _agree(ways, BODY, twice[::-1]).status == 200
    assert _agree(ways, BODY, []).status == 415


@pytest.mark.parametrize(("first", "second", "taken"), [(b"9", b"99999", True), (b"99999", b"9", False)])
async def test_of_a_length_that_is_told_twice_the_first_counts(first: bytes, second: bytes, taken: bool) -> None:
    hot = HotRoute((await an_api()).router, None)
    assert (hot.takes([(b"content-length", first), (b"content-length", second)]) is not None) is taken


@settings(max_examples=30)
@given(bodies=st.lists(texts, min_size=1, max_size=8))
@example(bodies=[b'{"request_context":{},"strategy":"round_robin"}'] * 5)
def test_all_ways_count_alike(ways: Ways, bodies: list[bytes]) -> None:
    for body in bodies:
        _agree(ways, body, [(b"content-type", JSON)])
    counted = {name: way.api.router.get_routing_stats() for name, way in ways.items()}
    assert counted == dict.fromkeys(counted, counted["declared"])
    assert counted["declared"]["total_decisions"] > 0
    assert counted["declared"]["decisions_by_strategy"]["round_robin"] >= 5


class _NoEndpoint(MultiRegionAPI):
    """The endpoints, of which the declared route is known by its answer."""

    async def route(self, request: StrictRequest) -> Response:
        """Only this route answers so."""
        return Response(status_code=418)


@pytest.mark.parametrize("step", ["raw route, behind middleware", "raw route, without middleware", "accelerated"])
async def test_each_step_answers_by_itself(step: str) -> None:
    made = await an_api()
    api = _NoEndpoint(made.region_manager, made.router, made.failure_handler)
    app: Any = _alone(api) if step == "raw route, without middleware" else _with_middleware(api)
    app = api.accelerate(app, past_middleware=True) if step == "accelerated" else app
    async with in_process(app) as client:
        answer = await client.post("/route", content=BODY, headers={"Content-Type": "application/json"})
        assert (await client.post("/route?long=way")).status_code == 418
    assert answer.json()["selected_region"] == "eu-central-1"


STEPS: dict[str, Callable[[MultiRegionAPI], Any]] = {
    "raw route, behind middleware": _with_middleware,
    "raw route, without middleware": _alone,
    "accelerated": lambda api: api.accelerate(_alone(api)),
}


async def _sent(app: ASGIApp, *messages: Message) -> list[Message]:
    """What an app sends to a client of whom it receives these messages and then nothing more."""
    waiting, sent = list(messages), list[Message]()

    async def receive() -> Message:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(_scope([(b"content-type", JSON), (b"content-length", b"%d" % len(BODY))]), receive, send)
    return sent


@pytest.mark.parametrize("step", STEPS)
async def test_a_body_in_pieces_is_read_to_its_end(step: str) -> None:
    app = STEPS[step](await an_api())
    pieces = [BODY[:7], b"", BODY[7:30], BODY[30:]]
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    start, body = await _sent(app, *messages, {"type": "http.request"})
    assert (start["status"], json.loads(body["body"])["selected_region"]) == (200, "eu-central-1")


@pytest.mark.parametrize("step", STEPS)
async def test_a_client_who_hangs_up_within_the_body_is_not_answered_nor_counted(step: str) -> None:
    api = await an_api()
    app = STEPS[step](api)
    assert await _sent(app) == []
    assert await _sent(app, {"type": "http.request", "body": BODY, "more_body": True}) == []
    assert api.router.get_routing_stats()["total_decisions"] == 0


@pytest.mark.parametrize("step", STEPS)
async def test_what_one_answer_is_changed_to_on_its_way_does_not_show_in_the_next(step: str) -> None:
    """Answers are kept; middleware outside may write into the message it gets, as into any other."""
    app = STEPS[step](await an_api())
    request = {"type": "http.request", "body": BODY}
    first, _ = await _sent(app, request)
    said = list(first["headers"])
    first["headers"].append((b"x-mark", b"yes"))
    first["status"] = 500
    second, _ = await _sent(app, request)
    assert (second["status"], second["headers"]) == (200, said)


# --- nothing is skipped ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded() -> Iterator[Ways]:
    with ExitStack() as stack:
        yield _ways(stack, Authorizer(TOKENS, open_reads=False))


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ([], 401),
        ([b"Bearer wrong"], 401),
        ([b"Basic abc"], 401),
        ([b"\xff\xfe"], 401),
        ([bearer(Role.VIEWER)["Authorization"].encode()], 200),
        ([bearer(Role.ADMIN)["Authorization"].encode()], 200),
        ([b"Bearer wrong", bearer(Role.ADMIN)["Authorization"].encode()], 401),
    ],
)
@pytest.mark.parametrize("body", [BODY, b"not json"])
def test_no_way_leads_past_the_token(guarded: Ways, authorization: list[bytes], status: int, body: bytes) -> None:
    headers = [(b"content-type", JSON), *((b"authorization", text) for text in authorization)]
    said = _agree(guarded, body, headers)
    assert said.status == (400 if status == 200 and body != BODY else status)
    assert (said.authenticate is not None) == (status == 401)


async def test_an_apps_own_dependencies_are_asked() -> None:
    asked: list[str] = []

    async def note(request: Request) -> None:
        asked.append(request.url.path)

    api, app = await an_api(), FastAPI(dependencies=[Depends(note)])
    api.register_routes(app)
    async with in_process(api.accelerate(app, past_middleware=True)) as client:  # type: ignore[arg-type]
        answer = await client.post("/route", content=BODY, headers={"Content-Type": "application/json"})
    assert (answer.status_code, asked) == (200, ["/route"])


@pytest.mark.parametrize("past", [False, True])
async def test_middleware_is_passed_by_only_when_one_says_so(past: bool) -> None:
    api = await an_api()
    accelerated = api.accelerate(_with_middleware(api), past_middleware=past)
    async with in_process(accelerated) as client:  # type: ignore[arg-type]
        answer = await client.post("/route", content=BODY, headers={"Content-Type": "application/json"})
        other = await client.get("/regions")
    assert (answer.status_code, answer.headers.get("x-passed")) == (200, None if past else "yes")
    assert other.headers["x-passed"] == "yes"


@pytest.mark.parametrize("accelerated", [False, True])
async def test_the_apps_limit_for_bodies_holds(accelerated: bool) -> None:
    api, app = await an_api(), FastAPI(max_body_size=len(BODY))
    api.register_routes(app)
    headers = {"Content-Type": "application/json"}
    async with in_process(api.accelerate(app) if accelerated else app) as client:  # type: ignore[arg-type]
        fits = await client.post("/route", content=BODY, headers=headers)
        larger = await client.post("/route", content=BODY + b" ", headers=headers)
    assert (fits.status_code, larger.status_code) == (200, 413)


@pytest.mark.parametrize("accelerated", [False, True])
async def test_a_route_that_the_app_had_before_keeps_its_place(accelerated: bool) -> None:
    api, app = await an_api(), FastAPI()

    @app.post("/route")
    async def own() -> str:
        return "mine"

    api.register_routes(app)
    async with in_process(api.accelerate(app) if accelerated else app) as client:  # type: ignore[arg-type]
        answer = await client.post("/route", content=BODY, headers={"Content-Type": "application/json"})
    assert answer.json() == "mine"


async def test_an_app_without_our_routes_is_left_alone() -> None:
    api, app = await an_api(), FastAPI()
    async with in_process(api.accelerate(app)) as client:  # type: ignore[arg-type]
        assert (await client.post("/route", content=BODY)).status_code == 404


async def test_our_own_failure_is_the_apps_to_answer() -> None:
    api, app = await an_api(), FastAPI()
    seen = Seen(app)
    api.register_routes(app)

    @app.exception_handler(ZeroDivisionError)
    async def handled(request: Request, err: Exception) -> Any:
        return PlainTextResponse("divided by zero", 500)

    def fails(*_: object) -> None:
        raise ZeroDivisionError

    api.router.route = api.router.route_place = fails  # type: ignore[assignment,method-assign]
    async with in_process(api.accelerate(app)) as client:  # type: ignore[arg-type]
        answer = await client.post("/route", content=BODY, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.text) == (500, "divided by zero")
    assert seen.paths == []


@pytest.mark.parametrize("accelerated", [False, True])
async def test_that_nobody_may_serve_is_said_as_by_the_declared_route(accelerated: bool) -> None:
    manager = RegionManager()
    router = RegionAwareRouter(manager)
    api, app = MultiRegionAPI(manager, router, FailureHandler(manager, router)), FastAPI()
    api.register_routes(app)
    async with in_process(api.accelerate(app) if accelerated else app) as client:  # type: ignore[arg-type]
        short = await client.post("/route", content=BODY, headers={"Content-Type": "application/json"})
        declared = await client.post(
            "/route?", content=BODY.ljust(10_000), headers={"Content-Type": "application/json"}
        )
    assert (short.status_code, short.json()) == (503, declared.json())
    assert router.get_routing_stats()["refused"] == 2


async def test_a_mounted_app_answers_under_its_prefix() -> None:
    api, inner, outer = await an_api(), FastAPI(), FastAPI()
    api.register_routes(inner)
    outer.mount("/geo", inner)
    async with in_process(outer) as client:
        answer = await client.post("/geo/route", content=BODY, headers={"Content-Type": "application/json"})
        wrong = await client.post("/geo/route", content=b"{}", headers={"Content-Type": "application/json"})
    assert answer.json()["selected_region"] == "eu-central-1"
    assert wrong.json()["instance"] == "/geo/route"


async def test_routes_may_be_registered_while_the_app_starts() -> None:
    api, app = await an_api(), FastAPI()
    app.middleware_stack = app.build_middleware_stack()
    api.register_routes(app)
    async with in_process(app) as client:
        answer = await client.post("/route", content=BODY, headers={"Content-Type": "application/json"})
    assert answer.json()["selected_region"] == "eu-central-1"


async def test_the_raw_route_is_not_in_the_document() -> None:
    api, app = await an_api(), FastAPI()
    api.register_routes(app)
    assert list(app.openapi()["paths"]["/route"]) == ["post"]
    assert "RouteAnswer" in str(app.openapi()["paths"]["/route"]["post"]["responses"]["200"])


# --- what is said ---------------------------------------------------------------------------------

CONTEXTS: list[dict[str, Any]] = [
    {},
    {"user_location": {"latitude": 52.5, "longitude": 13.4}},
    {"country": "JP"},
    {"service": "api", "user_location": {"latitude": -33, "longitude": 151}},
    {"compliance_requirements": ["gdpr"], "country": "US"},
    {"compliance_requirements": ["gdpr"]},
]


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("strategy", list(RoutingStrategy))
async def test_the_reason_is_the_one_that_an_explanation_gives(context: dict[str, Any], strategy: str) -> None:
    router = (await an_api()).router
    expected = router.explain(context, strategy).decision
    decision = router.route(context, strategy)
    assert expected is not None
    assert (decision.selected_region, decision.reasoning) == (expected.selected_region, expected.reasoning)


async def test_an_answer_that_was_kept_is_not_given_for_another_reason() -> None:
    api, app = await an_api(), FastAPI()
    api.register_routes(app)
    sydney = {"user_location": {"latitude": -33.9, "longitude": 151.2}}
    async with in_process(app) as client:
        answers = [await client.post("/route", json={"request_context": given}) for given in (sydney, {}, sydney, {})]
    said = [(answer.json()["selected_region"], answer.json()["reasoning"]) for answer in answers]
    assert (
        said
        == [
            ("ap-southeast-2", "Selected ap-southeast-2 for lowest latency"),
            ("ap-southeast-2", "Selected ap-southeast-2 with 99.0 health score (no user location)"),
        ]
        * 2
    )


async def test_an_answer_that_was_kept_is_not_given_for_another_state() -> None:
    api, app = await an_api(), FastAPI()
    api.register_routes(app)
    headers = {"Content-Type": "application/json"}
    async with in_process(app) as client:
        first = (await client.post("/route", content=BODY, headers=headers)).json()
        api.region_manager.regions["eu-central-1"].endpoint = "https://moved.example.com"
        second = (await client.post("/route", content=BODY, headers=headers)).json()
    assert (first["selected_region"], second["selected_region"]) == ("eu-central-1", "eu-central-1")
    assert (first["endpoint"], second["endpoint"]) == ("https://eu-central-1.example.com", "https://moved.example.com")
