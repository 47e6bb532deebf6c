"""``latency evaluate``: figures that can be checked by hand, and errors that name the line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mahavishnu.integrations.multi_region.surfaces.cli.main import app

GOOD = """latitude,longitude,country,region,rtt_ms
31.95,35.93,JO,eu-central-1,52
31.95,35.93,JO,eu-central-1,58
31.95,35.93,JO,eu-central-1,900
31.95,35.93,JO,me-central-1,140
52.5,13.4,DE,eu-central-1,14

52.5,13.4,DE,me-central-1,120
1.3,103.8,,eu-central-1,160
"""


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["latency", "evaluate", *words])


def saved(tmp_path: Path, text: str) -> str:
    path = tmp_path / "rtt.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_figures_as_json(tmp_path: Path) -> None:
    result = run("--measurements", saved(tmp_path, GOOD), "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["measurements"], found["places_left_out"]) == (7, 1)
    assert set(found["scores"]) == {"model", "great_circle"}
    model, circle = found["scores"]["model"], found["scores"]["great_circle"]
    assert (model["places"], model["top_1"], model["mean_ms"], model["far_off"]) == (2, 1.0, 0.0, 0.0)
    assert (circle["top_1"], circle["mean_ms"], circle["worst_ms"], circle["far_off"]) == (0.5, 41.0, 82.0, 0.5)
    assert found["worst_places"] == []


def test_a_table_for_people(tmp_path: Path) -> None:
    result = run("--measurements", saved(tmp_path, GOOD))
    assert result.exit_code == 0, result.output
    assert "7 measurements from 2 places; 1 with one region left out" in result.stdout
    assert "great circle" in result.stdout
    assert "41.0 ms" in result.stdout
    assert "the model chose the best region everywhere" in result.stdout


def test_the_worst_places_come_first(tmp_path: Path) -> None:
    rows = ["latitude,longitude,region,rtt_ms"]
    for latitude, near, far in ((52.5, 100, 90), (48.1, 150, 90), (50.0, 20, 90)):
        rows += [f"{latitude},13.4,eu-central-1,{near}", f"{latitude},13.4,me-central-1,{far}"]
    path = saved(tmp_path, "\n".join(rows))
    found = json.loads(run("--measurements", path, "--json").stdout)
    assert [(p["place"], p["regret_ms"]) for p in found["worst_places"]] == [("48.1, 13.4", 60.0), ("52.5, 13.4", 10.0)]
    assert len(json.loads(run("--measurements", path, "--json", "--worst", "1").stdout)["worst_places"]) == 1
    assert "48.1, 13.4" in run("--measurements", path).stdout


def test_regions_from_a_world_file(tmp_path: Path) -> None:
    world = tmp_path / "world.yaml"
    world.write_text(
        "regions:\n"
        "  - {id: attic, endpoint: 'http://127.0.0.1:9001', latitude: 52.4, longitude: 13.0, country: DE}\n"
        "  - {id: eu-west-1, endpoint: 'http://127.0.0.1:9002'}\n"
    )
    text = "latitude,longitude,region,rtt_ms\n52.5,13.4,attic,9\n52.5,13.4,eu-west-1,40\n"
    result = run("--measurements", saved(tmp_path, text), "-f", str(world), "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["scores"]["model"]["top_1"] == 1.0


def test_every_problem_is_named_with_its_line(tmp_path: Path) -> None:
    text = (
        "latitude,longitude,country,region,rtt_ms\n"
        "52.5,13.4,DE,eu-central-1,14\n"
        "95,13.4,DE,eu-central-1,14\n"
        "52.5,east,DE,eu-central-1,14\n"
        "52.5,13.4,ZZ,eu-central-1,14\n"
        "52.5,13.4,DE,eu-centrall-1,14\n"
        "52.5,13.4,DE,eu-central-1,fast\n"
        "52.5,13.4,DE,eu-central-1\n"
        "52.5,13.4,DE,ap-southeast-2,14\n"
        "52.5,13.4,DE,ap-southeast-2,nan\n"
    )
    path = saved(tmp_path, text)
    result = run("--measurements", path)
    assert result.exit_code == 2
    expected = [
        (3, "latitude: 95.0"),
        (4, "longitude: 'east'"),
        (5, "country: 'ZZ'"),
        (6, "region: 'eu-centrall-1'"),
        (7, "rtt_ms: 'fast'"),
        (8, "rtt_ms: ''"),
        (9, "rtt_ms: 14.0"),
        (10, "rtt_ms: nan"),
    ]
    lines = result.stderr.splitlines()
    assert len(lines) == len(expected)
    for line, (number, what) in zip(lines, expected, strict=True):
        assert line.startswith(f"{path}:{number}: {what}")
    assert "did you mean 'eu-central-1'" in lines[3]
    assert "light in fibre" in lines[6]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("52.5,13.4,eu-central-1,14,extra", "surplus column: 'extra'"),
        ("52,5,13.4,eu-central-1,14", "surplus column: '14'"),
        ("52.5,13.4,eu-central-1,1_00", "rtt_ms: '1_00'"),
        ("5_2.5,13.4,eu-central-1,14", "latitude: '5_2.5'"),
        ("52.5,13.4,eu-central-1,١٤", "rtt_ms: '١٤'"),
    ],
)
def test_what_may_be_meant_otherwise_is_refused(tmp_path: Path, line: str, said: str) -> None:
    path = saved(tmp_path, f"latitude,longitude,region,rtt_ms\n52.5,13.4,eu-west-1,30\n{line}\n")
    result = run("--measurements", path)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"{path}:3: {said} is not allowed")


def test_a_header_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, "latitude,longitude,region,rtt_ms, latitude\n52.5,13.4,eu-west-1,30,1\n")
    result = run("--measurements", path)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"{path}:1: latitude: 'latitude,longitude,region,rtt_ms,latitude' is not allowed")
    assert "each column once" in result.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "missing: latitude, longitude, region, rtt_ms"),
        ("latitude,longitude,region\n1,2,eu-west-1\n", "missing: rtt_ms"),
        ("latitude,longitude,region,rtt_ms\n", "two regions or more"),
        ("latitude,longitude,region,rtt_ms\n52.5,13.4,eu-central-1,14\n", "two regions or more"),
    ],
)
def test_a_file_with_nothing_to_score(tmp_path: Path, text: str, said: str) -> None:
    result = run("--measurements", saved(tmp_path, text))
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    result = run("--measurements", str(tmp_path / "none.csv"))
    assert result.exit_code == 2
    assert "No such file" in result.stderr
    broken = tmp_path / "broken.csv"
    broken.write_bytes(b"latitude\xff")
    assert run("--measurements", str(broken)).exit_code == 2


def test_errors_as_json(tmp_path: Path) -> None:
    text = "latitude,longitude,region,rtt_ms\n52.5,13.4,eu-central-1,-1\n"
    result = run("--measurements", saved(tmp_path, text), "--json")
    assert result.exit_code == 2
    problem = json.loads(result.stdout)["errors"][0]
    assert (problem["line"], problem["field"], problem["value"]) == (2, "rtt_ms", -1.0)
