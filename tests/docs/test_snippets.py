"""What the documentation shows of Python, TOML and YAML works as it is written there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from harness.observation.journal import Damage, read_journal
from harness.observation.observation import Observation
from tests.docs.documents import ROOT, Block, blocks, snippet
from tests.docs.project import QUICK, Project, limits_of

OWN = "own-orchestrator.md"
FUNCTION = snippet(OWN, "python", "async def run(request, watch)")
CLASS = snippet(OWN, "python", "class Bot")
CALLED = snippet("quickstart.md", "python", "from my_orchestrator")
MARKED = snippet("pytest.md", "python", "@pytest.mark.harness")
FIXTURES = snippet("pytest.md", "python", "def test_remembers")
JUDGED = snippet("internals.md", "python", "judge_run")
STUBS = "async def my_triage(text): return text\nasync def my_answer(finding): return finding.upper()\n"
BASE = {
    "load": "[load]\nclosed = [2]\n",
    "workflow": '[[workflow]]\nkind = "any"\nshape = "sequential"\n',
    "agent.triage": '[agent.triage]\nwork = { wait = "5 ms", effect = true, update = [UPDATE] }\n',
    "agent.data": "[agent.data]\n",
    "agent.optimization": "[agent.optimization]\n",
    "state": '[state]\nstore = "redis"\n',
}


def observations(folder: Path) -> list[Observation]:
    """All of the only run there."""
    [journal] = folder.glob("*/journal.jsonl")
    return [line for line in read_journal(journal, Damage()) if isinstance(line, Observation)]


def test_no_python_is_left_out() -> None:
    """What is shown is what the tests below execute; the README repeats some of it."""
    executed = {FUNCTION, CLASS, CALLED, MARKED, FIXTURES, JUDGED}
    assert {block.text for block in blocks("python")} == executed


def test_an_async_function_is_run_by_its_scenario_and_limits(project: Project) -> None:
    """The my_bot example, its own functions filled in: every level, steps and rules included."""
    project.write("own/scenarios/my_bot.py", STUBS + FUNCTION)
    project.write("own/scenarios/my_bot.toml", snippet(OWN, "toml", 'name = "my_bot"'))
    limits = snippet(OWN, "toml", '[limits."10"]')
    levels = "\n".join(limits.replace('"10"', f'"{level}"') for level in (10, 25, 50))
    project.write("own/baselines/my_bot.toml", levels)
    done = project.run("harness", "run", "own/scenarios/my_bot.toml", *QUICK, "--reports", "own/reports")
    # Half a second of no work may be too little for a p99, and a starved machine is said to be: never a failure.
    assert done.returncode in (0, 3), done.stdout + done.stderr
    seen = observations(project.folder / "own/reports")
    assert {o.level for o in seen} == {"10", "25", "50"}
    assert {o.outcome for o in seen} == {"ok"}
    assert [step.name for step in seen[0].steps] == ["triage", "answer"]


def test_a_wrong_answer_of_an_async_function_is_corrupted(project: Project) -> None:
    """The example's rule on /id finds an answer that belongs to somebody else."""
    project.write("wrong/scenarios/my_bot.py", "async def run(request, watch): return {'id': 'x', 'answer': 1}\n")
    project.write("wrong/scenarios/my_bot.toml", snippet(OWN, "toml", 'name = "my_bot"'))
    words = ("wrong/scenarios/my_bot.toml", "--level", "10", *QUICK, "--reports", "wrong/reports")
    done = project.run("harness", "run", *words)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "wrong result" in done.stdout
    assert {o.error_class for o in observations(project.folder / "wrong/reports")} == {"corrupted"}


def test_the_quick_start_calls_an_orchestrator_of_ones_own(project: Project) -> None:
    """The function of the quick start, with a module to import."""
    project.write("mine/scenarios/my_orchestrator.py", "async def answer(text): return text.upper()\n")
    project.write("mine/scenarios/my_bot.py", CALLED)
    project.write("mine/scenarios/my_bot.toml", (project.folder / "scenarios/my_bot.toml").read_text())
    words = ("mine/scenarios/my_bot.toml", "--level", "10", *QUICK, "--reports", "mine/reports")
    done = project.run("harness", "run", *words)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    assert {o.outcome for o in observations(project.folder / "mine/reports")} == {"ok"}


def test_a_class_has_a_real_redis_and_the_witness(project: Project) -> None:
    """Its keys are its own, and every effect is on record once."""
    project.write("scenarios/my_stateful_bot.py", CLASS)
    project.write("scenarios/my_stateful_bot.toml", snippet(OWN, "toml", 'name = "my_stateful_bot"'))
    done = project.run("harness", "run", "my_stateful_bot", *QUICK, "--reports", "stateful")
    assert done.returncode == 3, done.stdout + done.stderr  # there are no limits
    seen = observations(project.folder / "stateful")
    assert {o.outcome for o in seen} == {"ok"}
    [ledger] = (project.folder / "stateful").glob("*/ledger.jsonl")
    assert ledger.read_text().count('"answer":"performed"') == len(seen)


@pytest.fixture
def service() -> Iterator[int]:
    """A real service on a free port, which ends with its standard input."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "load" / "service.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    yield int(process.stdout.readline())
    process.communicate()


def test_a_service_is_polled_and_watched_by_its_scenario(project: Project, service: int) -> None:
    """The my_service example against a real service: ends found by polling, its process measured by its port."""
    scenario = snippet(OWN, "toml", 'name = "my_service"').replace("8000", str(service)).replace("[10, 25]", "[3]")
    project.write("scenarios/my_service.toml", scenario.replace('/jobs"', '/jobs?after=0.05"'))
    done = project.run("harness", "run", "my_service", *QUICK, "--reports", "service")
    assert done.returncode == 3, done.stdout + done.stderr
    seen = observations(project.folder / "service")
    assert {o.outcome for o in seen} == {"ok"}
    assert all(o.ended is not None and o.ended - o.intended >= 0.05 for o in seen)
    [resources] = (project.folder / "service").glob("*/resources.jsonl")
    assert '"rss_bytes"' in resources.read_text()
    assert '"target":{' in resources.read_text()


def test_the_marked_test_and_the_fixtures_run_in_pytest(project: Project) -> None:
    """A run as a test, which is judged first; a real Redis and simulated models."""
    limits = project.folder / "baselines/my_bot.toml"
    limits.write_text(limits_of("success", ">= 50 %"))
    marked = MARKED.replace('"20 s"', '"1 s"').replace("agent.triage.p95", "p50").replace("< 0.5", "< 30")
    project.write("test_docs.py", marked + FIXTURES)
    done = project.run(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:locust", "test_docs.py"
    )
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_a_run_is_judged_from_python(project: Project) -> None:
    """As the internals show it."""
    project.write("judging.py", JUDGED)
    done = project.run(sys.executable, "judging.py", env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert re.match(r"(pass 0|inconclusive 3)\n10 [\d.]+ ([\d.]+|None)\n", done.stdout)


def fragments() -> Iterator[Block]:
    """Pieces of a scenario."""
    for block in blocks("toml"):
        document = tomllib.loads(block.text)
        if "name" not in document and not {"limits", "ours"} & document.keys():
            yield block


def test_every_whole_scenario_is_without_mistakes(project: Project) -> None:
    """And so are the limits that are shown for it."""
    scenarios = [block for block in blocks("toml") if "name" in tomllib.loads(block.text)]
    limits = [block for block in blocks("toml") if {"limits", "ours"} & tomllib.loads(block.text).keys()]
    assert len(scenarios) >= 5
    for number, block in enumerate(scenarios):
        name = tomllib.loads(block.text)["name"]
        folder = f"shown/{number}"
        project.write(f"{folder}/scenarios/{name}.toml", block.text)
        project.write(f"{folder}/scenarios/{name}.py", STUBS + FUNCTION + CLASS)
        for own in limits:
            if own.page == block.page and name in ("my_bot", "support_desk"):
                levels = (own.text.replace('"10"', f'"{level}"') for level in (10, 25, 50))
                project.write(f"{folder}/baselines/{name}.toml", "\n".join(levels))
        done = project.run("harness", "check", f"{folder}/scenarios/{name}.toml")
        assert done.returncode == 0, (block.page, name, done.stderr)


@pytest.mark.parametrize("block", list(fragments()), ids=lambda block: f"{block.page}-{block.text.split()[0]}")
def test_every_piece_of_a_scenario_is_without_mistakes(block: Block, project: Project) -> None:
    """Within one that has what the piece does not say."""
    document = tomllib.loads(block.text)
    said = set(document) | {f"{table}.{name}" for table in ("agent",) for name in document.get(table, {})}
    rest = "\n".join(text for table, text in BASE.items() if table not in said)
    update = ", ".join(f'"{name}"' for name in document.get("shared", {}))
    whole = f'name = "piece"\ndescription = "A piece."\n{block.text}\n{rest.replace("UPDATE", update)}'
    if "llm" in document or "breaker.llm" in block.text:
        whole = whole.replace('store = "redis"', 'store = "memory"')
    project.write("piece/piece.toml", whole)
    done = project.run("harness", "check", "piece/piece.toml")
    assert done.returncode == 0, (block.page, done.stderr)


@pytest.mark.parametrize(("containing", "schema"), [("runs-on", "github-workflows"), ("allow_failure", "gitlab-ci")])
def test_ci_examples_are_of_the_right_form(containing: str, schema: str, tmp_path: Path) -> None:
    """By the published schemas of GitHub and GitLab."""
    path = tmp_path / "example.yml"
    path.write_text(snippet("ci.md", "yaml", containing))
    words = ["check-jsonschema", "--builtin-schema", f"vendor.{schema}", str(path)]
    done = subprocess.run(
        [Path(sys.executable).parent / words[0], *words[1:]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_action_takes_what_its_example_and_table_say() -> None:
    """Inputs and outputs, with what they are when left out."""
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    page = (ROOT / "docs" / "ci.md").read_text()
    step = yaml.safe_load(snippet("ci.md", "yaml", "runs-on"))["jobs"]["load"]["steps"][-1]
    assert step["with"].keys() <= action["inputs"].keys()
    assert set(re.findall(r"^\| `([a-z]+)` \|", page, flags=re.M)) == action["inputs"].keys()
    assert all(f"`{name}`" in page for name in action["outputs"])


def test_prometheus_is_told_where_to_scrape() -> None:
    """The same port as in the command beside it."""
    [job] = yaml.safe_load(snippet("watching.md", "yaml", "scrape_configs"))["scrape_configs"]
    assert job["static_configs"][0]["targets"] == ["127.0.0.1:9464"]
