"""What the demo can play, the ways in which a region can fail in it, and what each is on a real machine."""

from __future__ import annotations

from enum import StrEnum


class Scenario(StrEnum):
    """What the demo plays; all but the first and the third need edges.

    ``failover``: a region fails. ``drain``: an operator takes one out. ``blue-green``: a service moves to another
    region in steps. ``controller-loss``: a region fails while there is no controller. ``residency``: the law's regions
    become fewer, and then none.
    """

    FAILOVER = "failover"
    DRAIN = "drain"
    BLUE_GREEN = "blue-green"
    CONTROLLER_LOSS = "controller-loss"
    RESIDENCY = "residency"


class Fault(StrEnum):
    """How the victim fails. ``kill``: SIGKILL; ``hang``: SIGSTOP; ``drop``: its packets are lost, both ways.

    ``errors``: 503, to half of the requests with edges, to everything without; ``flap``: in turns; ``slow``: late.
    ``drop`` and ``slow`` need edges.
    """

    KILL = "kill"
    HANG = "hang"
    DROP = "drop"
    ERRORS = "errors"
    FLAP = "flap"
    SLOW = "slow"


WITHOUT_EDGES = (Fault.KILL, Fault.HANG, Fault.ERRORS, Fault.FLAP)
"""The faults that clients can cope with by themselves."""

GRAY = "gray"
"""How a region behaves that answers 503 to every second request, while its health is fine."""


BAD_VERSION = "bad-version"
"""How a region behaves whose new version of one service is bad: well itself, it fails that service's requests."""

FLAP_TURN_S = 1.5
"""How long a flapping region is bad, then good, then bad again."""

LATE_S = 1.0
"""How much later than usual a slow region answers."""

BEGIN_TEXT = {
    Fault.KILL: "its process is killed (SIGKILL)",
    Fault.HANG: "its process is stopped (SIGSTOP): connections open, no answers",
    Fault.DROP: "every packet to it and from it is lost",
    Fault.ERRORS: "it answers 503 to everything",
    Fault.FLAP: f"it answers 503 and 200 in turns of {FLAP_TURN_S:g} s",
    Fault.SLOW: f"it answers {LATE_S:g} s late, its health is fine",
}
GRAY_TEXT = "it answers 503 to every second request, its health is fine"
"""What ``errors`` is with edges."""

END_TEXT = {
    Fault.KILL: "it is started again on the same port",
    Fault.HANG: "its process goes on (SIGCONT)",
    Fault.DROP: "its packets arrive again",
    Fault.ERRORS: "it answers well again",
    Fault.FLAP: "it answers well again",
    Fault.SLOW: "it answers in time again",
}


def fails_now(mode: str, since_s: float) -> bool:
    """Whether a region in that mode (a fault's name, or anything else for none) fails ``since_s`` after it began."""
    if mode == Fault.FLAP:
        return int(since_s / FLAP_TURN_S) % 2 == 0
    return mode == Fault.ERRORS
