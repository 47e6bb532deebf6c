"""The built wheel in an environment of its own: what it holds, and that it works without the checkout."""

from __future__ import annotations

import subprocess
import tomllib
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.packaging.installed import COUNTRY_OF_EU_WEST_1, DISTRIBUTION, PACKAGE, ROOT, Environment

pytestmark = pytest.mark.slow

FOLDER = PACKAGE.replace(".", "/") + "/"
NOT_LOADED_BY_IMPORT = {"aiohttp", "apsw", "fastapi", "grpc", "numpy", "pydantic", "starlette", "typer", "uvicorn"}
SPEC_NAMES = {
    "CloudProvider",
    "ComplianceFramework",
    "DataLocalityOptimizer",
    "DataPlacementPolicy",
    "FailureHandler",
    "MultiRegionAPI",
    "Region",
    "RegionAwareRouter",
    "RegionCapabilities",
    "RegionManager",
    "RoutingStrategy",
    "create_multi_region_system",
}


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    """Paths of the files in the wheel."""
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_ships_every_file_of_the_package(names: set[str]) -> None:
    source = ROOT / "src"
    files = (path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    expected = {path.relative_to(source).as_posix() for path in files}
    assert {name for name in names if ".dist-info/" not in name} == expected


def test_wheel_leaves_the_shared_folders_open(names: set[str]) -> None:
    assert not {"mahavishnu/__init__.py", "mahavishnu/integrations/__init__.py"} & names
    assert {name for name in names if not name.startswith(FOLDER)} == {n for n in names if ".dist-info/" in n}


def test_wheel_carries_types_licence_and_attributions(names: set[str]) -> None:
    assert f"{FOLDER}py.typed" in names
    assert {"LICENSE", "NOTICE"} <= {Path(name).name for name in names if ".dist-info/licenses/" in name}


def test_metadata_names_the_run_dependencies_only(alone: Environment) -> None:
    text = alone.ask(f"import importlib.metadata as m, json; print(json.dumps(str(m.metadata({DISTRIBUTION!r}))))")
    metadata = Parser().parsestr(text)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert len(needed) == len(project["dependencies"])
    assert set(metadata.get_all("Provides-Extra", [])) == set(project["optional-dependencies"])
    assert (metadata["Name"], metadata["Version"]) == (DISTRIBUTION, project["version"])
    assert metadata["Requires-Python"] == ">=3.11"


def test_import_comes_from_the_wheel(alone: Environment) -> None:
    found = alone.ask(f"import json, {PACKAGE} as p; print(json.dumps(p.__file__))")
    assert Path(found) == alone.site_packages / FOLDER / "__init__.py"


def test_import_loads_no_framework(alone: Environment) -> None:
    loaded = alone.ask(f"import json, sys, {PACKAGE}; print(json.dumps(sorted(sys.modules)))")
    assert PACKAGE in loaded
    assert not NOT_LOADED_BY_IMPORT & set(loaded)


def test_frameworks_can_be_loaded_where_they_were_not(alone: Environment) -> None:
    loaded = alone.ask("import json, sys, fastapi, numpy; print(json.dumps(sorted(sys.modules)))")
    assert {"fastapi", "numpy"} <= set(loaded)


def test_every_public_name_resolves(alone: Environment) -> None:
    kinds = alone.ask(f"import json, {PACKAGE} as p; print(json.dumps({{n: repr(getattr(p, n)) for n in p.__all__}}))")
    assert set(kinds) >= SPEC_NAMES


def test_core_names_load_no_framework(alone: Environment) -> None:
    program = f"import json, sys; from {PACKAGE} import Region, RoutingStrategy; print(json.dumps(sorted(sys.modules)))"
    assert not NOT_LOADED_BY_IMPORT & set(alone.ask(program))


def test_unknown_name_is_named(alone: Environment) -> None:
    program = f"""
import json, {PACKAGE} as package
try:
    package.RegionManger
except AttributeError as error:
    print(json.dumps(str(error)))
"""
    assert "RegionManger" in alone.ask(program)


def test_package_data_is_readable(alone: Environment) -> None:
    program = f"""
import json
from importlib.resources import files
print(json.dumps(json.loads(files("{PACKAGE}.facts").joinpath("data/cloud_regions.json").read_text("utf-8"))))
"""
    regions = {(region["provider"], region["id"]): region for region in alone.ask(program)}
    assert regions["aws", "eu-west-1"]["country"] == "IE"


def test_catalog_works_from_the_wheel(alone: Environment) -> None:
    assert alone.ask(COUNTRY_OF_EU_WEST_1) == "IE"


def test_entry_point_resolves(alone: Environment) -> None:
    program = """
import json
from importlib.metadata import entry_points
(point,) = entry_points(group="console_scripts", name="multi-region")
print(json.dumps([point.value, callable(point.load())]))
"""
    assert alone.ask(program) == [f"{PACKAGE}.surfaces.cli.main:main", True]


def test_command_shows_its_help(alone: Environment) -> None:
    text = alone.command("multi-region", "--help")
    assert "Usage" in text
    assert {"demo", "serve", "route", "doctor"} <= set(text.split())


def test_command_refuses_what_it_does_not_know(alone: Environment) -> None:
    words = [str(alone.home / "bin" / "multi-region"), "no-such-command"]
    done = subprocess.run(words, cwd=alone.home, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "no-such-command" in done.stderr


def test_uninstall_leaves_nothing(wheel: Path, tmp_path: Path) -> None:
    environment = Environment.create(tmp_path / "venv")
    environment.install(wheel)
    assert (environment.site_packages / FOLDER).is_dir()
    environment.uninstall(DISTRIBUTION)
    assert not (environment.site_packages / FOLDER).exists()
    assert not (environment.home / "bin" / "multi-region").exists()
