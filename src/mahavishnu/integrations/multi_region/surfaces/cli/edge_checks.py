"""What ``doctor`` checks on this machine for edges: Envoy's program, and where and how they would be served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mahavishnu.integrations.multi_region.errors import InvalidInputError, MultiRegionError
from mahavishnu.integrations.multi_region.settings import PREFIX, Settings

from .checks import Check, Level, usable_settings
from .edge_troubles import Trouble, troubles_of, unread

_INSTALL = "pip install 'mahavishnu-multi-region[envoy]'"
_FILES = ("XDS_CERTIFICATE", "XDS_KEY", "XDS_CLIENT_CA")


def edge_checks() -> Iterator[Check]:
    """Everything about edges that can be checked without a server."""
    settings = usable_settings()
    yield _envoy(settings)
    yield from _xds(settings)
    yield from _edges_here(settings)


def edges_of_server(edges: list[dict[str, Any]]) -> Iterator[Check]:
    """What a server says of its edges, as ``/v1/edges`` answers it; nothing when there are none."""
    found = [*troubles_of(edges), *unread(edges)]
    for trouble in found:
        yield _of(trouble)
    for edge in edges:
        if edge["edge_id"] not in {trouble.edge_id for trouble in found}:
            version = f", Envoy {edge['version']}" if edge["version"] else ""
            yield Check(f"edge {edge['edge_id']}", Level.OK, f"connected, plan {edge['acknowledged']}{version}")
    declared = [edge for edge in edges if edge["spec"] is not None and edge["synced"] is not None]
    if declared and not any(edge["connected"] for edge in declared):
        text = f"{len(declared)} declared and none connected: nobody carries out what this server decides"
        yield Check("edges", Level.WARN, text, "fine only while another controller has them; docs/runbooks/edges.md")


def _of(trouble: Trouble) -> Check:
    level = Level.FAIL if trouble.grave else Level.WARN
    return Check(f"edge {trouble.edge_id}", level, trouble.text, trouble.remedy)


def _envoy(settings: Settings) -> Check:
    """Envoy's program and its version. Where the settings want none, none is fine."""
    from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.binary import find_envoy

    try:
        found = find_envoy(settings.envoy)
    except InvalidInputError as err:
        return Check("envoy", Level.FAIL, str(err), f"set {PREFIX}ENVOY to {err.allowed}, or {_INSTALL}")
    except MultiRegionError:
        if settings.edges_here:
            return Check("envoy", Level.FAIL, "none found, and edges are to run here", f"{_INSTALL}, or name it")
        return Check("envoy", Level.OK, "none found; only edges on this machine would need one")
    return Check("envoy", Level.OK, f"{found.version}, {found.path}")


def _xds(settings: Settings) -> Iterator[Check]:
    """Whether edges can be served where the settings say, with the certificates that they name."""
    files = (settings.xds_certificate, settings.xds_key, settings.xds_client_ca)
    missing = [name for name, path in zip(_FILES, files, strict=True) if path is None]
    if missing and len(missing) < len(files):
        text = f"{', '.join(missing)} not set; certificate, key and client CA go together"
        yield Check("xds", Level.FAIL, text, f"set {PREFIX}{missing[0]}, or none of the three")
        return
    if settings.xds is None:
        if not missing:
            yield Check("xds", Level.WARN, f"certificates are set, and no {PREFIX}XDS", "say where edges are served")
        return
    try:
        yield _served(settings.xds, files)
    except ModuleNotFoundError as err:
        yield Check("xds", Level.FAIL, f"a package that it needs is not installed: {err.name}", _INSTALL)


def _served(listen: str, files: tuple[Path | None, Path | None, Path | None]) -> Check:
    from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.tls import ServerTls, check_listen

    certificate, key, authorities = files
    tls = None
    if certificate is not None and key is not None and authorities is not None:
        tls = ServerTls(certificate, key, authorities)
    try:
        check_listen(listen, tls)
        if tls is not None:
            tls.validate()
    except InvalidInputError as err:
        return Check("xds", Level.FAIL, str(err), f"set {', '.join(PREFIX + name for name in _FILES)} to {err.allowed}")
    how = "over mutual TLS" if tls is not None else "without TLS, on this machine alone"
    return Check("xds", Level.OK, f"edges are served on {listen} {how}")


def _edges_here(settings: Settings) -> Iterator[Check]:
    if not settings.edges_here:
        return
    if settings.xds is None:
        text = f"{PREFIX}EDGES_HERE is true, and no {PREFIX}XDS says where they are served"
        yield Check("edges here", Level.FAIL, text, f"set {PREFIX}XDS=127.0.0.1:18000, or use `serve --envoy`")
    elif settings.xds_certificate is not None:
        text = f"{PREFIX}EDGES_HERE is true, and edges are served over TLS: each needs a certificate of its own"
        yield Check("edges here", Level.FAIL, text, "run each by `multi-region edge run`")
