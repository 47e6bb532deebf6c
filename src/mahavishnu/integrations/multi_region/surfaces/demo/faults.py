"""What the demo can play, the ways in which a region can fail in it, and what each is on a real machine."""

from __future__ import annotations

from enum import StrEnum


class Scenario(StrEnum):
    """What the demo plays: a region that fails, or a service that moves to another region in steps."""

    FAILOVER = "failover"
    BLUE_GREEN = "blue-green"


class Fault(StrEnum):
    """How the victim fails. ``kill``: SIGKILL; ``hang``: SIGSTOP; ``errors``: 503 to everything; ``flap``: in turns."""

    KILL = "kill"
    HANG = "hang"
    ERRORS = "errors"
    FLAP = "flap"


BAD_VERSION = "bad-version"
"""How a region behaves whose new version of one service is bad: well itself, it fails that service's requests."""

FLAP_TURN_S = 1.5
"""How long a flapping region is bad, then good, then bad again."""

BEGIN_TEXT = {
    Fault.KILL: "its process is killed (SIGKILL)",
    Fault.HANG: "its process is stopped (SIGSTOP): connections open, no answers",
    Fault.ERRORS: "it answers 503 to everything",
    Fault.FLAP: f"it answers 503 and 200 in turns of {FLAP_TURN_S:g} s",
}
END_TEXT = {
    Fault.KILL: "it is started again on the same port",
    Fault.HANG: "its process goes on (SIGCONT)",
    Fault.ERRORS: "it answers well again",
    Fault.FLAP: "it answers well again",
}


def fails_now(mode: str, since_s: float) -> bool:
    """Whether a region in that mode (a fault's name, or anything else for none) fails ``since_s`` after it began."""
    if mode == Fault.FLAP:
        return int(since_s / FLAP_TURN_S) % 2 == 0
    return mode == Fault.ERRORS
