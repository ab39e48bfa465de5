"""For pytest: a test that runs a scenario and fails with the verdict's own sentence, and real servers as fixtures.

    @pytest.mark.harness("scenarios/my_bot.toml", levels=[10])
    def test_my_bot_holds(harness):
        assert harness.metric("10", "p95") < 2.0

The mark alone is enough: what the scenario's limits say is judged before the test's own lines run. Runs take turns,
also between the workers of pytest-xdist. Nothing heavy is imported before a test asks for it.
"""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.child import Children
    from harness.verdict.judge import JudgedRun

MARK = "harness"
MARK_HELP = (
    'harness(scenario, levels=(), state=None, measure=None, seed=None, inconclusive="fail", reports="reports"): '
    "run this scenario file and fail with its verdict"
)
INCONCLUSIVE = ("fail", "skip", "pass")


class HarnessRun:
    """A run that was judged."""

    def __init__(self, judged: JudgedRun) -> None:
        self.judged = judged

    @property
    def folder(self) -> Path:
        """Where its files are, the reports among them."""
        return self.judged.run_dir

    @property
    def word(self) -> str:
        """Of the verdict: pass, failed: limit, inconclusive …"""
        return self.judged.verdict.word

    @property
    def sentences(self) -> Sequence[str]:
        """The verdict for a person."""
        return self.judged.verdict.sentences

    def metric(self, level: str, name: str) -> float | None:
        """A metric of a level (seconds, shares of 1, counts); None: it was not measured. KeyError: no such level."""
        levels = {each.level: each for each in self.judged.summary.levels}
        return levels[level].metric(name).value


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known, as --strict-markers wants it."""
    config.addinivalue_line("markers", MARK_HELP)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The mark alone asks for the run."""
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker(MARK) and "harness" not in item.fixturenames:
            item.fixturenames.insert(0, "harness")


@pytest.fixture
def harness(request: pytest.FixtureRequest) -> HarnessRun:
    """The run of the scenario that the test's mark names."""
    mark = request.node.get_closest_marker(MARK)
    if mark is None:
        pytest.fail(f'say which scenario: @pytest.mark.{MARK}("scenarios/….toml")', pytrace=False)
    run = _run(request, *mark.args, **mark.kwargs)
    request.node.user_properties += [("harness_verdict", run.word), ("harness_run", str(run.folder))]
    return run


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Before the test's own lines: was the run a pass? Here it is a failure of the test, in a fixture an error."""
    run = pyfuncitem.funcargs.get("harness")
    mark = pyfuncitem.get_closest_marker(MARK)
    if not isinstance(run, HarnessRun) or mark is None or run.judged.verdict.exit_code == 0:
        return
    said = "\n".join([f"{run.word}: {run.judged.manifest.scenario}", *run.sentences, f"reports: {run.folder}"])
    inconclusive = mark.kwargs.get("inconclusive", "fail")
    if run.word != "inconclusive" or inconclusive == "fail":
        pytest.fail(said, pytrace=False)
    if inconclusive == "skip":
        pytest.skip(said)


def _run(
    request: pytest.FixtureRequest,
    scenario: str,
    *,
    levels: Sequence[object] = (),
    state: str | None = None,
    measure: str | None = None,
    seed: int | None = None,
    inconclusive: str = "fail",
    reports: str = "reports",
) -> HarnessRun:
    from harness.errors import HarnessError, UsageError
    from harness.report.writing import write_reports
    from harness.run.controlled import execute_controlled
    from harness.run.listening import Interrupt, Silent
    from harness.run.plan import Options, prepare
    from harness.scenario.units import parse
    from harness.verdict.judge import judge_run

    if inconclusive not in INCONCLUSIVE:
        pytest.fail(f"inconclusive={inconclusive!r}: say one of {', '.join(INCONCLUSIVE)}", pytrace=False)
    root = request.config.rootpath
    path = next((each for each in (root / scenario, request.path.parent / scenario) if each.exists()), root / scenario)
    failure = ""
    try:
        options = Options(
            levels=tuple(str(level) for level in levels),
            state=state,
            measure_s=None if measure is None else parse(measure, "duration"),
            seed=seed,
            reports=root / reports,
        )
        plan = prepare(path, options, command=f"pytest {request.node.nodeid}")
        with _turn():
            judged = judge_run(execute_controlled(plan, Silent(), Interrupt(), lambda _line: None))
    except UsageError as error:
        failure = "\n".join(error.mistakes)
    except (HarnessError, ValueError) as error:
        failure = f"the harness could not run {path}: {error}"
    if failure:
        pytest.fail(failure, pytrace=False)
    write_reports(judged)
    return HarnessRun(judged)


@contextmanager
def _turn() -> Iterator[None]:
    """One run at a time on this machine, whichever process of pytest-xdist it is in: two would measure each other."""
    import fcntl

    path = Path(tempfile.gettempdir()) / f"harness-pytest-{os.getuid()}.lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
        yield


@pytest.fixture(scope="session")
def harness_redis() -> Iterator[str]:
    """The URL of a real Redis: one that is given, found or started, as `harness services` says."""
    with _children() as children:
        yield from _service("redis", children)


@pytest.fixture(scope="session")
def harness_postgres() -> Iterator[str]:
    """The URL of a real PostgreSQL: one that is given, found or started, as `harness services` says."""
    with _children() as children:
        yield from _service("postgres", children)


@pytest.fixture(scope="session")
def harness_llm() -> Iterator[str]:
    """The URL of simulated models, for any official SDK: `OpenAI(base_url=f"{harness_llm}/v1", api_key="any")`."""
    from harness.llm.config import ProviderConfig
    from harness.run.provider import LlmChoice, prices_for, provider
    from harness.scenario.models import Llm

    with _children() as children:
        config = ProviderConfig(
            run_id=children.run_id,
            t0=time.monotonic(),
            level="served",
            seed=1,
            time_scale=0.1,
            mode="simulated",
            llm=Llm(),
            prices=prices_for(None, LlmChoice()),
        )
        with provider(children, config) as serving:
            yield serving.url


def _service(name: str, children: Children) -> Iterator[str]:
    from harness.service.service import provide, settings_from

    with provide(name, settings_from(), children) as running:
        yield running.url


@contextmanager
def _children() -> Iterator[Any]:
    """What is started ends with the session, whatever becomes of it."""
    from harness.child import Children

    with (
        tempfile.TemporaryDirectory(prefix="harness-pytest-") as logs,
        Children(f"pytest-{secrets.token_hex(4)}", Path(logs)) as children,
    ):
        yield children
