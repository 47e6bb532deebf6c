"""What is shipped to an edge: resources, each serialised once, with the hash of their content as version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

from .wire import TYPE_URL

CLUSTER = TYPE_URL + "envoy.config.cluster.v3.Cluster"
ENDPOINTS = TYPE_URL + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = TYPE_URL + "envoy.config.listener.v3.Listener"
ROUTES = TYPE_URL + "envoy.config.route.v3.RouteConfiguration"

IN_ORDER = (CLUSTER, ENDPOINTS, LISTENER, ROUTES)
"""The order in which additions are made, so that nothing names what is not there yet; removals go the other way."""

MARK = "."
"""In a version, what comes before the mark of all the regions that the resource may hold."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource: ``body`` is the serialised message, ``version`` the hash of it.

    ``lacking``: it is emptier than was meant, only because something is not known. It is for clients that have nothing
    of the name; one that holds a version with the same mark goes on with that.
    """

    type_url: str
    name: str
    body: bytes
    version: str
    lacking: bool = False

    def spares(self, held: str | None) -> bool:
        """Whether a client that holds that version goes on with it."""
        mark = self.version.partition(MARK)[2]
        return self.lacking and held is not None and mark != "" and held.partition(MARK)[2] == mark

    @classmethod
    def of(cls, type_url: str, name: str, message: Any) -> Resource:
        """The resource of a message."""
        body = message.SerializeToString(deterministic=True)
        return cls(type_url, name, body, blake2b(body, digest_size=8).hexdigest())


@dataclass(frozen=True, slots=True)
class Part:
    """One service's virtual host in the routes: the host names that it answers to, and its bytes there."""

    hosts: frozenset[str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All resources of one edge, by type and name. ``generation``: of the plan. An endpoint's name is its cluster's.

    ``sites``: what its routes are put together from, by service; None when they are of one piece. ``dormant``: clusters
    that are told, empty, only to an edge that may hold them from before: no route leads there.
    """

    generation: int
    resources: Mapping[str, Mapping[str, Resource]] = field(default_factory=lambda: MappingProxyType({}))
    sites: Mapping[str, Part] | None = None
    dormant: frozenset[str] = frozenset()
