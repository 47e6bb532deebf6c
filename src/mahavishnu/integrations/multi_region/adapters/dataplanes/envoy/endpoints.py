"""Where the regions of a class are: its tiers as priorities, its shares as weights, each region a locality.

Much of a plan is endpoints, and they change most often. So each locality is serialised once and kept, and a class is
its localities' bytes, one after another: what its message would be as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any
from urllib.parse import urlsplit

from mahavishnu.integrations.multi_region.core.targets import Target as Location, literal_address, parse_target
from mahavishnu.integrations.multi_region.core.traffic import Standing, Target, TrafficClass, Whereabouts
from mahavishnu.integrations.multi_region.errors import InvalidInputError

from .parts import METADATA, NOBODY_LEAVES, Addresses, Former, Leaving, Problem
from .proto import message
from .resources import ENDPOINTS, MARK, Resource
from .wire import field

MOST_TIERS = 128
MOST_WEIGHT = 2**24
"""So that a tier of 255 regions stays within the 2**32 - 1 that Envoy adds up."""

_MATCH = "envoy.transport_socket_match"
_HEALTH = {Standing.SERVING: 1, Standing.DRAINING: 3, Standing.OUT: 2}  # HEALTHY, DRAINING, UNHEALTHY
_CLUSTER_NAME, _ENDPOINTS, _POLICY = 1, 2, 4  # fields of ClusterLoadAssignment


def host_names(classes: Iterable[TrafficClass]) -> frozenset[str]:
    """The hosts of endpoints that have to be looked up."""
    found = {location.host for kind in classes for target in kind.targets if (location := located(target.endpoint))}
    return frozenset(host for host in found if literal_address(host) is None)


@lru_cache(maxsize=16_384)
def located(endpoint: str) -> Location | None:
    """Where an endpoint's URL leads, None when it leads nowhere that an edge can go."""
    try:
        found = parse_target(endpoint)
    except InvalidInputError:
        return None
    return found if found.scheme in ("http", "https") and 1 <= found.port <= 65535 else None


def encryption(target: Target) -> str | None:
    """Whether an edge encrypts what it sends to a region: ``verified`` or ``unverified`` TLS, None for not at all."""
    location = located(target.endpoint)
    if location is None or location.scheme != "https":
        return None
    return "verified" if target.check.verify_tls else "unverified"


@dataclass(frozen=True, slots=True)
class Regions:
    """The regions of a class as fields of its assignment. ``mark``: of all that it may have, so whoever holds a version
    with that mark holds none beside them. ``lacking``: it is empty, and only for want of addresses.
    """

    body: bytes
    mark: str
    lacking: bool


def localities(
    tiers: tuple[tuple[Target, ...], ...],
    addresses: Addresses,
    unwatched: frozenset[str] = frozenset(),
    leaving: Leaving = NOBODY_LEAVES,
    watches: Callable[[Target], bool] = lambda _: True,
) -> tuple[Regions, tuple[Problem, ...]]:
    """The regions of a class as fields of its assignment, and which had to be left out.

    ``unwatched``: not checked by the edge itself. ``leaving``: where regions were a moment ago, of which the edge
    checks those that it ``watches``. The problems lack the name of the class in front.
    """
    told, problems = list[tuple[Target, ...]](), list[Problem]()
    for tier in tiers:
        usable = tuple(_usable(tier, addresses, leaving, problems))
        if usable and len(told) == MOST_TIERS:
            problems.append(Problem(f"/{usable[0].region_id}", f"stands behind {MOST_TIERS} tiers"))
        elif usable:
            told.append(usable)
    found = [
        _locality(
            _key(target, addresses),
            priority,
            target.weight,
            target.region_id not in unwatched,
            tuple(_beside(former, watches) for former in leaving.get(target.region_id, ())),
        )
        for priority, tier in enumerate(told)
        for target in tier
    ]
    mark = _mark(tuple(sorted({(target.region_id, target.endpoint) for tier in tiers for target in tier})))
    lacking = not found and any(problem.host for problem in problems)
    return Regions(b"".join(found), mark, lacking), tuple(problems)


@lru_cache(maxsize=16_384)
def _mark(regions: tuple[tuple[str, str], ...]) -> str:
    return blake2b("\0".join(part for region in regions for part in region).encode(), digest_size=8).hexdigest()


def assignment(name: str, regions: Regions) -> Resource:
    """The endpoints of a class with these ``localities``."""
    body = field(_CLUSTER_NAME, name.encode()) + regions.body + _policy()
    content = blake2b(body, digest_size=8).hexdigest() + ("~" if regions.lacking else "")
    return Resource(ENDPOINTS, name, body, content + MARK + regions.mark, regions.lacking)


def _usable(
    tier: tuple[Target, ...], addresses: Addresses, leaving: Leaving, problems: list[Problem]
) -> Iterator[Target]:
    for target in tier:
        if why := _objection(target):
            problems.append(Problem(f"/{target.region_id}", why))
        elif host := _unknown(target, addresses):
            why = f"endpoint: no address is known for {host}"
            problems.append(Problem(f"/{target.region_id}", why, carried=True, host=host))
            if target.region_id in leaving:  # it is where it was until more is known
                yield target
        else:
            if (path := urlsplit(target.endpoint).path) not in ("", "/"):
                why = f"endpoint: requests go there as they are, the path {path!r} is not put before theirs"
                problems.append(Problem(f"/{target.region_id}", why, carried=True))
            yield target


def ips_of(target: Target | Whereabouts, addresses: Addresses) -> tuple[str, ...]:
    """The addresses of a region, none when it cannot be told."""
    location = located(target.endpoint)
    return () if location is None else _ips(location.host, addresses)


def _objection(target: Target) -> str | None:
    if not 1 <= target.weight <= MOST_WEIGHT:
        return f"weight: {target.weight} is not allowed; allowed: 1 to {MOST_WEIGHT}"
    location = located(target.endpoint)
    if not target.region_id or location is None:
        return f"endpoint: {target.endpoint!r} is not allowed; allowed: http:// or https:// with a host and a port"
    return None


def _unknown(target: Target, addresses: Addresses) -> str:
    """The host that a target cannot be reached for want of, "" for none."""
    location = located(target.endpoint)
    return location.host if location is not None and not _ips(location.host, addresses) else ""


@lru_cache(maxsize=16_384)
def _literal(host: str) -> tuple[str, ...]:
    found = literal_address(host)
    return () if found is None else (str(found),)


def _ips(host: str, addresses: Addresses) -> tuple[str, ...]:
    return _literal(host) or tuple(addresses.get(host, ()))


_Key = tuple[str, str, tuple[str, ...], int, str | None, str]
_Beside = tuple[str, str, str | None, str, bool]


def _key(target: Target, addresses: Addresses) -> _Key:
    """All of a region that its locality is made of, but for what differs from class to class."""
    location = located(target.endpoint)
    assert location is not None  # it was found usable
    ips = _ips(location.host, addresses)
    return target.region_id, target.endpoint, ips, _HEALTH[target.standing], encryption(target), _checked_as(target)


def _beside(former: Former, watches: Callable[[Target], bool]) -> _Beside:
    """All that makes an address which a region is leaving."""
    was = former.target
    return was.endpoint, former.ip, encryption(was), _checked_as(was), watches(was)


def _checked_as(target: Target) -> str:
    """The host that a check names: as its owner says, or as the URL does; else it would be the cluster's name."""
    stated = [value for name, value in target.check.headers.items() if name.lower() == "host"]
    return stated[0] if stated else urlsplit(target.endpoint).netloc.rpartition("@")[2]


@lru_cache(maxsize=65_536)
def _locality(key: _Key, priority: int, weight: int, watched: bool, beside: tuple[_Beside, ...]) -> bytes:
    """One region as a serialised field of the assignment. ``beside``: further addresses, where it was until now."""
    region_id, endpoint, ips, health, transport, checked_as = key
    found = message("envoy.config.endpoint.v3.LocalityLbEndpoints")(priority=priority)
    found.locality.region = region_id
    found.load_balancing_weight.value = weight
    for one in (*((endpoint, ip, transport, checked_as, watched) for ip in ips), *beside):
        host = found.lb_endpoints.add()
        _fill(host, one)
        host.health_status = health
        host.metadata.filter_metadata[METADATA].fields["region"].string_value = region_id
    return field(_ENDPOINTS, found.SerializeToString(deterministic=True))


def _fill(found: Any, one: _Beside) -> None:
    endpoint, ip, transport, checked_as, watched = one
    location = located(endpoint)
    assert location is not None  # it was found usable
    made = found.endpoint
    made.address.socket_address.address = ip
    made.address.socket_address.port_value = location.port
    made.health_check_config.hostname = checked_as
    if not _literal(location.host):
        made.hostname = location.host
    if not watched:
        made.health_check_config.disable_active_health_check = True
    if transport:
        found.metadata.filter_metadata[_MATCH].fields["transport"].string_value = transport


@lru_cache(maxsize=1)
def _policy() -> bytes:
    """As a field: a tier keeps all traffic until its last region is gone; Envoy would move some at three quarters."""
    found = message("envoy.config.endpoint.v3.ClusterLoadAssignment.Policy")()
    found.overprovisioning_factor.value = 1000
    return field(_POLICY, bytes(found.SerializeToString(deterministic=True)))
