"""Events as log lines, one each, through structlog; and how log lines look."""

from __future__ import annotations

import logging
from typing import Any, TextIO

import structlog
from structlog.stdlib import BoundLogger, ProcessorFormatter
from structlog.types import Processor

from mahavishnu.integrations.multi_region.core.events import ChainedEvent, EventKind
from mahavishnu.integrations.multi_region.core.hidden import without_secrets

_WARNINGS = frozenset(
    {
        EventKind.OBSERVER_BLIND,
        EventKind.SAFETY_HELD,
        EventKind.FAILOVER_COMPLETED,
        EventKind.FAILOVER_REFUSED,
        EventKind.EDGE_LOST,
        EventKind.EDGE_REJECTED,
        EventKind.EDGE_ASTRAY,
        EventKind.AUTOMATION_FROZEN,
        EventKind.OVERRIDE_USED,
    }
)

_RESERVED = frozenset(
    {"event", "level", "logger", "timestamp", "self", "exc_info", "stack_info", "stacklevel", "extra", "args"}
) | {"before", "after"}


class LogSink:
    """The Sink port as a log: the event's kind is the line's message, everything else is a field of its own.

    Fields: subject, reason, actor, seq, at (seconds since the epoch), before and after where there are any, and every
    detail; a detail whose name is taken appears as ``detail_<name>``. Values of probe headers are not written.
    """

    def __init__(self, logger: BoundLogger | None = None) -> None:
        self._logger: BoundLogger = logger or structlog.get_logger("mahavishnu.multi_region.events")

    def take(self, entry: ChainedEvent) -> None:
        """Write one line."""
        level = logging.WARNING if entry.event.kind in _WARNINGS else logging.INFO
        self._logger.log(level, entry.event.kind.value, **_fields(entry))


def configure_logging(level: str = "info", format: str = "console", stream: TextIO | None = None) -> None:
    """Set up logging for a whole process: ours and that of every library which uses the standard module.

    ``level``: debug, info, warning or error. ``format``: ``console`` for people, ``json`` for one object a line.
    ``stream``: where to, standard error by default. Replaces the root logger's handlers.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=BoundLogger,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[ProcessorFormatter.remove_processors_meta, *_renderers(format, handler.stream)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())


def _renderers(format: str, stream: TextIO) -> list[Processor]:
    """The last steps of a line: colours only where a terminal shows them, and tracebacks without local variables, which
    take seconds to be drawn while nothing else runs, and may hold secrets.
    """
    if format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    return [structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)]


def _fields(entry: ChainedEvent) -> dict[str, Any]:
    """The event's parts as fields of a log line."""
    event = entry.event
    fields: dict[str, Any] = {
        "subject": event.subject,
        "reason": event.reason,
        "actor": event.actor,
        "seq": entry.seq,
        "at": event.at,
    }
    changed = {"before": event.before, "after": event.after}
    fields |= {name: dict(without_secrets(value)) for name, value in changed.items() if value is not None}
    taken = _RESERVED | fields.keys()
    for name, value in event.details.items():
        fields[f"detail_{name}" if name in taken or name.startswith("_") else name] = value
    return fields
