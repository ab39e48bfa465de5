"""What the README shows works as it is written there: its snippets are run, its names exist."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.command.commands import commands
from harness.observation.journal import Damage, read_journal
from harness.observation.observation import Observation
from harness.statistics.metrics import AGENT_METRICS, METRICS, SERVICE_METRICS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
QUICK = {'warmup = "3 s"': 'warmup = "200 ms"', '"60 s"': '"1 s"', '"30 s"': '"5 s"'}


def snippet(language: str, containing: str) -> str:
    """The one code block of that language that contains the words."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
    [block] = [block for block in blocks if containing in block]
    return str(block)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A folder as a new user has it."""
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "baselines").mkdir()
    return tmp_path


def run(folder: Path, *words: str) -> tuple[int, str, str]:
    """The `harness` command in that folder."""
    done = subprocess.run(
        [sys.executable, "-m", "harness", *words], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout, done.stderr


def observations(folder: Path) -> list[Observation]:
    """All observations of the only run there."""
    [journal] = (folder / "reports").glob("*/journal.jsonl")
    return [line for line in read_journal(journal, Damage()) if isinstance(line, Observation)]


def test_an_async_function_is_run_by_its_scenario_and_limits(house: Path) -> None:
    """The my_bot example, its own functions filled in: every level, steps and rules included."""
    code = snippet("python", "async def run(request, watch)")
    stubs = "async def my_triage(text): return text\nasync def my_answer(finding): return finding.upper()\n"
    (house / "scenarios" / "my_bot.py").write_text(stubs + code)
    scenario = snippet("toml", 'name = "my_bot"')
    for long, short in QUICK.items():
        scenario = scenario.replace(long, short)
    (house / "scenarios" / "my_bot.toml").write_text(scenario)
    limits = snippet("toml", '[limits."10"]')
    levels = [limits.replace('"10"', f'"{level}"') for level in (10, 25, 50)]
    (house / "baselines" / "my_bot.toml").write_text("\n".join(levels))
    exit_code, out, err = run(house, "run", "my_bot")
    # One second of no work may be too little for a p99, and a starved machine is said to be: never a failure.
    assert exit_code in {0, 3}, (out, err)
    seen = observations(house)
    assert {o.level for o in seen} == {"10", "25", "50"}
    assert {o.outcome for o in seen} == {"ok"}
    assert [step.name for step in seen[0].steps] == ["triage", "answer"]


def test_a_wrong_answer_of_an_async_function_is_corrupted(house: Path) -> None:
    """The example's rule on /id finds an answer that belongs to somebody else."""
    (house / "scenarios" / "my_bot.py").write_text("async def run(request, watch): return {'id': 'x', 'answer': 1}\n")
    scenario = snippet("toml", 'name = "my_bot"')
    for long, short in QUICK.items():
        scenario = scenario.replace(long, short)
    (house / "scenarios" / "my_bot.toml").write_text(scenario.replace("[10, 25, 50]", "[2]"))
    exit_code, out, err = run(house, "run", "my_bot")
    assert exit_code == 1, (out, err)
    assert "wrong result" in out
    assert {o.error_class for o in observations(house)} == {"corrupted"}


@pytest.fixture
def service() -> Iterator[int]:
    """A real service on a free port, which ends with its standard input."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "load" / "service.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    yield int(process.stdout.readline())
    process.communicate()


def test_a_service_is_polled_and_watched_by_its_scenario(house: Path, service: int) -> None:
    """The my_service example against a real service: ends found by polling, its process measured by its port."""
    scenario = snippet("toml", 'name = "my_service"').replace("8000", str(service)).replace("[10, 25]", "[3]")
    scenario += "\n" + 'deadline = "5 s"\n'
    scenario = scenario.replace("[load]", '[load]\nwarmup = "100 ms"\nmeasure = "1 s"\ndrain = "5 s"')
    (house / "scenarios" / "my_service.toml").write_text(scenario.replace('/jobs"', '/jobs?after=0.05"'))
    exit_code, out, err = run(house, "run", "my_service")
    assert exit_code in {0, 3}, (out, err)
    seen = observations(house)
    assert {o.outcome for o in seen} == {"ok"}
    assert all(o.ended is not None and o.ended - o.intended >= 0.05 for o in seen)
    [resources] = (house / "reports").glob("*/resources.jsonl")
    assert b'"rss_bytes"' in resources.read_bytes()
    assert '"target":{' in resources.read_text()


def test_every_command_of_the_readme_exists() -> None:
    """In its table and in its text."""
    named = set(re.findall(r"`harness (\w+)", README)) | set(re.findall(r"^ {4}harness (\w+)", README, flags=re.M))
    assert named
    assert named <= set(commands.commands)
    assert set(commands.commands) <= named, "a command the README does not mention"


def test_every_command_explains_itself() -> None:
    """`--help` works for each, and says something."""
    for name in commands.commands:
        result = CliRunner().invoke(commands, [name, "--help"])
        assert result.exit_code == 0
        assert len(result.output.splitlines()) > 4


def test_every_metric_of_the_readme_exists() -> None:
    """The names in the table of metrics are those that limits can be set on."""
    table = README.split("| metric | is |")[1].split("\n\n")[0]
    names = {
        name for cell in re.findall(r"^\| (.*?) \|", table, flags=re.M) for name in re.findall(r"[a-z][a-z_0-9]+", cell)
    }
    unknown = names - set(METRICS) - set(AGENT_METRICS) - set(SERVICE_METRICS) - {"agent", "service"}
    assert unknown == set()


def test_every_link_inside_the_project_leads_somewhere() -> None:
    """README, ARCHITECTURE and CONTRIBUTING."""
    for page in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
            if "://" not in link:
                assert (ROOT / link).exists(), f"{page}: {link}"


def test_the_makefile_has_what_the_readme_and_contributing_name() -> None:
    """And `make` alone lists them."""
    makefile = (ROOT / "Makefile").read_text()
    text = README + (ROOT / "CONTRIBUTING.md").read_text()
    for target in set(re.findall(r"make (run|test|setup|check|bench|golden|help)\b", text)):
        assert re.search(rf"^{target}:.*## ", makefile, flags=re.M), target
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "make run" in listed
    assert "make test" in listed
