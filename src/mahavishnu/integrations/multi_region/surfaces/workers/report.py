"""What a worker tells the controller: how far it has followed, and what it decided since it last told."""

from __future__ import annotations

import msgspec


class Report(msgspec.Struct, array_like=True, frozen=True):
    """``applied``: the number of the state that decisions are made from. ``decisions``: region, strategy, times."""

    pid: int
    applied: int
    decisions: list[tuple[str, str, int]] = []
    refused: int = 0


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Report)


def report_bytes(report: Report) -> bytes:
    """A report as JSON."""
    return _ENCODER.encode(report)


def parse_report(raw: bytes) -> Report:
    """A report from JSON. Raises ValueError for what is none."""
    return _DECODER.decode(raw)
