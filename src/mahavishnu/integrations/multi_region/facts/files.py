"""Reads the shipped data files. Parses nothing beyond JSON and CSV; the modules beside it give the rows a meaning."""

from __future__ import annotations

import csv
import json
from importlib.resources import files
from io import StringIO
from typing import Any


def read_text(name: str) -> str:
    """The text of one file under ``data/``."""
    return files(__package__).joinpath("data", name).read_text(encoding="utf-8")


def read_json(name: str) -> Any:
    """One JSON file under ``data/``, parsed."""
    return json.loads(read_text(name))


def read_rows(name: str) -> list[dict[str, str]]:
    """One CSV file under ``data/``: a dict per row, every value as text (``NA`` stays North America)."""
    return list(csv.DictReader(StringIO(read_text(name), newline="")))
