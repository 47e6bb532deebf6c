"""The built wheel in one site-packages with a distribution that owns ``mahavishnu`` as a regular package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging.installed import COUNTRY_OF_EU_WEST_1, DISTRIBUTION, PACKAGE, CommandFailedError, Environment

pytestmark = pytest.mark.slow

BOTH = f"""
import json
import mahavishnu, mahavishnu.engine, mahavishnu.integrations, mahavishnu.integrations.chat
from {PACKAGE} import Region, region_from_catalog
print(json.dumps({{
    "upstream": [mahavishnu.ROLE, mahavishnu.engine.NAME, list(mahavishnu.integrations.KNOWN)],
    "ours": [Region.__module__, region_from_catalog("eu-west-1", endpoint="http://127.0.0.1:1").country],
    "regular": [mahavishnu.__file__ is not None, mahavishnu.integrations.__file__ is not None],
}}))
"""
UPSTREAM_ONLY = "import json, mahavishnu.engine as e; print(json.dumps(e.NAME))"


@pytest.mark.parametrize("ours_first", [True, False], ids=["ours-first", "upstream-first"])
def test_both_work_in_one_environment(
    ours_first: bool, wheel: Path, upstream_wheel: Path, environment_with: Callable[..., Environment]
) -> None:
    environment = environment_with(*((wheel, upstream_wheel) if ours_first else (upstream_wheel, wheel)))
    assert environment.ask(BOTH) == {
        "upstream": ["upstream", "upstream engine", ["chat"]],
        "ours": [f"{PACKAGE}.core.model", "IE"],
        "regular": [True, True],
    }
    assert "Usage" in environment.command("multi-region", "--help")


def test_removing_ours_leaves_upstream_working(
    wheel: Path, upstream_wheel: Path, environment_with: Callable[..., Environment]
) -> None:
    environment = environment_with(upstream_wheel, wheel)
    environment.uninstall(DISTRIBUTION)
    assert environment.ask(UPSTREAM_ONLY) == "upstream engine"
    with pytest.raises(CommandFailedError, match="ModuleNotFoundError"):
        environment.ask(COUNTRY_OF_EU_WEST_1)


def test_removing_upstream_leaves_ours_working(
    wheel: Path, upstream_wheel: Path, environment_with: Callable[..., Environment]
) -> None:
    environment = environment_with(upstream_wheel, wheel)
    environment.uninstall("mahavishnu")
    assert environment.ask(COUNTRY_OF_EU_WEST_1) == "IE"
    with pytest.raises(CommandFailedError, match="ModuleNotFoundError"):
        environment.ask(UPSTREAM_ONLY)
