"""What a probe may be aimed at, and where a health check points.

Decides by text and address alone; looking names up is the adapters' work, and they ask again here about every address
that a name led to. Regions live on loopback and private networks, so those are allowed; the places where a forged probe
would find secrets or a crowd are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

from ..errors import InvalidInputError
from .model import HealthCheck

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class TargetRules:
    """Where probes may go.

    ``schemes``: allowed URL schemes. ``allow_link_local``: 169.254.0.0/16 and fe80::/10, the metadata addresses in them
    excepted. ``allow_metadata``: the clouds' metadata services. ``allowed_hosts``: names and addresses in lower case,
    nothing else may be probed; None: any host. The list narrows; it lifts none of the other rules.
    """

    schemes: frozenset[str] = frozenset({"http", "https", "tcp"})
    allow_link_local: bool = False
    allow_metadata: bool = False
    allowed_hosts: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads: its scheme, host (without brackets) and TCP port."""

    scheme: str
    host: str
    port: int


DEFAULT_PORTS = {"http": 80, "https": 443}
"""The port that a scheme means when the URL names none; ``tcp`` must name one."""

_METADATA_ADDRESSES = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",  # most clouds
        "169.254.170.2",  # AWS: credentials of a container task
        "169.254.170.23",  # AWS: credentials of a pod
        "fd00:ec2::254",  # AWS over IPv6
        "fd00:ec2::23",  # AWS: credentials of a pod over IPv6
        "fd20:ce::254",  # Google Cloud over IPv6
        "100.100.100.200",  # Alibaba Cloud
        "192.0.0.192",  # Oracle Cloud, classic
        "168.63.129.16",  # Azure: the host's own agent
    )
)
_METADATA_NAMES = frozenset(
    {
        "metadata",
        "metadata.goog",
        "metadata.google.internal",
        "instance-data",
        "instance-data.ec2.internal",
        "metadata.tencentyun.com",
    }
)
_THIS_NETWORK = IPv4Network("0.0.0.0/8")
_BROADCAST = IPv4Address("255.255.255.255")

# IPv6 networks whose last 32 bits are an IPv4 address that a gateway or the kernel goes on to.
_CARRIERS = tuple(
    IPv6Network(text)
    for text in (
        "::/96",  # IPv4-compatible
        "::ffff:0:0/96",  # IPv4-mapped
        "::ffff:0:0:0/96",  # IPv4-translated
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64 of one's own network
    )
)
_NOT_CARRIED = frozenset({IPv6Address("::"), IPv6Address("::1")})
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})


def target_objection(address: str, rules: TargetRules) -> str | None:
    """Why an IP address may not be probed, or None. Sees through IPv4 addresses carried inside IPv6 ones."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return f"{address!r} is not an IP address"
    if own := _objection(parsed, rules):
        return f"{address} is {own}"
    for inner in _carried(parsed):
        if found := _objection(inner, rules):
            return f"{address} carries {inner}, which is {found}"
    return None


def host_objection(host: str, rules: TargetRules) -> str | None:
    """Why a host, as a URL writes it, may not be probed, or None. A name is not looked up here."""
    name = _plain(host)
    if rules.allowed_hosts is not None and name not in rules.allowed_hosts:
        return f"{name} is not on the list of allowed hosts"
    if name in _METADATA_NAMES and not rules.allow_metadata:
        return f"{name} is the name of a cloud metadata service"
    literal = literal_address(name)
    if literal is None:
        return None
    if objection := target_objection(str(literal), rules):
        return objection
    if literal.version == 4 and str(literal) != name:
        return f"{name} is an unusual spelling of {literal}: write the address so"
    return None


def literal_address(host: str) -> Address | None:
    """The address that a host spells, or None for a name.

    Reads what operating systems read: one to four parts, each decimal, octal or hexadecimal, the last filling the rest.
    """
    plain = _plain(host)
    try:
        return ip_address(plain)
    except ValueError:
        return _loose_ipv4(plain)


def check_target(url: str, rules: TargetRules, field: str = "endpoint") -> None:
    """Raise InvalidInputError, naming ``field``, when ``url`` is no target that the rules allow."""
    parts = _split(url, field)
    if parts.scheme not in rules.schemes:
        raise InvalidInputError(field, url, f"a URL whose scheme is one of: {', '.join(sorted(rules.schemes))}")
    if "@" in parts.netloc:
        raise InvalidInputError(field, _without_credentials(parts), "a URL without user and password")
    target = parse_target(url, field)
    if objection := host_objection(target.host, rules):
        raise InvalidInputError(field, url, f"a target that probes may reach, but {objection}")


def parse_target(url: str, field: str = "endpoint") -> Target:
    """Where a URL leads; raises InvalidInputError, naming ``field``, when it names no host or port."""
    parts = _split(url, field)
    try:
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError as err:
        raise InvalidInputError(field, url, "a port from 1 to 65535") from err
    if not parts.hostname:
        raise InvalidInputError(field, url, "scheme://host[:port]")
    if port is None:
        raise InvalidInputError(field, url, f"{parts.scheme}://host:port, with the port")
    return Target(parts.scheme, parts.hostname, port)


def target_url(endpoint: str, check: HealthCheck) -> str:
    """Where a check points: its own URL, else its path below the endpoint's (whose query and fragment are left out)."""
    if check.url is not None:
        return check.url
    parts = _split(endpoint, "endpoint")
    base = f"{parts.scheme}://{parts.netloc}{parts.path}"
    path = check.path.lstrip("/")
    return f"{base.rstrip('/')}/{path}" if path else base


def _split(url: str, field: str) -> SplitResult:
    """The parts of a URL; raises InvalidInputError. Blanks and backslashes are where two parsers read two hosts."""
    if any(c <= " " or c in "\\\x7f" for c in url):
        raise InvalidInputError(field, url, "a URL without blanks, control characters and backslashes")
    try:
        parts = urlsplit(url)
    except ValueError as err:
        raise InvalidInputError(field, url, f"a URL ({err})") from err
    if not parts.scheme or not parts.netloc:
        raise InvalidInputError(field, url, "scheme://host[:port]")
    return parts


def _without_credentials(parts: SplitResult) -> str:
    return parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2]).geturl()


def _plain(host: str) -> str:
    """A host as rules compare it: lower case, without brackets, closing dot and escaped zone mark."""
    return host.strip("[]").lower().replace("%25", "%").rstrip(".")


def _objection(address: Address, rules: TargetRules) -> str | None:
    bare = IPv6Address(int(address)) if isinstance(address, IPv6Address) else address
    if bare in _METADATA_ADDRESSES:
        return None if rules.allow_metadata else "a cloud metadata address"
    if bare.is_link_local:
        return None if rules.allow_link_local else "link-local"
    if bare.is_multicast:
        return "multicast"
    if bare.is_unspecified or (isinstance(bare, IPv4Address) and bare in _THIS_NETWORK):
        return "unspecified"
    return "broadcast" if bare == _BROADCAST else None


def _carried(address: Address) -> list[IPv4Address]:
    """The IPv4 addresses that an IPv6 address leads on to."""
    if isinstance(address, IPv4Address):
        return []
    bare = IPv6Address(int(address))
    found = [bare.sixtofour] if bare.sixtofour is not None else []
    found += bare.teredo or ()
    isatap = (int(bare) >> 32) & 0xFFFFFFFF in _ISATAP
    if bare not in _NOT_CARRIED and (isatap or any(bare in network for network in _CARRIERS)):
        found.append(IPv4Address(int(bare) & 0xFFFFFFFF))
    return found


def _loose_ipv4(text: str) -> IPv4Address | None:
    """An IPv4 address in the spellings of C's ``inet_aton``, or None."""
    numbers = [_loose_number(part) for part in text.split(".")]
    if not 1 <= len(numbers) <= 4 or any(n is None for n in numbers):
        return None
    *leading, last = [n for n in numbers if n is not None]
    if any(n > 255 for n in leading) or last >= 256 ** (4 - len(leading)):
        return None
    for place, number in enumerate(leading):
        last += number << (24 - 8 * place)
    return IPv4Address(last)


def _loose_number(text: str) -> int | None:
    """A number in C's spelling: 0x for hexadecimal, a leading 0 for octal."""
    if not (text.isascii() and text.isalnum()):
        return None
    base = 16 if text.startswith("0x") else 8 if len(text) > 1 and text.startswith("0") else 10
    try:
        return int(text.removeprefix("0x") if base == 16 else text, base)
    except ValueError:
        return None
