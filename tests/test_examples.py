"""Every example runs and prints what it is said to print: those in `examples/`, and those in the README."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from typer.core import TyperGroup
from typer.main import get_command

from mahavishnu.integrations.multi_region.surfaces.cli.main import app as command_line

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
DEADLINE_S = 120

PRINTED = {
    "custom_probe": """
        eu-west-1 is healthy: first evidence is good: 3 jobs wait
        us-east-1 is healthy: first evidence is good: 5 jobs wait
        eu-west-1 is saturated: it says that it has no room: 250 jobs wait
          Selected us-east-1 for lowest latency
        eu-west-1 is down: too many failed probes in a row: 4000 jobs wait
          Selected us-east-1 for lowest latency
        """,
    "eu_residency": """
        served by eu-central-1, then eu-west-1
        eu-central-1 is lost
        served by eu-west-1, then nobody
        eu-west-1 is lost
        refused: policy_bound_exhaustion
          eu-central-1 is down
          eu-west-1 is down
          eu-west-2 policy eu-only does not allow it
          us-east-1 lacks gdpr
        """,
    "failover": """
          load: us-east-1 600, us-east-2 500, us-west-2 300, eu-west-1 800
        us-east-1 -> us-east-2: 67% of 600 requests/s
        us-east-1 -> us-west-2: 33% of 600 requests/s
          load: us-east-1 0, us-east-2 900, us-west-2 500, eu-west-1 800
        refused by headroom: eu-west-1 has room for 100 of the 500 that us-west-2 carries (800 of 1000 in use, 10 % kept free)
        us-east-1 recovered
          load: us-east-1 600, us-east-2 500, us-west-2 300, eu-west-1 800
        """,  # noqa: E501
    "fastapi_app": """
        "a route of your own"
        {"selected_region":"eu-west-1","endpoint":"http://127.0.0.1:9/eu-west-1","strategy":"latency_based",\
"reasoning":"Selected eu-west-1 for lowest latency","revision":2}
        """,
    "library_quickstart": """
        latency_based   Selected eu-west-1 for lowest latency
        capacity_based  Selected ap-southeast-1 with 12.0% utilization
        cost_based      Selected us-east-1 with 1x cost multiplier
        now             Selected us-east-1 for lowest latency
        left out        eu-west-1: is down
        """,
}


def environment(home: Path | None = None) -> dict[str, str]:
    """What a program that the tests start sees: this checkout, no proxy, and a home of its own if one is given."""
    left_out = ("COV_CORE", "COVERAGE", "PYTHON")
    env = {k: v for k, v in os.environ.items() if not k.startswith(left_out) and not k.lower().endswith("_proxy")}
    own = {} if home is None else {"HOME": str(home), "XDG_STATE_HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    return {**env, **own, "PYTHONPATH": str(ROOT / "src")}


def printed_by(*arguments: str, cwd: Path = ROOT) -> str:
    """What a Python program printed; it must end well and complain of nothing."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def lines_of(text: str) -> list[str]:
    """The lines of an indented block, without the indentation that all share."""
    return [line.removeprefix(" " * 8) for line in text.strip("\n").splitlines() if line.strip()]


def test_every_example_has_its_output_here() -> None:
    assert [path.stem for path in EXAMPLES] == sorted(PRINTED)


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: str(path.stem))
def test_an_example_prints_what_it_says(example: Path) -> None:
    assert printed_by(str(example)).splitlines() == lines_of(PRINTED[example.stem])


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: str(path.stem))
def test_an_example_is_short(example: Path) -> None:
    assert len(example.read_text(encoding="utf-8").splitlines()) < 60


@pytest.mark.slow
def test_the_readme_program_prints_what_the_readme_shows(tmp_path: Path) -> None:
    (program,) = blocks(README, "python")
    (shown,) = blocks(README, "text")
    (tmp_path / "quickstart.py").write_text(program, encoding="utf-8")

    assert printed_by(str(tmp_path / "quickstart.py"), cwd=tmp_path) == shown


@pytest.mark.slow
def test_the_readme_server_answers_the_requests_that_the_readme_shows(tmp_path: Path) -> None:
    start, requests = blocks(README, "console")
    serve = next(shlex.split(line)[3:] for line in start.splitlines() if "multi-region serve" in line)
    with (
        nobody_answering(tmp_path),
        subprocess.Popen(
            [sys.executable, "-m", "mahavishnu.integrations.multi_region", "serve", *serve, "--listen", "127.0.0.1:0"],
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            text=True,
        ) as server,
    ):
        assert server.stdout is not None
        try:
            url = next(line.split()[-1] for line in server.stdout if line.startswith("listening on "))
            answers = [as_httpx(line, url) for line in requests.splitlines() if line.startswith("$ curl")]
        finally:
            server.terminate()
            server.wait(DEADLINE_S)

    health, decision, stats = (answer.json() for answer in answers)
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert (health["region_id"], health["status"]) == ("eu-west-1", "unknown")
    assert decision["selected_region"] == "eu-central-1"  # the nearest to Germany that the policy of `accounts` allows
    assert stats["routing"]["decisions_by_region"] == {"eu-central-1": 1}
    assert server.returncode == 0


@contextmanager
def nobody_answering(folder: Path) -> Iterator[None]:
    """The example's world in ``folder``, with ports that nobody can listen on meanwhile in place of its own."""
    world = (ROOT / "examples" / "world.yaml").read_text(encoding="utf-8")
    with ExitStack() as held:
        for port in re.findall(r"endpoint: http://127\.0\.0\.1:(\d+)", world):
            place = held.enter_context(socket.socket())
            place.bind(("127.0.0.1", 0))
            world = world.replace(f"127.0.0.1:{port}\n", f"127.0.0.1:{place.getsockname()[1]}\n")
        (folder / "examples").mkdir()
        (folder / "examples" / "world.yaml").write_text(world, encoding="utf-8")
        yield


def as_httpx(line: str, url: str) -> httpx.Response:
    """Do what a curl command says, against a server at ``url``."""
    words = shlex.split(line.removeprefix("$ curl"))
    method, headers, body = "GET", {}, None
    rest = iter(words)
    for word in rest:
        match word:
            case "-X":
                method = next(rest)
            case "-H":
                name, _, value = next(rest).partition(": ")
                headers[name] = value
            case "-d":
                body = next(rest)
            case _:
                target = word.replace("http://127.0.0.1:8000", url)
    with httpx.Client(trust_env=False, timeout=DEADLINE_S) as client:
        return client.request(method, target, headers=headers, content=body)


@pytest.mark.slow
def test_coverage_by_path_measures_the_package(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "tests/integration/test_multi_region.py::TestRegionManager", "-v"),
            *("--cov=mahavishnu/integrations/multi_region", "-p", "no:cacheprovider"),
        ],
        cwd=ROOT,
        env={**environment(), "COVERAGE_FILE": str(tmp_path / "coverage")},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    total = re.search(r"^TOTAL\s+(\d+)\s+(\d+)\s.*?(\d+)%$", done.stdout, re.MULTILINE)

    assert done.returncode == 0, done.stdout
    assert total is not None, done.stdout
    assert int(total[3]) > 0
    assert "integrations/multi_region/shell/manager.py" in done.stdout


DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_document_leads_somewhere(document: Path) -> None:
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)
    local = [target.partition("#")[0] for target in targets if "://" not in target and not target.startswith("#")]

    assert [target for target in local if not (document.parent / target).exists()] == []


def commands_of(document: Path) -> list[str]:
    """What a document's console blocks tell a reader to type, as far as it is ours."""
    typed = [
        line[2:] for block in blocks(document.read_text(encoding="utf-8"), "console") for line in block.split("\n")
    ]
    return [part.strip() for line in typed for part in line.split("&&") if part.strip().startswith("multi-region ")]


COMMANDS = sorted({command for document in DOCUMENTS for command in commands_of(document)})


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_a_document_is_one(command: str) -> None:
    group = get_command(command_line)
    words = shlex.split(command)[1:]
    context = None
    while isinstance(group, TyperGroup):
        context = group.make_context("multi-region", words, parent=context)
        words = [*context._protected_args, *context.args]
        _, found, words = group.resolve_command(context, words)
        assert found is not None
        group = found
    parsed = group.make_context("multi-region", list(words), parent=context)

    assert parsed.args == []
