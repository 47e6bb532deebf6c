"""What ``doctor`` asks the server, or of the port that one would listen on."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mahavishnu.integrations.multi_region.errors import InvalidInputError, MultiRegionError

from .checks import Check, Level, usable_settings
from .edge_checks import edges_of_server
from .errors import ProblemError, UnreachableError

if TYPE_CHECKING:
    from .client import Remote

CLOCKS_APART_S = 5.0
_BAD_PHASES = {"down": Level.FAIL, "unknown": Level.WARN, "degraded": Level.WARN, "saturated": Level.WARN}


def remote_checks(server: str | None, token: str | None) -> Iterator[Check]:
    """Everything that needs a server; where none answers, whether one could be started here."""
    from .client import connect

    try:
        remote = connect(server, token)
    except InvalidInputError as err:
        yield Check("server", Level.FAIL, str(err), f"set {err.field} to {err.allowed}")
        return
    try:
        date = remote.date()
        status = remote.get("/v1/status")
    except UnreachableError as err:
        yield unreachable(remote, err)
        yield _port()
        return
    except ProblemError as err:
        yield Check("server", Level.FAIL, f"{remote.base}: {err}", "give a token that it knows: --token TOKEN")
        return
    yield Check("server", Level.OK, f"{remote.base}, version {status['version']}, up {status['uptime_s']:.0f} s")
    yield _clocks(date)
    yield _role(remote)
    yield from _alarms(status)
    for region in status["regions"]:
        yield _region(region)
    yield from edges_of_server(status["edges"])


def unreachable(remote: Remote, err: UnreachableError) -> Check:
    """A server that was asked for by name must answer; the one of the defaults need not run yet."""
    expected = remote.base != default_server()
    remedy = "start it, or name another with --server URL" if expected else "multi-region serve -f world.yaml"
    return Check("server", Level.FAIL if expected else Level.WARN, str(err), remedy)


def default_server() -> str:
    """The server that is asked where nobody names one."""
    from mahavishnu.integrations.multi_region.settings import load_settings

    return load_settings({}).server


def _port() -> Check:
    from .listening import listen_on

    settings = usable_settings()
    try:
        listen_on(settings.listen_host, settings.listen_port).close()
    except InvalidInputError as err:
        return Check("port", Level.FAIL, str(err), "stop what listens there, or set MAHAVISHNU_MULTI_REGION__LISTEN")
    return Check("port", Level.OK, f"{settings.listen} is free")


def _clocks(date: float | None) -> Check:
    if date is None:
        return Check("clocks", Level.WARN, "the server does not say what time it is", "compare the clocks yourself")
    apart = abs(time.time() - date)
    if apart > CLOCKS_APART_S:
        return Check("clocks", Level.WARN, f"{apart:.0f} s between here and the server", "run an NTP client on both")
    return Check("clocks", Level.OK, "here and at the server the same")


def _role(remote: Remote) -> Check:
    """What the token may do, by asking for things that change nothing."""
    if remote.token is None:
        return Check("token", Level.WARN, "none: looking may be allowed, acting is not", "give one with --token TOKEN")
    asked: tuple[tuple[str, str, dict[str, int]], ...] = (
        ("admin", "/v1/apply", {"version": 1}),
        ("operator", "/v1/observations", {}),
    )
    for role, path, body in asked:
        status = _status_of(remote, path, body)
        if status == 401:
            remedy = (
                "check --token and MAHAVISHNU_MULTI_REGION__TOKEN; a new one: multi-region token NAME --role operator"
            )
            return Check("token", Level.FAIL, "the server does not know this token", remedy)
        if status != 403:
            return Check("token", Level.OK, f"accepted, role {role}")
    return Check("token", Level.OK, "accepted, role viewer: it may look, not act")


def _status_of(remote: Remote, path: str, body: object) -> int:
    try:
        remote.post(path, body, **({"dry_run": True} if path == "/v1/apply" else {}))
    except ProblemError as err:
        return err.status
    except MultiRegionError:
        return 503
    return 200


def _alarms(status: dict[str, Any]) -> Iterator[Check]:
    from .status import alarms, held_text

    held = [one for one in status["held_deployments"] if one["waits_for_a_person"]]
    remedies = {held_text(one): f"multi-region failover {', '.join(one['active']) or 'REGION'}" for one in held}
    for alarm in alarms(status):
        if alarm in remedies:
            yield Check("deployments", Level.FAIL, alarm, remedies[alarm])
        else:
            yield Check("server", Level.WARN, alarm, "multi-region events shows since when")
    if not status["regions"]:
        yield Check("regions", Level.WARN, "none is registered", "multi-region apply -f world.yaml")


def _region(region: dict[str, Any]) -> Check:
    """What the server's probes say of a region, and whether its name resolves from here."""
    name, phase = f"region {region['region_id']}", region["phase"]
    parts = urlsplit(region["endpoint"])
    text = (
        f"{region['endpoint']} is {phase}: {region['reason']}"
        if region["reason"]
        else f"{region['endpoint']} is {phase}"
    )
    if not _resolves(parts.hostname or ""):
        level = Level.FAIL if phase in ("down", "unknown") else Level.WARN
        return Check(name, level, f"{text}; the name {parts.hostname} is not known here", "check its endpoint and DNS")
    if phase in _BAD_PHASES:
        return Check(
            name, _BAD_PHASES[phase], text, f"multi-region regions show {region['region_id']}; check its health path"
        )
    return Check(name, Level.OK, text)


def _resolves(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None))
    except (OSError, UnicodeError):
        return False
