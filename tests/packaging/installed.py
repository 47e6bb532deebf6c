"""Building wheels, and environments that hold nothing but what was installed into them and the dependencies.

An environment here is a real venv with our wheel installed by pip. The dependencies are not installed again: they are
linked from the environment that runs the tests, all but our own distribution, so that the checkout can never answer in
place of the wheel.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTION = "mahavishnu-multi-region"
PACKAGE = "mahavishnu.integrations.multi_region"
OURS = ("mahavishnu", "_mahavishnu", "_editable_impl_mahavishnu", "__editable__")
DEADLINE_S = 300

COUNTRY_OF_EU_WEST_1 = f"""
import json
from {PACKAGE} import region_from_catalog
print(json.dumps(region_from_catalog("eu-west-1", endpoint="http://127.0.0.1:1").country))
"""
"""A program that needs our code and its data; it answers ``IE``."""


class CommandFailedError(AssertionError):
    """A command that had to succeed did not; carries what it printed."""

    def __init__(self, command: Sequence[str], done: subprocess.CompletedProcess[str]) -> None:
        super().__init__(f"{' '.join(command)}\nexit code {done.returncode}\n{done.stdout}\n{done.stderr}")


def run(command: Sequence[str | Path], cwd: Path) -> str:
    """What the command printed; raises CommandFailedError unless it exits 0. No PYTHON* variable reaches it."""
    words = [str(word) for word in command]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_CORE"))}
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    if done.returncode:
        raise CommandFailedError(words, done)
    return done.stdout


def build_wheel(project: Path, into: Path) -> Path:
    """Build the project's wheel with the backend that is installed here; nothing is fetched."""
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", into, project], cwd=into.parent)
    (wheel,) = into.glob("*.whl")
    return wheel


def link_dependencies(into: Path) -> None:
    """Link every installed package but our own into one folder; path files stay behind."""
    into.mkdir()
    for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(folder).iterdir():
            link = into / entry.name
            if not entry.name.startswith(OURS) and entry.suffix != ".pth" and not link.exists():
                link.symlink_to(entry)


@dataclass(frozen=True, slots=True)
class Environment:
    """A venv of its own."""

    home: Path

    @classmethod
    def create(cls, home: Path) -> Environment:
        """A venv without pip, to which only the dependencies are visible."""
        run([sys.executable, "-m", "venv", "--without-pip", home], cwd=home.parent)
        environment = cls(home)
        link_dependencies(home / "dependencies")
        (environment.site_packages / "dependencies.pth").write_text(f"{home / 'dependencies'}\n", encoding="utf-8")
        return environment

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.home / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        """Where packages are installed."""
        (folder,) = self.home.glob("lib/python*/site-packages")
        return folder

    def pip(self, *arguments: str | Path) -> str:
        """Run the tests' own pip on this venv, kept from any index."""
        options = ("--python", self.python, "--disable-pip-version-check", "--no-input")
        return run([sys.executable, "-m", "pip", *options, *arguments], cwd=self.home)

    def install(self, wheel: Path) -> None:
        """Install one wheel and nothing else."""
        self.pip("install", "--quiet", "--no-index", "--no-deps", wheel)

    def uninstall(self, distribution: str) -> None:
        """Remove one distribution."""
        self.pip("uninstall", "--quiet", "--yes", distribution)

    def ask(self, program: str) -> Any:
        """Run a program in the venv, cut off from the checkout (``-I``); it prints its answer as JSON."""
        return json.loads(run([self.python, "-I", "-c", program], cwd=self.home))

    def command(self, *words: str) -> str:
        """What an installed console command prints."""
        return run([self.home / "bin" / words[0], *words[1:]], cwd=self.home)
