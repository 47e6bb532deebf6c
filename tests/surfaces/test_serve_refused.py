"""A controller that cannot start says why, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.surfaces.cli_stage import DEADLINE_S, PACKAGE, Home, process_env

pytestmark = pytest.mark.slow


def test_a_start_that_is_refused_after_edges_could_be_served_leaves_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "geo.mmdb").write_bytes(b"no database")
    command = [sys.executable, "-m", PACKAGE, "serve", "--store", "memory", "--listen", "127.0.0.1:0"]
    env = process_env(Home(tmp_path)) | {"MAHAVISHNU_MULTI_REGION__GEOIP_DATABASE": str(tmp_path / "geo.mmdb")}
    command += ["--xds", "127.0.0.1:0"]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert ended.returncode != 0
    assert "GEOIP_DATABASE" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr
