"""Who may speak to the servers for edges: mutual TLS, and which edge a certificate stands for.

Off loopback it is not optional: whoever can pose as an edge reads where everything is, and whoever can pose as the
server directs all traffic. A certificate stands for the edge that one of its DNS or URI names is; when it has none, for
its common name.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import structlog

from mahavishnu.integrations.multi_region.core.address import is_loopback, parse_address
from mahavishnu.integrations.multi_region.errors import InvalidInputError

log = structlog.get_logger(__name__)

SETTING = "xds_tls"
"""What the errors here call these files together."""


@dataclass(frozen=True, slots=True)
class ServerTls:
    """Files in PEM: the server's certificate chain and key, and the authorities that sign edges' certificates.

    ``check_names``: refuse an edge whose certificate stands for another id; false when one certificate serves them all.
    """

    certificate: Path
    key: Path
    client_ca: Path
    check_names: bool = True

    def validate(self) -> None:
        """Raises InvalidInputError naming the file that cannot be read, is not what it should be, or does not fit."""
        for field in ("certificate", "key", "client_ca"):
            _readable(f"{SETTING}.{field}", getattr(self, field))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_verify_locations(self.client_ca)
        except ssl.SSLError as err:
            raise InvalidInputError(f"{SETTING}.client_ca", str(self.client_ca), "certificates in PEM") from err
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except (ssl.SSLError, ValueError) as err:
            allowed = f"a certificate in PEM and the key that belongs to it, without a password ({self.key})"
            raise InvalidInputError(f"{SETTING}.certificate", str(self.certificate), allowed) from err

    def credentials(self) -> grpc.ServerCredentials:
        """What a server is bound with; replaced files count from the next connection. Raises as ``validate``."""
        self.validate()
        rotation = _Rotation(self)
        return grpc.dynamic_ssl_server_credentials(rotation.now, rotation.look, require_client_authentication=True)

    def read(self) -> grpc.ServerCertificateConfiguration:
        """The files as they are now."""
        pair = (self.key.read_bytes(), self.certificate.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], self.client_ca.read_bytes())


class _Rotation:
    """Follows the files of a server; what will not do is not taken, and the last good stays."""

    def __init__(self, tls: ServerTls) -> None:
        self._tls = tls
        self._stamp = self._changed_ns()
        self.now = tls.read()

    def look(self) -> grpc.ServerCertificateConfiguration:
        """What counts for the handshake that begins; is called on a thread of gRPC's."""
        try:
            stamp = self._changed_ns()
            if stamp != self._stamp:
                self._stamp = stamp
                self._tls.validate()
                self.now = self._tls.read()
        except (OSError, InvalidInputError) as err:
            log.error("certificates not taken", error=str(err))
        return self.now

    def _changed_ns(self) -> tuple[int, ...]:
        tls = self._tls
        return tuple(path.stat().st_mtime_ns for path in (tls.certificate, tls.key, tls.client_ca))


def check_listen(listen: str, tls: ServerTls | None) -> None:
    """Raises InvalidInputError when ``listen`` is not HOST:PORT, or is not loopback and there is no mutual TLS.

    ``unix:PATH`` will do as well: who may open the socket is for its folder to say.
    """
    if listen.startswith("unix:"):
        return
    host, _ = parse_address(listen, "xds.listen", any_port=True)
    if tls is None and not is_loopback(host):
        raise InvalidInputError(SETTING, None, f"certificate, key and client_ca, since {listen} is not loopback")


def certified_names(found: Mapping[str, Sequence[bytes]]) -> frozenset[str]:
    """The names that a client's certificate carries, from gRPC's authentication context; none without mutual TLS."""
    names = found.get("x509_subject_alternative_name") or found.get("x509_common_name") or ()
    return frozenset(name.decode(errors="replace") for name in names)


def _readable(field: str, path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as err:
        raise InvalidInputError(field, str(path), f"a file that can be read ({err.strerror})") from err


def _no_password() -> bytes:
    """Is called when a key is encrypted; a prompt would wait for somebody who is not there."""
    raise ValueError("the key has a password")
