"""The configuration that an Envoy has in force, kept on disk so that it can start while every controller is down.

Pure but for the two functions that touch the file.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from google.protobuf.json_format import ParseError

from .private_file import replace_private
from .proto import parse
from .resources import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Resource, Snapshot
from .wire import TYPE_URL

_WHERE = (
    ("ClustersConfigDump", "dynamic_active_clusters", ("cluster",)),
    ("EndpointsConfigDump", "dynamic_endpoint_configs", ("endpoint_config",)),
    ("ListenersConfigDump", "dynamic_listeners", ("active_state", "listener")),
    ("RoutesConfigDump", "dynamic_route_configs", ("route_config",)),
)
"""Where a dump of the configuration has what came over xDS."""

_NAMES = {CLUSTER: "name", ENDPOINTS: "cluster_name", LISTENER: "name", ROUTES: "name"}


def in_force(dump: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """The resources of a dump that came over xDS and are in force, each with its ``@type``, in a stable order."""
    found = [resource for resource in _dynamic(dump) if resource.get("@type") in _NAMES]
    return tuple(sorted(found, key=lambda r: (r["@type"], r.get(_NAMES[r["@type"]], ""))))


def snapshot_of(resources: Iterator[dict[str, Any]] | tuple[dict[str, Any], ...]) -> Snapshot:
    """The resources as a server ships them; what cannot be read any more is left out."""
    by_type: dict[str, dict[str, Resource]] = {url: {} for url in _NAMES}
    for document in resources:
        url = document["@type"]
        fields = {key: value for key, value in document.items() if key != "@type"}
        try:
            message = parse(url.removeprefix(TYPE_URL), fields)
        except (ParseError, KeyError):
            continue
        name = fields.get(_NAMES[url], "")
        by_type[url][name] = Resource.of(url, name, message)
    return Snapshot(0, MappingProxyType({url: MappingProxyType(found) for url, found in by_type.items()}))


def save(path: Path, resources: tuple[dict[str, Any], ...]) -> None:
    """Write the file whole or not at all; only its owner may read it. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_private(path, gzip.compress(json.dumps(resources, separators=(",", ":")).encode(), 5, mtime=0))


def load(path: Path) -> Snapshot | None:
    """What was saved; None when there is nothing, or nothing that can be read."""
    try:
        documents = json.loads(gzip.decompress(path.read_bytes()))
        return snapshot_of(tuple(d for d in documents if d.get("@type") in _NAMES))
    except (OSError, EOFError, zlib.error, ValueError, AttributeError):
        return None


def _dynamic(dump: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for part in dump.get("configs", ()):
        for kind, key, path in _WHERE:
            if not str(part.get("@type", "")).endswith("." + kind):
                continue
            for entry in part.get(key, ()):
                for step in path:
                    entry = entry.get(step, {}) if isinstance(entry, dict) else {}
                if entry:
                    yield entry
