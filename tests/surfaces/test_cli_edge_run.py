"""`multi-region edge run` in a process of its own: it ends when it is told to, whatever it waits for."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.surfaces.cli_stage import DEADLINE_S, PACKAGE, Home, eventually, process_env

pytestmark = pytest.mark.slow


def test_it_ends_in_good_order_while_it_still_waits_for_its_first_configuration(tmp_path: Path) -> None:
    state = tmp_path / "state"
    command = [sys.executable, "-m", PACKAGE, "edge", "run", "edge-eu", "--controller", "127.0.0.1:1"]
    process = subprocess.Popen(
        [*command, "--state", str(state)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=process_env(Home(tmp_path)),
    )
    try:
        assert process.stdout is not None
        said = ""
        while "nothing was kept to start from" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        (envoy,) = eventually(lambda: envoys_below(process.pid), lambda found: len(found) == 1)
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=2 * DEADLINE_S)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, "Traceback" in rest) == (0, False), rest
    assert not Path("/proc", envoy).exists()
    assert not (state / "edge-eu.pid").exists()


def envoys_below(pid: int) -> list[str]:
    """The children of a process that have become another program."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [child for child in found if b"bootstrap.json" in Path(f"/proc/{child}/cmdline").read_bytes()]
