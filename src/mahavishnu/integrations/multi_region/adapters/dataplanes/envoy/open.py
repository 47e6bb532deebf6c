"""Opens the data plane as the settings want it: address, certificates, where clients are looked up."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from mahavishnu.integrations.multi_region.errors import InvalidInputError

from .address_book import AddressBook
from .parts import EdgeOptions
from .plane import EnvoyDataPlane
from .process import most_open_files
from .resolve import Resolver
from .server import AdsServer
from .tls import ServerTls
from .translate import Translator

Files = tuple[Path | None, Path | None, Path | None]
"""Certificate, key, and the authorities of edges' certificates; all or none."""


async def open_envoy_plane(
    listen: str,
    files: Files,
    geoip_database: Path | None,
    names: tuple[str, str, str],
    addresses: Path | None = None,
) -> EnvoyDataPlane:
    """A data plane that serves edges at ``listen`` already. ``names``: what errors call the files.

    ``addresses``: the file in which regions' addresses are kept between starts, None for no file.
    Raises InvalidInputError, UnavailableError.
    """
    database = None if geoip_database is None else str(geoip_database.resolve())
    server = AdsServer(listen, _tls(files, names))
    make_resolver = partial(Resolver, book=AddressBook(addresses))
    plane = EnvoyDataPlane(
        server, Translator(EdgeOptions(geoip_database=database, descriptors=most_open_files())), make_resolver
    )
    await plane.start()
    return plane


def _tls(files: Files, names: tuple[str, str, str]) -> ServerTls | None:
    certificate, key, authorities = files
    if certificate is not None and key is not None and authorities is not None:
        return ServerTls(certificate, key, authorities)
    for name, path in zip(names, files, strict=True):
        if path is None and any(files):
            raise InvalidInputError(name, None, f"all of {', '.join(names)}, or none of them")
    return None
