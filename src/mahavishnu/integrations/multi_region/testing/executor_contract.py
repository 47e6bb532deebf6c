"""What every executor must do. Subclass ``ExecutorContract`` in a test and say how to open yours."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import StrEnum

import pytest

from mahavishnu.integrations.multi_region.core.deployment import RunState
from mahavishnu.integrations.multi_region.ports.executor import Action, Executor, Task

LONG_S = 30.0
"""A deadline that no test comes near."""


class Does(StrEnum):
    """What the far side does with a task."""

    SUCCEED = "succeed"
    FAIL = "fail"
    HANG = "hang"


def task(region_id: str = "us-east-1", action: Action = Action.DEPLOY, attempt: int = 1) -> Task:
    """A task for a region."""
    return Task(
        operation_id=f"web-1/{region_id}/{action}/{attempt}",
        deployment_id="web-1",
        service="web",
        region_id=region_id,
        action=action,
        attempt=attempt,
        facts={"region_id": region_id, "endpoint": f"https://{region_id}.example.com", "country": "US"},
    )


class ExecutorContract:
    """Run against the in-memory reference and every adapter."""

    async def open_executor(self, does: Mapping[str, Does]) -> Executor:
        """An executor whose far side treats each region so; regions that are not named succeed. Closed by the test."""
        raise NotImplementedError

    async def told(self) -> list[dict[str, str]]:
        """What the far side was told, one entry per task: operation_id, region_id, action, endpoint and so on."""
        raise NotImplementedError

    async def test_work_that_succeeds_and_work_that_fails(self) -> None:
        executor = await self.open_executor({"eu-west-1": Does.FAIL})
        good = await executor.run(task("us-east-1"), LONG_S)
        bad = await executor.run(task("eu-west-1"), LONG_S)
        await executor.close()
        assert good.state is RunState.SUCCEEDED
        assert bad.state is RunState.FAILED
        assert bad.detail

    async def test_no_result_by_the_deadline_is_unknown(self) -> None:
        executor = await self.open_executor({"us-east-1": Does.HANG})
        result = await executor.run(task(), 0.3)
        await executor.close()
        assert result.state is RunState.UNKNOWN
        assert "0.3 s" in result.detail

    async def test_several_at_once_each_get_their_own_result(self) -> None:
        executor = await self.open_executor({"b": Does.FAIL, "d": Does.FAIL})
        results = await asyncio.gather(*(executor.run(task(name), LONG_S) for name in "abcd"))
        await executor.close()
        assert [r.state is RunState.SUCCEEDED for r in results] == [True, False, True, False]

    async def test_the_far_side_is_told_the_task_and_the_facts_of_its_region(self) -> None:
        executor = await self.open_executor({})
        await executor.run(task("us-east-1", Action.ROLLBACK, attempt=3), LONG_S)
        await executor.close()
        (told,) = await self.told()
        expected = {
            "operation_id": "web-1/us-east-1/rollback/3",
            "deployment_id": "web-1",
            "service": "web",
            "region_id": "us-east-1",
            "action": "rollback",
            "attempt": "3",
            "endpoint": "https://us-east-1.example.com",
            "country": "US",
        }
        assert {name: told.get(name) for name in expected} == expected

    async def test_a_task_may_be_repeated_under_its_operation_id(self) -> None:
        executor = await self.open_executor({})
        states = [(await executor.run(task(), LONG_S)).state for _ in range(2)]
        await executor.close()
        assert states == [RunState.SUCCEEDED, RunState.SUCCEEDED]
        assert [entry["operation_id"] for entry in await self.told()] == ["web-1/us-east-1/deploy/1"] * 2

    async def test_cancelled_work_is_broken_off(self) -> None:
        executor = await self.open_executor({"us-east-1": Does.HANG})
        running = asyncio.create_task(executor.run(task(), LONG_S))
        while not await self.told():
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await executor.close()

    async def test_it_may_be_closed_twice_and_without_having_worked(self) -> None:
        executor = await self.open_executor({})
        await executor.close()
        await executor.close()
