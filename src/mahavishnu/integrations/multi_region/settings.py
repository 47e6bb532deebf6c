"""``MAHAVISHNU_MULTI_REGION__*`` to one frozen ``Settings``: no other module takes a setting from the environment.

Who starts processes (an executor, the demo) hands parts of the rest on to them.

Every field is one variable: its description, unit and allowed values here are what errors and the documentation say.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from .core.address import address_words, parse_address
from .core.figures import DAY_S, HEALTH_CHECK, Bounds
from .core.model import HealthCheck, SafetyLimits
from .core.targets import TargetRules
from .errors import SettingsError

PREFIX = "MAHAVISHNU_MULTI_REGION__"
"""What every variable's name begins with."""

SECRET_BYTES = 16
"""The shortest secret that calls are signed with."""

_SECRETS = ("token", "executor_secret")


class LogLevel(StrEnum):
    """The least severe lines that are logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How a log line is written: for people, or one JSON object a line."""

    CONSOLE = "console"
    JSON = "json"


def _number(
    default: float,
    unit: str,
    description: str,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
) -> Any:
    """A field that holds a number, with its unit and bounds."""
    return Field(default, description=description, ge=ge, gt=gt, le=le, lt=lt, json_schema_extra={"unit": unit})


def _figure(default: float, unit: str, description: str, bounds: Bounds) -> Any:
    """A field that holds a figure which a region's own declaration may hold as well."""
    ends = {"gt" if bounds.above else "ge": bounds.least, "le": bounds.most}
    return _number(default, unit, description, **ends)


def _text(default: str | None, allowed: str, description: str) -> Any:
    """A field that holds text, with the allowed values in words."""
    return Field(default, description=description, json_schema_extra={"allowed": allowed})


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _listen(value: str) -> str:
    parse_address(value, any_port=True)
    return value


def _addresses(value: str) -> str:
    """Addresses separated by commas, without spaces."""
    found = [part.strip() for part in value.split(",")]
    for address in found:
        parse_address(address)
    return ",".join(found)


def _store(value: str) -> str | None:
    """The path of the store's file, or None for memory."""
    path = value.removeprefix("sqlite:///")
    if not path or "://" in path or "\0" in path:
        raise ValueError("not a store")
    return None if path == "memory" and path == value else path


def _server(value: str) -> str:
    scheme, _, rest = value.partition("://")
    if scheme not in {"http", "https"} or not rest.partition("/")[0] or any(c.isspace() for c in value):
        raise ValueError("not an HTTP URL")
    return value.rstrip("/")


def _argv(value: str) -> str:
    if not _words(value):
        raise ValueError("no command")
    return value


def _words(value: str) -> list[str]:
    return shlex.split(value)


def _secret(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value().encode()) < SECRET_BYTES:
        raise ValueError("too short")
    return value


def _token(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text or any(not "!" <= c <= "~" for c in text):
        raise ValueError("not a token")
    return value


class Settings(BaseSettings):
    """All settings, validated and frozen. Build it with ``load_settings``; pass its values inwards, not the object."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, case_sensitive=False, env_ignore_empty=True, frozen=True, extra="forbid", allow_inf_nan=False
    )

    health_check_interval: float = _figure(
        30, "s", "Time between two probes of one region.", HEALTH_CHECK["interval_s"]
    )
    health_check_timeout: float = _figure(
        5, "s", "How long a probe may take in all: name lookup, connection, TLS and body.", HEALTH_CHECK["timeout_s"]
    )
    health_check_fall: int = _figure(
        2, "probes", "Failed probes in a row that take a region down.", HEALTH_CHECK["fall"]
    )
    health_check_rise: int = _figure(
        3,
        "probes",
        "Passed probes in a row that bring a region back, once its hold-down is over.",
        HEALTH_CHECK["rise"],
    )
    hold_down: float = _figure(
        10,
        "s",
        "How long a region that went down stays out at least; each relapse lengthens it.",
        HEALTH_CHECK["hold_down_s"],
    )
    circuit_breaker_threshold: int = _number(
        5, "requests", "Failed requests in a row, as callers report them, that open the circuit breaker.", ge=1, le=1000
    )
    failover_timeout: float = _number(
        1.0, "s", "How long an immediate failover may take before it counts as failed.", ge=0.01, le=3600
    )
    drain_timeout: float = _number(
        2.0, "s", "How long a drain or a graceful failover waits for requests in flight.", ge=0, le=DAY_S
    )
    hot_data_threshold: float = _number(10.0, "accesses/day", "Data that is read more often than this is hot.", ge=0)
    min_serving: int = _number(1, "regions", "Regions that automation always leaves in service.", ge=1, le=1000)
    max_removed: float = _number(
        0.5, "share", "Share of all capacity that automation may take out within the safety window.", ge=0, le=1
    )
    safety_window: float = _number(60, "s", "The window of the limit above.", ge=0.1, le=DAY_S)
    headroom: float = _number(
        0.1, "share", "Share of a region's limit that is kept free when load is moved onto it.", ge=0, lt=1
    )
    blind_share: float = _number(
        0.5, "share", "When more than this share of regions fails at once, the observer is distrusted.", gt=0, le=1
    )
    store: Annotated[str, AfterValidator(_store)] | None = _text(
        None,
        "memory, a path, or sqlite:/// followed by a path",
        "Where regions, overrides and events are kept: a SQLite file; without it, memory.",
    )
    tokens_file: Path | None = _text(
        None, "a path", "File with the hashed tokens and their roles; needed to listen beyond this machine."
    )
    geoip_database: Path | None = _text(
        None, "a path", "MaxMind DB file (GeoIP2, GeoLite2, DB-IP, IPinfo) that says where the `ip` of a request is."
    )
    xds: Annotated[str, AfterValidator(_listen)] | None = _text(
        None,
        address_words(any_port=True),
        "Where edges (Envoy) are told what to do; none: they are not. Off loopback it needs the three files.",
    )
    xds_certificate: Path | None = _text(None, "a path", "Certificate (PEM) of the server for edges.")
    xds_key: Path | None = _text(None, "a path", "Key (PEM) that belongs to XDS_CERTIFICATE.")
    xds_client_ca: Path | None = _text(
        None, "a path", "Authorities (PEM) that sign the certificates of edges; each stands for the edge it names."
    )
    xds_peers: Annotated[str, AfterValidator(_addresses)] | None = _text(
        None,
        f"{address_words()}; several separated by commas",
        "Where other controllers serve edges: what edges started here turn to when this one is gone.",
    )
    edges_here: bool = Field(
        False, description="Whether every declared edge is run on this machine: Envoy is started, watched and stopped."
    )
    envoy: Path | None = _text(
        None, "a path", "The program of Envoy 1.40 or newer; none: the one on the PATH, else the installed wheel's."
    )
    listen: Annotated[str, AfterValidator(_listen)] = _text(
        "127.0.0.1:8000",
        address_words(any_port=True),
        "Where the server listens; port 0 picks a free one.",
    )
    workers: int = _number(
        0, "processes", "Processes that answer requests for routing; 0: the controller does it itself.", ge=0, le=256
    )
    log_level: Annotated[LogLevel, BeforeValidator(_lower)] = Field(
        LogLevel.INFO, description="The least severe lines that are logged."
    )
    log_format: Annotated[LogFormat, BeforeValidator(_lower)] = Field(
        LogFormat.CONSOLE, description="Log lines for people, or one JSON object a line."
    )
    trace_sample: float = _number(
        0.0,
        "share",
        "Share of routing decisions that are traced, by the package `opentelemetry-api`; 0: none.",
        ge=0,
        le=1,
    )
    allow_link_local_probes: bool = Field(
        False, description="Whether probes may go to link-local addresses; never to cloud metadata addresses."
    )
    server: Annotated[str, AfterValidator(_server)] = _text(
        "http://127.0.0.1:8000",
        "a URL that begins with http:// or https://",
        "The server that the command line speaks to.",
    )
    token: Annotated[SecretStr, AfterValidator(_token)] | None = _text(
        None, "printable ASCII without blanks", "The token that the command line shows the server."
    )

    executor_command: Annotated[str, AfterValidator(_argv)] | None = _text(
        None,
        "a command and its arguments as one would write them in a shell, which does not read them",
        "What puts a version into a region, or takes it back; without it or a webhook, deployments only steer traffic.",
    )
    executor_secret: Annotated[SecretStr, AfterValidator(_secret)] | None = _text(
        None, f"at least {SECRET_BYTES} bytes", "The secret that calls of the webhook are signed with."
    )
    executor_webhook: Annotated[str, AfterValidator(_server)] | None = _text(
        None,
        "a URL that begins with http:// or https://, together with EXECUTOR_SECRET and without EXECUTOR_COMMAND",
        "The address that is asked, by a signed POST, to put a version into a region, or to take it back.",
    )

    @field_validator("executor_webhook")
    @classmethod
    def _webhook_alone_and_signed(cls, value: str | None, info: ValidationInfo) -> str | None:
        unsigned = info.data.get("executor_secret") is None
        if value is not None and (unsigned or info.data.get("executor_command") is not None):
            raise ValueError("not a webhook that can be called")
        return value

    @property
    def executor_argv(self) -> tuple[str, ...] | None:
        """The executor's command and its arguments, None when there is none."""
        return None if self.executor_command is None else tuple(_words(self.executor_command))

    @property
    def store_path(self) -> Path | None:
        """The store's file, or None for memory."""
        return None if self.store is None else Path(self.store)

    def safety_limits(self) -> SafetyLimits:
        """The limits that hold until somebody declares others."""
        return SafetyLimits(
            min_serving=self.min_serving,
            max_removed=self.max_removed,
            window_s=self.safety_window,
            headroom=self.headroom,
            blind_share=self.blind_share,
        )

    def health_check(self) -> HealthCheck:
        """How a region is probed that does not say it itself."""
        return HealthCheck(
            interval_s=self.health_check_interval,
            timeout_s=self.health_check_timeout,
            fall=self.health_check_fall,
            rise=self.health_check_rise,
            hold_down_s=self.hold_down,
        )

    def target_rules(self) -> TargetRules:
        """Where probes may go."""
        return TargetRules(allow_link_local=self.allow_link_local_probes)

    @property
    def peers(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each other controller that serves edges."""
        return () if self.xds_peers is None else tuple(map(parse_address, self.xds_peers.split(",")))

    @property
    def listen_host(self) -> str:
        """The host to listen on, without brackets."""
        return parse_address(self.listen, any_port=True)[0]

    @property
    def listen_port(self) -> int:
        """The TCP port to listen on; 0: any free one."""
        return parse_address(self.listen, any_port=True)[1]


@dataclass(frozen=True, slots=True)
class Variable:
    """What a person needs to know of one variable; ``unit`` is empty where there is none."""

    name: str
    default: str
    unit: str
    allowed: str
    description: str


def load_settings(
    environ: Mapping[str, str] | None = None,
    *,
    options: Mapping[str, str] | None = None,
    defaults: Mapping[str, str] | None = None,
) -> Settings:
    """The settings that ``environ`` (None: the process's environment) states; an empty variable counts as not set.

    ``options``: values by field that come before the environment's, as a command line has them. ``defaults``: values
    by field that stand in for the documented default.
    Raises SettingsError, naming the first variable whose value is not allowed; a secret value is masked.
    """
    given = {name.upper(): value for name, value in _environ(environ).items() if value}
    fields = Settings.model_fields
    values: dict[str, Any] = {field: info.default for field, info in fields.items()} | dict(defaults or {})
    values |= {field: given[_name(field)] for field in fields if _name(field) in given} | dict(options or {})
    try:
        return Settings(**values)
    except ValidationError as err:
        field = str(err.errors()[0]["loc"][0])
        shown = "***" if field in _SECRETS else values[field]
        raise SettingsError(_name(field), shown, _allowed(fields[field])) from None  # the cause would show the secret


def state_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Where this user's programs keep what must last: ``$XDG_STATE_HOME/multi-region``, else in ``~/.local/state``."""
    return _user_dir(_environ(environ), "XDG_STATE_HOME")


def runtime_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Where this user's running programs find each other: ``$XDG_RUNTIME_DIR/multi-region``, else ``state_dir``."""
    found = _environ(environ)
    return _user_dir(found, "XDG_RUNTIME_DIR" if found.get("XDG_RUNTIME_DIR") else "XDG_STATE_HOME")


def variables() -> tuple[Variable, ...]:
    """Every variable that is read, in the order of the documentation."""
    return tuple(
        Variable(_name(field), _default(info), str(_extra(info).get("unit", "")), _allowed(info), str(info.description))
        for field, info in Settings.model_fields.items()
    )


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[tuple[str, str | None]]:
    """Variables with our prefix that nothing reads, each with the nearest known name if one is near; sorted by name."""
    known = [variable.name for variable in variables()]
    found = sorted(_environ(environ))
    strays = [name for name in found if name.upper().startswith(PREFIX) and name.upper() not in known]
    return [(name, next(iter(get_close_matches(name.upper(), known, n=1, cutoff=0.8)), None)) for name in strays]


def _environ(environ: Mapping[str, str] | None) -> Mapping[str, str]:
    return os.environ if environ is None else environ


def _user_dir(environ: Mapping[str, str], variable: str) -> Path:
    """Ours under the directory that ``variable`` names; one that is not absolute counts as not set."""
    named = Path(environ.get(variable, ""))
    home = environ.get("HOME")
    base = named if named.is_absolute() else (Path(home) if home else Path.home()) / ".local" / "state"
    return base / "multi-region"


def _name(field: str) -> str:
    return PREFIX + field.upper()


def _extra(info: FieldInfo) -> dict[str, Any]:
    return info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}


def _default(info: FieldInfo) -> str:
    """The default as one would write it in the environment; empty for none."""
    if info.default is None:
        return ""
    if isinstance(info.default, bool):
        return str(info.default).lower()
    return f"{info.default:g}" if isinstance(info.default, int | float) else str(info.default)


def _allowed(info: FieldInfo) -> str:
    """The allowed values in words."""
    if (stated := _extra(info).get("allowed")) is not None:
        return str(stated)
    if isinstance(info.annotation, type) and issubclass(info.annotation, StrEnum):
        return "one of: " + ", ".join(info.annotation)
    if info.annotation is bool:
        return "true or false"
    noun = "a whole number" if info.annotation is int else "a number"
    unit = f" ({unit})" if (unit := _extra(info).get("unit")) else ""
    return " ".join([noun, *_bounds(info)]) + unit


def _bounds(info: FieldInfo) -> list[str]:
    """A number's bounds in words, lower before upper."""
    words = []
    for bound in info.metadata:
        match bound:
            case Ge(low):
                words.append(f"from {low:g}")
            case Gt(low):
                words.append(f"above {low:g}")
            case Le(high):
                words.append(f"up to {high:g}")
            case Lt(high):
                words.append(f"to below {high:g}")
    return words if len(words) > 1 else [*words, "upwards"]
