"""Put a version into one region, or take it back. What the region does is a result, not an exception."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from ..core.deployment import RunState


class Action(StrEnum):
    """What is asked of a region: put the new version in, or take it back."""

    DEPLOY = "deploy"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Task:
    """What to do in one region.

    ``operation_id`` is the same when the task is repeated after a crash: doing it twice must do no harm.
    ``attempt`` counts from 1. ``facts``: what is known of the region, as text, by name.
    """

    operation_id: str
    deployment_id: str
    service: str
    region_id: str
    action: Action
    attempt: int
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TaskResult:
    """How it went: succeeded, failed, or unknown when nobody can tell. ``detail``: the output's end, or why not."""

    state: RunState
    detail: str = ""


class Executor(Protocol):
    """Carries out tasks in regions."""

    async def run(self, task: Task, deadline_s: float) -> TaskResult:
        """Do it, within ``deadline_s`` seconds; when cancelled, break it off. Must bear several tasks at once."""

    async def close(self) -> None:
        """Let go of what it holds."""


Answer = TaskResult | Awaitable[TaskResult]


class ScriptedExecutor:
    """The in-memory reference: answers from a function, which may take its time, and remembers what it was asked."""

    def __init__(self, answer: Callable[[Task], Answer] | None = None) -> None:
        self.answer = answer or (lambda task: TaskResult(RunState.SUCCEEDED))
        self.tasks: list[Task] = []

    async def run(self, task: Task, deadline_s: float) -> TaskResult:
        self.tasks.append(task)
        answer = self.answer(task)
        if isinstance(answer, TaskResult):
            return answer
        try:
            async with asyncio.timeout(deadline_s):
                return await answer
        except TimeoutError:
            return TaskResult(RunState.UNKNOWN, f"no result within {deadline_s:g} s")

    async def close(self) -> None:
        return
