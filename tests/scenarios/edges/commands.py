"""Commands as an operator types them, each a process of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from .processes import DEADLINE_S
from .stage import Controller, Stage


async def order(stage: Stage, controller: Controller, *words: str, code: int = 0) -> Any:
    """Give a command to a controller, and read its JSON; a failed test when it ends with another exit code."""
    line = [sys.executable, "-m", "mahavishnu.integrations.multi_region", *words, "--json"]
    line += ["--server", controller.url, "--token", controller.token]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*line, env=stage.env, stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(DEADLINE_S):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == code, (words, process.returncode, out.decode(), err.decode())
    return json.loads(out)
