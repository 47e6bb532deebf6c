"""Certificates for tests, made anew with openssl: an authority, servers and edges that it signed, and a stranger."""

from __future__ import annotations

import subprocess
from pathlib import Path

_EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def make_authority(folder: Path, name: str = "ca") -> Path:
    """A self-signed authority; gives its certificate, its key lies beside it."""
    certificate = folder / f"{name}.pem"
    subject = ("-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE")
    _openssl("req", "-x509", *_EC, "-days", "2", *subject, "-keyout", folder / f"{name}.key", "-out", certificate)
    return certificate


def make_certificate(folder: Path, name: str, *, alt: str | None = None, authority: str = "ca") -> tuple[Path, Path]:
    """A certificate with this common name, and ``alt`` such as ``DNS:edge-a``; gives it and its key."""
    certificate, key, request = (folder / f"{name}{end}" for end in (".pem", ".key", ".csr"))
    extra = ("-addext", f"subjectAltName={alt}") if alt else ()
    _openssl("req", *_EC, "-subj", f"/CN={name}", *extra, "-keyout", key, "-out", request)
    signer = ("-CA", folder / f"{authority}.pem", "-CAkey", folder / f"{authority}.key", "-CAcreateserial")
    _openssl("x509", "-req", "-in", request, *signer, "-days", "2", "-copy_extensions", "copyall", "-out", certificate)
    return certificate, key


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
