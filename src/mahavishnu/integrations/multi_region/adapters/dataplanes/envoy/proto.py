"""Envoy's messages, from descriptors that ship with this package, in a pool of their own.

A private pool keeps out of the way of other packages that register the same names. The file is built by
``scripts/build_xds_descriptors.py``.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import Message


@cache
def pool() -> descriptor_pool.DescriptorPool:
    """The pool; takes some 60 ms when it is first asked for."""
    packed = files(__package__).joinpath("xds.binpb.gz").read_bytes()
    found = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(gzip.decompress(packed)).file:
        found.Add(file)
    return found


@cache
def message(name: str) -> Any:
    """The class of a message by its full name, such as ``envoy.config.cluster.v3.Cluster``. Raises KeyError."""
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(name))


def parse(name: str, document: Mapping[str, Any]) -> Any:
    """A message from its JSON form (with ``@type`` where any message may stand).

    Raises ``google.protobuf.json_format.ParseError`` for a field that the message does not have.
    """
    return json_format.ParseDict(dict(document), message(name)(), descriptor_pool=pool())


def document(found: Message) -> dict[str, Any]:
    """A message in its JSON form, with the field names of its definition."""
    plain: dict[str, Any] = json_format.MessageToDict(found, preserving_proto_field_name=True, descriptor_pool=pool())
    return plain
