"""Every command that the documentation shows is executed, or, where it would take another machine, an hour or money,
read as the command line reads it, with a word on where it is executed instead."""

from __future__ import annotations

import os
import re
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import pytest
import yaml

from harness.command.commands import commands as harness_commands
from harness.verdict.verdict import EXIT_CODES
from tests.docs.documents import ROOT, commands, snippet
from tests.docs.project import QUICK, Project, limits_of

DONE, OPEN, REFUSED = (0,), (0, 3), (2,)
COMMANDS = commands()

LIVE = "harness run llm_openai --level 10 --llm live --spend-max '2 USD' --llm-concurrency 8"
AS_IS: Mapping[str, tuple[int, ...]] = {
    "harness init my_project": DONE,
    "cd my_project": DONE,
    "harness check my_bot": DONE,
    "harness scenarios": DONE,
    "harness check concurrent_workflows": DONE,
    "harness schema '>' scenario.schema.json": DONE,
    "harness judge RUN": OPEN,
    "harness judge RUN --against stricter": (1,),
    "harness report RUN --format markdown": DONE,
    "harness faults": DONE,
    "harness runbook scenarios/resilience docs/runbook": DONE,
    "harness baseline show regression": REFUSED,  # there is none yet
    "harness history regression": REFUSED,
    LIVE: REFUSED,  # no key is here
    f"{LIVE} --llm-record calls.rec": REFUSED,
    "harness run llm_openai --level 10 --llm replay:calls.rec --measure '10 s'": REFUSED,  # nor a recording
    "harness baseline epoch regression --why 'answers are checked twice since 4f1c2aa'": REFUSED,
}
"""Command -> its exit codes here."""

LEVEL = ("--level", "10")
SHORTENED: Mapping[str, tuple[str, ...]] = {
    "harness run my_bot --level 10 --measure '5 s'": QUICK,
    "harness run my_bot": QUICK,
    "harness run concurrent_workflows --state redis": (*QUICK, *LEVEL),
    "harness run open_poisson --workers 2": (*QUICK, "--level", "10/s"),
    "harness run concurrent_workflows --live": (*QUICK, *LEVEL),
    "harness run concurrent_workflows --metrics-port 9464": (*QUICK, *LEVEL, "--metrics-port", "0"),
    "harness doctor regression": ("--rounds", "3", "--seconds", "0.5"),
    "harness capacity capacity_closed --slo 'p95 < 1 s, success >= 99 %' --most 100":
        ("--most", "2", "--sittings", "1", "--measure", "300 ms"),
}  # fmt: skip
"""Command -> what it is given beyond that, so that it takes seconds."""

SERVING: Mapping[str, str] = {
    "harness llm": "ANTHROPIC_BASE_URL=",
    "harness llm --scenario scenarios/llm_rate_limited.toml --log calls.jsonl": "ANTHROPIC_BASE_URL=",
    "harness serve concurrent_workflows": "locust -f",
    "harness proxy redis=127.0.0.1:6379 --protocol redis=redis": "redis",
}
"""Command that goes on until it is interrupted -> what it says then; ports that may be taken are any free ones here."""
ANY_PORT: Mapping[str, tuple[str, ...]] = {"llm": ("--port", "0"), "proxy": ("--api", "127.0.0.1:0"), "serve": ()}

READ: Mapping[str, str] = {
    "harness run state_recovery --state postgres": "tests/scenarios: ten crashes want their time",
    "harness run scenarios/resilience": "half an hour: tests/resilience and tests/scenarios run rows of it",
    "harness run regression --gate": "tests/gate",
    "harness baseline record regression": "tests/gate",
    "harness run open_poisson --workers 1 --join 2 --listen 10.0.0.1": "tests/load/crew: an address of another machine",
    "harness worker --master 10.0.0.1": "tests/load/crew",
    "harness run llm_openai --level 10 --otlp http://127.0.0.1:4318": "tests/report/watching: it needs a collector",
    "harness capacity capacity_closed --slo 'p95 < 1 s, success >= 99 %' --most 100 "
    "--what-if 'agent.data.pool = 18' --what-if 'fleet.size = 2'": "tests/sweep",
    **{
        f"harness duet {words}": "tests/gate: builds take minutes"
        for words in (
            "v1.4.0 . regression", "main my-branch regression --pairs 20", "old.whl new.whl regression --level 5",
            "python:flow_a:run python:flow_b:run my_bot", "baseline . regression", "my-orchestrator==1.4.0 . my_bot",
            "main . soak --measure '10 min'", "baseline:first . regression",
        )
    },
}  # fmt: skip
"""Command that is only read -> where it is executed."""

OTHERS: Mapping[str, str] = {
    "make run": "the main job: tests/scenarios runs it",
    "make test": "this",
    "pip install 'orchestration-harness[postgres,embedded,llm]'": "test_extras_exist",
    "pip install 'orchestration-harness[otel]'": "test_extras_exist",
}


def test_no_command_is_left_out() -> None:
    """What is shown is in one of the tables, and nothing else is."""
    assert sorted(COMMANDS) == sorted([*AS_IS, *SHORTENED, *SERVING, *READ, *OTHERS])


@pytest.mark.parametrize("command", AS_IS)
def test_it_does_what_is_shown(command: str, project: Project) -> None:
    """As it is written; where it cannot here, it says what is missing, and starts nothing."""
    words = COMMANDS[command]
    env = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    if words[0] == "cd":
        assert (project.folder / words[1] / "scenarios").is_dir()
        return
    done = project.run(*(words[: words.index(">")] if ">" in words else words), env=env)
    assert done.returncode in AS_IS[command], done.stdout + done.stderr
    assert done.returncode == 0 or done.stdout + done.stderr


@pytest.mark.parametrize("command", SHORTENED)
def test_it_runs_in_seconds(command: str, project: Project) -> None:
    """With less to do, it comes to a verdict, or says why the little that there was does not carry one."""
    done = project.run(*COMMANDS[command], *SHORTENED[command])
    assert done.returncode in (0, 1, 3), done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", SERVING)
def test_it_serves_until_it_is_interrupted(command: str, project: Project) -> None:
    """It says where, and goes away when it is told to."""
    words = COMMANDS[command]
    serving = subprocess.Popen(
        [sys.executable, "-m", *words, *ANY_PORT[words[1]]],
        cwd=project.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert serving.stdout is not None
    try:
        said = ""
        for line in serving.stdout:
            said += line
            if SERVING[command] in line:
                break
        assert SERVING[command] in said
    finally:
        serving.send_signal(signal.SIGINT)
        serving.communicate(timeout=60)


@pytest.mark.parametrize("command", READ)
def test_it_is_a_command_line(command: str, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every option exists and takes what it is given; scenarios that are named are there (`make check` checks them)."""
    monkeypatch.chdir(project.folder)
    _, name, *arguments = COMMANDS[command]
    found: click.Command = harness_commands.commands[name]
    if isinstance(found, click.Group):
        found, arguments = found.commands[arguments[0]], arguments[1:]
    context = found.make_context(name, arguments)
    named = context.params.get("scenario") or ()
    for scenario in (named,) if isinstance(named, str) else named:
        assert (project.folder / scenario).exists() or (project.folder / "scenarios" / f"{scenario}.toml").exists()


def test_extras_exist() -> None:
    """Those that are installed by name."""
    text = (ROOT / "pyproject.toml").read_text()
    shown = "".join(command for command in OTHERS if command.startswith("pip"))
    for extra in {name for names in re.findall(r"\[([a-z,]+)\]", shown) for name in names.split(",")}:
        assert re.search(rf"^{extra} = \[", text, flags=re.M), extra


def test_cron_does_what_it_is_told() -> None:
    """The commands in its line exist, with these options."""
    line = snippet("weekly.md", "cron", "harness run")
    assert re.match(r"\d+ \d+ \* \* \d  cd ", line)
    for words in re.findall(r"harness (run [^&]+?) (?:&&|$)", line):
        name, *arguments = words.split()
        harness_commands.commands[name].make_context(name, arguments)


@pytest.fixture
def runner(tmp_path: Path) -> Callable[..., Mapping[str, str]]:
    """The environment of a step on a runner of GitHub's."""
    (tmp_path / "temp").mkdir()

    def environment(scenario: str, options: str = "", inconclusive: str = "fail") -> Mapping[str, str]:
        files = {"GITHUB_OUTPUT": "output", "GITHUB_STEP_SUMMARY": "summary.md", "RUNNER_TEMP": "temp"}
        return {
            **os.environ,
            **{name: str(tmp_path / file) for name, file in files.items()},
            "SCENARIO": scenario,
            "OPTIONS": options,
            "INCONCLUSIVE": inconclusive,
        }

    return environment


def outputs(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


STEP = (sys.executable, str(ROOT / ".github" / "run_and_report.py"))
QUICKLY = "--level 10 --warmup '100 ms' --measure '600 ms'"


def test_the_action_tells_the_runner_what_came_of_it(
    project: Project, runner: Callable[..., Mapping[str, str]], tmp_path: Path
) -> None:
    """Exit code, word, folder and the report; a broken limit stops the job."""
    project.write("baselines/my_bot.toml", limits_of("p50", "< 1 us"))
    done = project.run(*STEP, env=runner("my_bot", QUICKLY))
    assert done.returncode == 1, done.stdout + done.stderr
    said = outputs(tmp_path / "output")
    assert (said["exit-code"], said["verdict"]) == ("1", "failed: limit")
    [run] = Path(said["reports"]).iterdir()
    assert (tmp_path / "summary.md").read_text() == (run / "report.md").read_text()


def test_the_action_lets_what_is_not_decided_through_if_it_is_told_to(
    project: Project, runner: Callable[..., Mapping[str, str]], tmp_path: Path
) -> None:
    """Without limits there is no verdict."""
    (project.folder / "baselines/my_bot.toml").unlink()
    assert project.run(*STEP, env=runner("my_bot", QUICKLY)).returncode == 3
    assert project.run(*STEP, env=runner("my_bot", QUICKLY, "pass")).returncode == 0
    assert outputs(tmp_path / "output")["verdict"] == "inconclusive"


@pytest.mark.parametrize(
    ("scenario", "options", "inconclusive"),
    [("my_bot", "", "maybe"), ("my_bot; touch seen", "", "fail"), ("my_bot", "$(touch seen)", "fail"),
     ("it's", "", "fail"), ("", "", "fail"), ("missing", "", "fail")],
)  # fmt: skip
def test_the_action_refuses_what_makes_no_sense(
    scenario: str, options: str, inconclusive: str, project: Project, runner: Callable[..., Mapping[str, str]]
) -> None:
    """A usage error, and nothing of it is executed by a shell."""
    done = project.run(*STEP, env=runner(scenario, options, inconclusive))
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout + done.stderr
    assert not (project.folder / "seen").exists()


def test_the_action_knows_every_word_of_a_verdict() -> None:
    """And ranks it."""
    assert sorted(runpy.run_path(STEP[1])["WORDS"]) == sorted({word.partition(":")[0] for word in EXIT_CODES})


def test_the_actions_steps_take_inputs_from_the_environment_only() -> None:
    """An expression within a script would be pasted into it, whatever is in it."""
    for step in yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"]:
        assert "${{" not in step.get("run", "")


@pytest.mark.parametrize(("limits", "code"), [(limits_of("p50", "< 1 us"), 1), ("", 0)])
def test_the_shell_example_ends_as_it_should(limits: str, code: int, project: Project, tmp_path: Path) -> None:
    """A broken limit stops it; what is not decided is said, and let through."""
    path = project.folder / "baselines/my_bot.toml"
    path.unlink(missing_ok=True)
    if limits:
        path.write_text(limits)
    script = snippet("ci.md", "bash", "harness run").replace("--level 10", QUICKLY)
    script = script.replace("harness run", f"{sys.executable} -m harness run").replace(
        "ci-reports", str(tmp_path / "r")
    )
    done = project.run("bash", "-e", "-c", script)
    assert done.returncode == code, done.stdout + done.stderr
    assert "my_bot" in (project.folder / "summary.md").read_text()
