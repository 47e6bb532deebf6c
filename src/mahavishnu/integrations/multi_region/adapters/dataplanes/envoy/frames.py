"""Discovery requests as plain values, and responses as bytes put together from fragments that streams share.

A resource is wrapped once, a set of resources joined once; what differs between streams is a short tail. The order of
fields is free in protobuf's encoding, so that tail may follow the resources.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from .exchange import Ask, Reply
from .proto import message
from .resources import Resource
from .wire import field

DELTA_REQUEST = "envoy.service.discovery.v3.DeltaDiscoveryRequest"
SOTW_REQUEST = "envoy.service.discovery.v3.DiscoveryRequest"

_VERSION, _RESOURCES, _TYPE, _NONCE, _REMOVED = 1, 2, 4, 5, 6  # the same in both kinds of response
_ANY_TYPE, _ANY_VALUE = 1, 2
_RESOURCE_VERSION, _RESOURCE_BODY, _RESOURCE_NAME = 1, 2, 3


def read_delta(data: bytes) -> tuple[Ask, Any]:
    """An incremental request as a value, and the node that it names. Raises ``DecodeError``."""
    found = message(DELTA_REQUEST).FromString(data)
    ask = Ask(
        type_url=found.type_url,
        nonce=found.response_nonce,
        error=found.error_detail.message or "no reason given" if found.HasField("error_detail") else None,
        subscribe=tuple(found.resource_names_subscribe),
        unsubscribe=tuple(found.resource_names_unsubscribe),
        holds=dict(found.initial_resource_versions),
    )
    return ask, found.node


def read_sotw(data: bytes) -> tuple[Ask, Any]:
    """A state-of-the-world request as a value, and the node that it names. Raises ``DecodeError``."""
    found = message(SOTW_REQUEST).FromString(data)
    ask = Ask(
        type_url=found.type_url,
        nonce=found.response_nonce,
        error=found.error_detail.message or "no reason given" if found.HasField("error_detail") else None,
        subscribe=tuple(found.resource_names),
        version=found.version_info,
    )
    return ask, found.node


class Frames:
    """Encodes replies; resources that are sent to many are encoded once. ``fragments``: how many are kept."""

    def __init__(self, fragments: int = 16_384) -> None:
        self._fragment = lru_cache(maxsize=fragments)(_fragment)
        self._joined: dict[tuple[object, ...], bytes] = {}

    def encode(self, reply: Reply, *, delta: bool) -> bytes:
        """The bytes of a DeltaDiscoveryResponse or of a DiscoveryResponse."""
        tail = [_text(_VERSION, reply.version), _text(_TYPE, reply.type_url), _text(_NONCE, reply.nonce)]
        tail += [_text(_REMOVED, name) for name in reply.removed] if delta else []
        return b"".join((self._resources(reply, delta), *tail))

    def forget(self) -> None:
        """Let go of joined resources; those of an older publication are hardly sent again."""
        self._joined.clear()

    def _resources(self, reply: Reply, delta: bool) -> bytes:
        """The resources of a reply, joined; the same bytes for every stream that is sent the same."""
        key = (delta, reply.type_url, *((resource.name, resource.version) for resource in reply.resources))
        joined = self._joined.get(key)
        if joined is None:
            joined = b"".join([self._fragment(resource, delta) for resource in reply.resources])
            self._joined[key] = joined
        return joined


def _fragment(resource: Resource, delta: bool) -> bytes:
    """One resource as the field ``resources`` of a response."""
    body = _text(_ANY_TYPE, resource.type_url) + field(_ANY_VALUE, resource.body)
    if delta:
        body = (
            _text(_RESOURCE_VERSION, resource.version)
            + field(_RESOURCE_BODY, body)
            + _text(_RESOURCE_NAME, resource.name)
        )
    return field(_RESOURCES, body)


def _text(number: int, value: str) -> bytes:
    return field(number, value.encode())
