"""Envoy may have open as many files as this machine lets it."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.binary import Envoy
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.process import (
    EnvoyProcess,
    Start,
    most_open_files,
)

from .grpc_client import until

SCRIPT = """#!{python}
import json, pathlib, resource, time
while resource.getrlimit(resource.RLIMIT_NOFILE)[0] < resource.getrlimit(resource.RLIMIT_NOFILE)[1]:
    time.sleep(0.01)
told = pathlib.Path({out!r})
told.with_suffix(".new").write_text(json.dumps(resource.getrlimit(resource.RLIMIT_NOFILE)))
told.with_suffix(".new").rename(told)
time.sleep(60)
"""


async def test_its_limit_is_raised_to_the_highest_there_may_be(tmp_path: Path) -> None:
    program, out = tmp_path / "program", tmp_path / "limits.json"
    program.write_text(SCRIPT.format(python=sys.executable, out=str(out)))
    program.chmod(0o755)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard - 1, hard))
    process = EnvoyProcess(Start(Envoy(program, "1.40.0"), {}, tmp_path, drain_s=0.0))
    try:
        await process.start()
        await until(out.exists)
        assert json.loads(out.read_text()) == [hard, hard]
        assert most_open_files() == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await process.stop()
