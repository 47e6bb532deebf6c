"""The controller of a server with workers: ``python -m … LINE``, an inherited descriptor. Started by the supervisor."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog

from mahavishnu.integrations.multi_region.adapters.sinks.logs import configure_logging
from mahavishnu.integrations.multi_region.errors import MultiRegionError
from mahavishnu.integrations.multi_region.surfaces.workers.feed import Feed
from mahavishnu.integrations.multi_region.surfaces.workers.line import Boot, LowerEnd
from mahavishnu.integrations.multi_region.surfaces.workers.settling import Settling
from mahavishnu.integrations.multi_region.system import MultiRegionSystem

from .controller import Door, run
from .errors import exit_code
from .output import show_error
from .serve import beginning


def main(line_fd: int) -> int:
    """Run until told to stop; the exit code. What is wrong at the start is said as ``serve`` itself says it."""
    line = LowerEnd.of_fd(line_fd)
    boot = line.boot()
    configure_logging(boot.settings.log_level.value, boot.settings.log_format.value)
    structlog.contextvars.bind_contextvars(controller=os.getpid())
    door = Door(boot.http_path, boot.tokens, boot.open_reads)
    try:
        run(boot.settings, door, beginning(boot.world, boot.as_json), line.ready, _Beside(boot, line))
    except MultiRegionError as err:
        show_error(err, boot.as_json)
        return exit_code(err)
    finally:
        line.clean_up(boot)
    return 0


class _Beside:
    """Workers hear of changes while the controller's app runs, and the supervisor's end ends it."""

    def __init__(self, boot: Boot, line: LowerEnd) -> None:
        self._boot = boot
        self._line = line

    @asynccontextmanager
    async def __call__(self, system: MultiRegionSystem, app: Any) -> AsyncIterator[None]:
        feed = Feed(system.region_manager, system.router, self._boot.state_path, self._boot.settings.workers)
        app.add_middleware(Settling, feed=feed)
        self._line.watch()
        await feed.start()
        try:
            yield
        finally:
            await feed.close()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
