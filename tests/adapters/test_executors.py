"""Executors: one contract for all three, real processes, a real HTTP server on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from mahavishnu.integrations.multi_region.adapters.executors.command import OUTPUT_BYTES, CommandExecutor
from mahavishnu.integrations.multi_region.adapters.executors.webhook import (
    KEY,
    SIGNATURE,
    TIMESTAMP,
    CheckedResolver,
    ForbiddenTargetError,
    Pauses,
    WebhookExecutor,
    sign,
    verify,
)
from mahavishnu.integrations.multi_region.core.deployment import RunState
from mahavishnu.integrations.multi_region.core.targets import TargetRules
from mahavishnu.integrations.multi_region.errors import InvalidInputError
from mahavishnu.integrations.multi_region.ports.executor import Executor, ScriptedExecutor, Task, TaskResult
from mahavishnu.integrations.multi_region.testing.executor_contract import LONG_S, Does, ExecutorContract, task

SECRET = "a secret of some length"
QUICK = Pauses(first_s=0.01, longest_s=0.05, attempt_s=5.0)

# What a command of the operator's does in the contract: notes what it was told, then behaves as told for its region.
PROGRAM = """
import json, os, sys, time
told = {k.removeprefix("MULTI_REGION_").lower(): v for k, v in os.environ.items() if k.startswith("MULTI_REGION_")}
with open(sys.argv[1], "a") as notes:
    notes.write(json.dumps(told) + "\\n")
does = json.loads(sys.argv[2]).get(told["region_id"], "succeed")
if does == "hang":
    time.sleep(60)
print("done in", told["region_id"])
sys.exit(does == "fail")
"""


def python(program: str, *arguments: str) -> CommandExecutor:
    return CommandExecutor([sys.executable, "-c", program, *arguments], grace_s=0.2)


async def eventually(fact: Callable[[], Any], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not fact():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.02)


class TestScripted(ExecutorContract):
    async def open_executor(self, does: Mapping[str, Does]) -> Executor:
        async def hang() -> TaskResult:
            await asyncio.sleep(60)
            return TaskResult(RunState.SUCCEEDED)

        def answer(task: Task) -> TaskResult | Awaitable[TaskResult]:
            match does.get(task.region_id, Does.SUCCEED):
                case Does.SUCCEED:
                    return TaskResult(RunState.SUCCEEDED)
                case Does.FAIL:
                    return TaskResult(RunState.FAILED, "as the script says")
                case Does.HANG:
                    return hang()

        self.executor = ScriptedExecutor(answer)
        return self.executor

    async def told(self) -> list[dict[str, str]]:
        return [
            {
                **one.facts,
                "operation_id": one.operation_id,
                "deployment_id": one.deployment_id,
                "service": one.service,
                "action": one.action.value,
                "attempt": str(one.attempt),
            }
            for one in self.executor.tasks
        ]


class TestCommand(ExecutorContract):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.notes = tmp_path / "notes"

    async def open_executor(self, does: Mapping[str, Does]) -> Executor:
        return python(PROGRAM, str(self.notes), json.dumps(does))

    async def told(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.notes.read_text().splitlines()] if self.notes.exists() else []


class Site:
    """A web server that notes each call and answers as it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Mapping[str, str], bytes]] = []
        self.does: Mapping[str, Does] = {}
        self.statuses: list[int] = []
        self.headers: dict[str, str] = {}
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.calls.append((request.headers.copy(), body))
        does = self.does.get(json.loads(body)["region_id"], Does.SUCCEED)
        if does is Does.HANG:
            await asyncio.sleep(60)
        status = self.statuses.pop(0) if self.statuses else 409 if does is Does.FAIL else 200
        return web.Response(status=status, text="as it was told", headers=self.headers)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    app = web.Application()
    app.router.add_post("/deploy", site.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    server = web.TCPSite(runner, "127.0.0.1", 0)
    await server.start()
    site.url = f"http://127.0.0.1:{runner.addresses[0][1]}/deploy"
    yield site
    await runner.cleanup()


class TestWebhook(ExecutorContract):
    @pytest.fixture(autouse=True)
    def _site(self, site: Site) -> None:
        self.site = site

    async def open_executor(self, does: Mapping[str, Does]) -> Executor:
        self.site.does = does
        return WebhookExecutor(self.site.url, SECRET, pauses=QUICK)

    async def told(self) -> list[dict[str, str]]:
        bodies = [json.loads(body) for _, body in self.site.calls]
        return [{**body["facts"], **{k: str(v) for k, v in body.items() if k != "facts"}} for body in bodies]


# --- the command --------------------------------------------------------------------------------


async def test_output_is_kept_and_of_a_long_one_the_end() -> None:
    short = await python("import sys; print('out'); print('err', file=sys.stderr)").run(task(), LONG_S)
    assert {"out", "err"} == set(short.detail.split())
    long = await python("print('a' * 100_000); print('the end')").run(task(), LONG_S)
    assert long.detail.endswith("the end")
    assert OUTPUT_BYTES - 10 <= len(long.detail) <= OUTPUT_BYTES + 1


async def test_the_exit_code_is_the_result() -> None:
    failed = await python("import sys; print('no quota'); sys.exit(3)").run(task(), LONG_S)
    assert (failed.state, failed.detail) == (RunState.FAILED, "exit code 3\nno quota")
    killed = await python("import os; os.kill(os.getpid(), 9)").run(task(), LONG_S)
    assert (killed.state, killed.detail) == (RunState.FAILED, "ended by signal 9")


async def test_a_command_that_cannot_be_started_has_failed_since_nothing_began(tmp_path: Path) -> None:
    result = await CommandExecutor([str(tmp_path / "missing")]).run(task(), LONG_S)
    assert result.state is RunState.FAILED
    assert "cannot be started" in result.detail


async def test_no_shell_reads_the_arguments(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    result = await CommandExecutor(["/bin/echo", f"$(touch {mark}); touch {mark}"]).run(task(), LONG_S)
    assert result.detail == f"$(touch {mark}); touch {mark}"
    assert not mark.exists()


async def test_secrets_of_ours_do_not_reach_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "secret")
    monkeypatch.setenv("HOME", "/home/operator")
    executor = CommandExecutor(
        [sys.executable, "-c", "import os; print(sorted(os.environ))"], environment={"STAGE": "production"}
    )
    names = (await executor.run(task(), LONG_S)).detail
    assert "SOME_TOKEN" not in names
    assert "'HOME'" in names and "'PATH'" in names and "'STAGE'" in names


async def test_a_deadline_ends_the_whole_group_even_one_that_will_not_listen(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    deaf = f"trap '' TERM; sleep 60 & echo $$ $! > {pids}; echo begun; wait; sleep 60"
    result = await CommandExecutor(["/bin/sh", "-c", deaf], grace_s=0.2).run(task(), 2.0)
    assert result.state is RunState.UNKNOWN
    assert result.detail == "ended after 2 s without a result\nbegun"
    await eventually(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()))


async def test_a_command_that_listens_may_clean_up_before_it_ends() -> None:
    polite = "trap 'echo cleaned up; exit 0' TERM; echo begun; sleep 60 & wait"
    result = await CommandExecutor(["/bin/sh", "-c", polite], grace_s=30).run(task(), 2.0)
    assert result.state is RunState.UNKNOWN
    assert result.detail.splitlines()[1:] == ["begun", "cleaned up"]


async def test_what_a_command_leaves_behind_is_ended_and_does_not_hold_up_the_result(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    leaving = f"""
import subprocess
child = subprocess.Popen(["sleep", "60"])
open({str(pid)!r}, "w").write(str(child.pid))
print("done")
"""
    result = await python(leaving).run(task(), LONG_S)
    assert (result.state, result.detail) == (RunState.SUCCEEDED, "done")
    await eventually(lambda: not alive(int(pid.read_text())))


async def test_a_cancelled_command_is_ended(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    running = asyncio.create_task(python(PROGRAM, str(notes), '{"us-east-1": "hang"}').run(task(), LONG_S))
    await eventually(notes.exists)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert str(notes) not in commands()


def commands() -> str:
    """The command lines of every process there is."""
    lines = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                lines.append((entry / "cmdline").read_text(errors="replace"))
            except OSError:
                continue  # it ended meanwhile
    return "\n".join(lines)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has asked about yet does not."""
    try:
        os.kill(pid, 0)
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.parametrize("argv", [[], "deploy.sh --now", [""], ["deploy.sh", 3]])
def test_a_command_is_a_list_of_texts(argv: Any) -> None:
    with pytest.raises(InvalidInputError, match="argv"):
        CommandExecutor(argv)


# --- the webhook --------------------------------------------------------------------------------


async def call(site: Site, deadline_s: float = LONG_S) -> TaskResult:
    executor = WebhookExecutor(site.url, SECRET, pauses=QUICK)
    try:
        return await executor.run(task(), deadline_s)
    finally:
        await executor.close()


async def test_a_call_is_signed_over_its_time_and_body(site: Site) -> None:
    await call(site)
    ((headers, body),) = site.calls
    stamp, signature = headers[TIMESTAMP], headers[SIGNATURE]
    assert verify(SECRET.encode(), stamp, body, signature, now=time.time())
    assert not verify(b"another secret than ours", stamp, body, signature, now=time.time())
    assert not verify(SECRET.encode(), stamp, body + b" ", signature, now=time.time())
    assert not verify(SECRET.encode(), str(int(stamp) + 1), body, signature, now=time.time())
    assert not verify(SECRET.encode(), stamp, body, signature, now=time.time() + 301)
    assert headers[KEY] == "web-1/us-east-1/deploy/1"


def test_the_signature_is_what_openssl_computes() -> None:
    """``printf '1.{}' | openssl dgst -sha256 -hmac "a secret of some length"``"""
    assert (
        sign(SECRET.encode(), "1", b"{}") == "sha256=fe073d07de269a8d2dcc12a6ca6631809e48fc2f27a1490485b7bae2da27a70b"
    )


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_tried_again_under_the_same_key(site: Site, status: int) -> None:
    site.statuses = [status, status, 204]
    result = await call(site)
    assert result.state is RunState.SUCCEEDED
    assert len(site.calls) == 3
    assert {headers[KEY] for headers, _ in site.calls} == {"web-1/us-east-1/deploy/1"}
    assert len({body for _, body in site.calls}) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422])
async def test_a_refusal_is_a_failure_at_once(site: Site, status: int) -> None:
    site.statuses = [status]
    result = await call(site)
    assert (result.state, result.detail) == (RunState.FAILED, f"status {status}: as it was told")
    assert len(site.calls) == 1


async def test_a_redirect_is_not_followed(site: Site) -> None:
    site.statuses, site.headers = [307], {"Location": site.url}
    result = await call(site)
    assert result.state is RunState.FAILED
    assert "not followed" in result.detail
    assert len(site.calls) == 1


async def test_a_site_that_fails_until_the_deadline_is_unknown(site: Site) -> None:
    site.statuses = [503] * 1000
    result = await call(site, deadline_s=0.5)
    assert result.state is RunState.UNKNOWN
    assert "no result within 0.5 s" in result.detail and "status 503" in result.detail
    assert len(site.calls) > 1


async def test_nobody_there_is_unknown_and_says_why() -> None:
    executor = WebhookExecutor("http://127.0.0.1:9/deploy", SECRET, pauses=QUICK)
    result = await executor.run(task(), 0.3)
    await executor.close()
    assert result.state is RunState.UNKNOWN
    assert "ClientConnectorError" in result.detail


async def test_an_attempt_that_hangs_is_given_up_and_repeated(site: Site) -> None:
    site.does = {"us-east-1": Does.HANG}
    executor = WebhookExecutor(site.url, SECRET, pauses=Pauses(first_s=0.01, longest_s=0.01, attempt_s=0.1))
    running = asyncio.create_task(executor.run(task(), LONG_S))
    await eventually(lambda: len(site.calls) >= 3)
    site.does = {}
    assert (await running).state is RunState.SUCCEEDED
    await executor.close()


def test_pauses_grow_up_to_a_limit() -> None:
    pauses = Pauses(first_s=0.2, longest_s=10.0)
    assert [pauses.before(n) for n in (1, 2, 3, 4)] == [0.2, 0.4, 0.8, 1.6]
    assert pauses.before(7) == pauses.before(1_000_000) == 10.0


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://deploy.example.com/", "scheme"),
        ("http://169.254.169.254/latest", "metadata"),
        ("http://metadata.google.internal/", "metadata"),
        ("https://user:pw@deploy.example.com/", "without user and password"),
        ("deploy.example.com", "url"),
    ],
)
def test_a_call_may_not_go_where_a_probe_may_not(url: str, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        WebhookExecutor(url, SECRET)


@pytest.mark.parametrize("address", ["169.254.169.254", "169.254.7.7", "fe80::1"])
async def test_an_address_that_a_name_leads_to_is_asked_about_again(address: str) -> None:
    resolver = CheckedResolver(TargetRules())
    with pytest.raises(ForbiddenTargetError, match="leads where no call may go"):
        await resolver.resolve(address, 80, socket.AF_UNSPEC)
    assert [found["host"] for found in await resolver.resolve("127.0.0.1", 80)] == ["127.0.0.1"]
    await resolver.close()


@pytest.mark.parametrize("secret", ["", "short", b"fifteen bytes.."])
def test_a_short_secret_is_refused_and_not_shown(secret: str | bytes) -> None:
    with pytest.raises(InvalidInputError, match="at least 16 bytes") as refused:
        WebhookExecutor("https://deploy.example.com/", secret)
    assert not secret or str(secret) not in str(refused.value)
