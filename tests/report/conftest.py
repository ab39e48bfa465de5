"""Judged runs to report on, and the comparison with golden files."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from harness.observation.manifest import LevelEnd, ServiceUsed
from harness.observation.observation import Outcome, StateUse, StepRecord
from harness.report import reporter
from harness.scenario.models import Ask
from harness.scenario.scenario import Crash, Load, Work
from harness.scenario.shapes import Step
from harness.verdict.judge import JudgedRun, judge_run

if TYPE_CHECKING:
    from tests.conftest import RunBuilder

GOLDEN = Path(__file__).parents[1] / "golden"
RENEW = "make golden"

LIMITS = """
[limits."10"]
success  = ">= 80 %"
error    = "< 5 %"
p95      = "< 5 s"
cpu      = "< 80 %"
rss_peak = "< 512 MiB"
[ours."10"]
p50 = "< 2 s"
agent.data.pool_use = ">= 80 %"
"""


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares a text with `tests/golden/NAME`, or writes it with --update-golden."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), f"{name} changed; if it should have, run: {RENEW}"

    return compare


@pytest.fixture
def report() -> Callable[[JudgedRun, str], str]:
    """What a reporter writes."""

    def written(judged: JudgedRun, name: str) -> str:
        out = io.StringIO()
        reporter(name).write(judged, out)
        return out.getvalue()

    return written


@pytest.fixture
def passed(run: RunBuilder) -> JudgedRun:
    """Everything within its limits."""
    run.limits = LIMITS
    run.workflows(400, 1.0, steps=(run.step(),))
    run.phases()
    run.resources()
    return judge_run(run.write())


@pytest.fixture
def failed(run: RunBuilder) -> JudgedRun:
    """Broken limits, a broken promise, an open question, a level cut short, and words that break tables and XML."""
    run.limits = LIMITS + '[limits."25"]\np99 = "< 5 s"\nloop_lag_p99 = "< 1 ms"'
    run.levels, run.load = ("10", "25"), Load(closed=(10, 25), measure=20.0)
    run.workflows(50, 6.0, steps=(run.step(waited_s=2.0),))
    run.workflows(3, 1.0, outcome=Outcome.FAILED, error_class="odd | <class>\x1b[31m\x00", kind="new\nline")
    run.workflow(None, Outcome.NOT_STARTED, rejected=True, error_class="rejected")
    run.opened("promised", accepted=True)
    run.phases()
    run.resources()
    run.workflows(60, 1.0, level="25")
    run.workflow(7.0, level="25")
    run.phases("25", last="drain")
    run.finished = False
    run.ended.append(LevelEnd(level="", status="harness_failed", message="left behind:\n\x1b]0;pid 7"))
    return judge_run(run.write())


@pytest.fixture
def recovered(run: RunBuilder) -> JudgedRun:
    """Real services, a slow one among them, two crashes, and a promise that one of them broke."""
    run.limits = LIMITS + 'service.redis.response_p95 = "< 100 ms"\n'
    run.state = "both"
    run.services = (
        ServiceUsed(service="redis", provider="embedded", version="9.1.2", address="127.0.0.1:4711",
                    passed_over=("url: none was given", "container: no engine answers")),
        ServiceUsed(service="postgres", provider="container", version="17.2", address="127.0.0.1:4712",
                    detail="postgres:17-alpine @ sha256:0a1b"),
    )  # fmt: skip
    run.work, run.workflow_steps = Work(effect=True, update=("hot",)), (Step(name="pay", agent="data"),)
    run.crash = Crash(kill=("after_effect",), pause=("before_checkpoint",))
    run.crashed("after_effect", 15.25)
    run.crashed("before_checkpoint", 20.5, "pause")
    run.fault = ({"kind": "machine.cpu", "for": "3 s"},)
    run.broke("machine.cpu", "begins", "began", "bit", "lifts", "lifted")
    for number in range(400):
        at = 10.0 + number / 20.1
        run.workflow(0.5, id=f"10-{number}", intended=at, accepted=at, target_accepted=at, target_ended=at + 0.5)
        run.effect(f"10-{number}", "pay")
        run.update(f"10-{number}/pay", number + 1, at)
    run.effect("10-105", "pay", "replayed", owner=2)
    run.effect("10-106", "pay", owner=2)
    run.effect("10-107", "pay", "refused", owner=1, token=1)
    run.phases()
    run.resources()
    run.samples = [
        msgspec.structs.replace(sample, host=msgspec.structs.replace(sample.host, state=StateUse(taken_up=3)))
        for sample in run.samples
        if sample.host is not None
    ]
    run.health(*[0.25] * 30, None, None, 0.001)
    run.health(*[0.002] * 33, service="postgres")
    run.audit(400)
    return judge_run(run.write())


@pytest.fixture
def asking(run: RunBuilder) -> JudgedRun:
    """Agents that ask models: some were refused and asked again, and the SDKs took most of the CPU."""
    run.limits = LIMITS + 'ttft_p95 = "< 1 s"\namplification = "< 1.1"\ncost_per_success = "< 0.002 USD"\n'
    run.llm, run.work = "simulated", Work(llm=Ask(model="some-model", stream=True))
    run.workflow_steps = (Step(name="look", agent="data"),)
    for number in range(400):
        at, name = 10.0 + number / 20.1, f"10-{number}"
        step = StepRecord("look", "data", at, at + 0.125, at + 0.875, Outcome.OK)
        stamps = {"accepted": at, "target_accepted": at, "target_ended": at + 1.0}
        run.workflow(1.0, id=name, intended=at, steps=(step,), **stamps)
        if number % 4 == 0:
            run.call(name, "look", at, took_s=0.001, status=429, output_tokens=0, cost_usd=0.0, retry_after_s=0.1)
        run.call(name, "look", at + 0.25, took_s=0.625, stream=True, ttft_s=0.125, ended_planned_s=0.624)
    run.phases()
    run.resources(cpu=0.5, llm_cpu=0.125, sdk_cpu=0.305)
    return judge_run(run.write())
