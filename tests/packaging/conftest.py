"""The wheels, built once, and venvs to install them into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging.installed import ROOT, Environment, build_wheel

UPSTREAM_PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "mahavishnu"
version = "0.0.1"
[tool.hatch.build.targets.wheel]
packages = ["mahavishnu"]
"""

UPSTREAM_FILES = {
    "pyproject.toml": UPSTREAM_PYPROJECT,
    "mahavishnu/__init__.py": 'ROLE = "upstream"\n',
    "mahavishnu/engine.py": "from mahavishnu import ROLE\n\nNAME = ROLE + ' engine'\n",
    "mahavishnu/integrations/__init__.py": 'KNOWN = ("chat",)\n',
    "mahavishnu/integrations/chat.py": 'NAME = "chat"\n',
}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our wheel, built from the checkout."""
    return build_wheel(ROOT, tmp_path_factory.mktemp("ours") / "dist")


@pytest.fixture(scope="session")
def upstream_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that owns ``mahavishnu`` and ``mahavishnu.integrations`` as regular packages, as upstream's does."""
    project = tmp_path_factory.mktemp("upstream")
    for name, text in UPSTREAM_FILES.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return build_wheel(project, project / "dist")


@pytest.fixture(scope="session")
def alone(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A venv that holds our wheel; tests only look at it."""
    environment = Environment.create(tmp_path_factory.mktemp("alone") / "venv")
    environment.install(wheel)
    return environment


@pytest.fixture
def environment_with(tmp_path: Path) -> Callable[..., Environment]:
    """Make a venv with these wheels, installed in this order."""

    def make(*wheels: Path) -> Environment:
        environment = Environment.create(tmp_path / "venv")
        for each in wheels:
            environment.install(each)
        return environment

    return make
