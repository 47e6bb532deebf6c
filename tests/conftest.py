"""What every test starts from: no settings from the caller's environment, no deadline on a shared machine, and logging
as it was before the last test."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

# The same examples on every run where a failure must be repeatable; fresh ones on a developer's machine.
settings.register_profile("multi-region", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True)
settings.load_profile("multi-region")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that the caller's shell exports do not reach a test; a test sets its own."""
    for name in [name for name in os.environ if name.startswith("MAHAVISHNU_MULTI_REGION__")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Commands that serve set up logging for their process, which is ours; their handler would outlive its file."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configured = structlog.get_config() if structlog.is_configured() else None
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    if configured is None:
        structlog.reset_defaults()
    else:
        structlog.configure(**configured)
