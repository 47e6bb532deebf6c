"""Runs the command line in a process that stops, as if asked to, when its standard input ends."""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

PROGRAM = "mahavishnu.integrations.multi_region"
GRACE_S = 30.0
"""How long the process may take to stop in order: edges let requests finish, and must be ended before it."""


def stop_when_input_ends(grace_s: float = GRACE_S) -> None:
    """Watch standard input in the background; at its end, SIGTERM, and exit after ``grace_s`` whatever happens."""
    threading.Thread(target=_wait_and_stop, args=(grace_s,), name="leash", daemon=True).start()


def _wait_and_stop(grace_s: float) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace_s)
    os._exit(1)


if __name__ == "__main__":
    stop_when_input_ends()
    runpy.run_module(PROGRAM, run_name="__main__", alter_sys=True)
