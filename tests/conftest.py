"""What every test starts from: no settings from the caller's environment, no deadline on a shared machine."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# The same examples on every run where a failure must be repeatable; fresh ones on a developer's machine.
settings.register_profile("multi-region", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True)
settings.load_profile("multi-region")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that the caller's shell exports do not reach a test; a test sets its own."""
    for name in [name for name in os.environ if name.startswith("MAHAVISHNU_MULTI_REGION__")]:
        monkeypatch.delenv(name)
