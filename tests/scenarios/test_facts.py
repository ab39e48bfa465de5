"""Every shipped scenario, scaled short, does what its name says: the fact is asserted, not an exit code."""

from __future__ import annotations

import io
import itertools
import json
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import msgspec
import pytest
from rich.console import Console

from harness.load.arrivals import Poisson, seed_of
from harness.observation.journal import Damage, read_journal
from harness.observation.llm import LlmCall
from harness.observation.observation import CrashFired, Observation, Outcome, Phase, StepRecord
from harness.report.live import LiveProgress
from harness.run.listening import Interrupt
from harness.run.plan import Options, prepare
from harness.run.run import execute
from harness.scenario.scenario import Scenario
from harness.scenario.shapes import SHAPES
from harness.statistics.level import LevelSummary
from harness.verdict.judge import JudgedRun, judge_run

ROOT = Path(__file__).parents[2]
SCENARIOS = sorted((ROOT / "scenarios").glob("*.toml"))
MIB = 2**20


@dataclass(frozen=True)
class Seen:
    """A run of a shipped scenario."""

    scenario: Scenario
    judged: JudgedRun
    observations: Sequence[Observation]

    def level(self, label: str) -> LevelSummary:
        return next(level for level in self.judged.summary.levels if level.level == label)

    def value(self, label: str, metric: str) -> float:
        value = self.level(label).metric(metric).value
        assert value is not None, f"{metric} was not measured"
        return value

    @property
    def ok(self) -> list[Observation]:
        return [o for o in self.observations if o.outcome is Outcome.OK]


def as_it_is(scenario: Scenario) -> Scenario:
    """Nothing in it is scaled but what the options say."""
    return scenario


def see(name: str, folder: Path, *, scaled: Callable[[Scenario], Scenario] = as_it_is, **options: object) -> Seen:
    """Run a shipped scenario with its own limits; whatever it is about, no result may be wrong or missing."""
    path = ROOT / "scenarios" / f"{name}.toml"
    plan = prepare(path, Options(reports=folder, baselines=ROOT / "baselines", **options), command="test")  # type: ignore[arg-type]
    plan = replace(plan, scenario=scaled(plan.scenario))
    with LiveProgress(Console(file=io.StringIO())) as progress:
        run_dir = execute(plan, progress, Interrupt())
    damage = Damage()
    lines = list(read_journal(run_dir / "journal.jsonl", damage))
    assert damage == Damage()
    seen = Seen(plan.scenario, judge_run(run_dir), [line for line in lines if isinstance(line, Observation)])
    for level in seen.judged.summary.levels:
        assert level.status == "complete", level.message
        for never in ("corrupted", "lost", "duplicates", "unfinished"):
            assert seen.value(level.level, never) == 0
    assert len({o.id for o in seen.observations}) == len(seen.observations)
    return seen


def in_flight_peak(observations: Sequence[Observation]) -> int:
    """Most workflows between start and end at any moment."""
    edges = [(o.started, 1) for o in observations if o.started is not None and not o.rejected]
    edges += [(o.ended, -1) for o in observations if o.started is not None and o.ended is not None and not o.rejected]
    peak = now = 0
    for _, change in sorted(edges):
        now += change
        peak = max(peak, now)
    return peak


def overlap(steps: Sequence[StepRecord], names: Sequence[str]) -> bool:
    """Whether all of these steps were running at one moment."""
    chosen = [step for step in steps if step.name in names]
    assert len(chosen) == len(names)
    return max(step.started for step in chosen) < min(step.ended for step in chosen)


def follows(observations: Sequence[Observation], shape: str) -> None:
    """Every step ran, once, and only after everything it needs."""
    for observation in observations:
        steps = {step.name: step for step in observation.steps}
        assert sorted(steps) == sorted(step.name for step in SHAPES[shape])
        assert len(observation.steps) == len(steps)
        for step in SHAPES[shape]:
            assert steps[step.name].agent == step.agent
            for need in step.needs:
                assert steps[need].ended <= steps[step.name].queued


def concurrent_workflows(folder: Path) -> None:
    seen = see("concurrent_workflows", folder, warmup_s=0.0, measure_s=2.5, time_scale=0.2)
    for level in (10, 25, 50):
        mine = [o for o in seen.observations if o.level == str(level)]
        assert in_flight_peak(mine) == level
        assert {o.kind for o in mine} == {"sequential", "supervisor", "enterprise", "fan-out"}
        assert all(o.outcome is Outcome.OK for o in mine)
        assert seen.value(str(level), "rss_peak") > 10 * MIB
        assert seen.value(str(level), "cpu") > 0
    calls = every_finding_came_from_a_model(seen)
    assert {call.api for call in calls} == {"openai.chat", "openai.responses", "anthropic.messages"}
    assert {call.agent for call in calls if call.stream} == {"reporting"}
    assert set(seen.level("50").agents) == set(seen.scenario.agent)


def concurrent_workflows_weekly(folder: Path) -> None:
    seen = see("concurrent_workflows_weekly", folder, levels=("10",), warmup_s=0.0, measure_s=1.0, time_scale=0.2)
    plan = prepare(ROOT / "scenarios" / "concurrent_workflows.toml", Options(baselines=ROOT / "baselines"), command="")
    assert seen.scenario.workflow == plan.scenario.workflow
    assert seen.scenario.agent == plan.scenario.agent
    assert seen.scenario.load.until_ok == 2000
    assert seen.ok


def mixed_burst(folder: Path) -> None:
    seen = see("mixed_burst", folder, measure_s=4.5)
    assert Counter(o.kind for o in seen.ok) == {"simple": 20, "complex": 15, "data-intensive": 10, "optimization": 5}
    moments = Counter(round(o.intended, 6) for o in seen.observations)
    assert sorted(moments.values()) == [10] * 5


def cpu_contention(folder: Path) -> None:
    seen = see("cpu_contention", folder, warmup_s=1.0, measure_s=6.0)
    assert in_flight_peak(seen.observations) == 20
    assert seen.value("20", "cpu_per_workflow") > 0.12  # 150 ms each, less what began before the window
    waited = [step.ended - step.started for o in seen.ok for step in o.steps if step.agent == "optimization"]
    assert sorted(waited)[len(waited) // 2] > 0.18  # twice what it burns: it had to share the core


def memory_contention(folder: Path) -> None:
    seen = see("memory_contention", folder, warmup_s=0.5, measure_s=4.0)
    assert in_flight_peak(seen.observations) == 15
    largest = max(agent.work.memory for agent in seen.scenario.agent.values())
    assert seen.value("15", "rss_spread") > 2 * largest


def contention(folder: Path) -> None:
    seen = see("contention", folder, warmup_s=0.5, measure_s=6.0)
    assert in_flight_peak(seen.observations) == 35
    assert {o.kind for o in seen.ok} == {"cpu-heavy", "memory-heavy"}
    assert seen.value("35", "cpu") > 0.4
    assert seen.value("35", "rss_spread") > 32 * MIB


def memory_pattern(folder: Path) -> None:
    seen = see("memory_pattern", folder)
    assert len(seen.ok) == 30
    assert len({round(o.intended, 6) for o in seen.observations}) == 3
    assert seen.value("30", "rss_spread") > 64 * MIB
    assert seen.value("30", "rss_end") < seen.value("30", "rss_peak") - 32 * MIB  # given back


def cpu_pattern(folder: Path) -> None:
    seen = see("cpu_pattern", folder, warmup_s=0.0, measure_s=6.0)
    starts = [o.intended for o in seen.observations]
    gaps = {round(b - a, 6) for a, b in itertools.pairwise(starts)}
    assert max(gaps) == pytest.approx(1 / 6, abs=1e-5)
    assert min(gaps) == pytest.approx(1 / 6, abs=1e-5)
    assert in_flight_peak(seen.observations) <= 25
    assert seen.value("6/s", "cpu_per_workflow") > 0.08  # 100 ms each, less what the window cut off


def pool_exhaustion(folder: Path) -> None:
    seen = see("pool_exhaustion", folder, warmup_s=1.5, measure_s=4.0)
    assert in_flight_peak(seen.observations) == 75
    assert seen.value("75", "agent.data.pool_use") >= 0.9
    assert seen.value("75", "agent.data.wait_p50") > 0.25  # longer than the work itself
    assert seen.value("75", "agent.triage.wait_p95") < 0.05
    assert seen.value("75", "success") == 1.0


def capacity_closed(folder: Path) -> None:
    seen = see("capacity_closed", folder, warmup_s=1.0, measure_s=3.0)
    assert seen.value("60", "agent.data.pool_use") >= 0.9  # what gives out
    assert seen.value("60", "agent.triage.pool_use") < 0.5
    assert seen.value("60", "success") == 1.0


def regression(folder: Path) -> None:
    seen = see("regression", folder, warmup_s=0.5, measure_s=3.0)
    waits, cpu_s = 0.04, 0.007
    assert seen.value("5", "p50") >= waits
    assert seen.value("5", "cpu_per_workflow") >= cpu_s
    assert {agent: seen.value("5", f"agent.{agent}.busy") for agent in ("triage", "data", "optimization")} == (
        pytest.approx({"triage": 0.011, "data": 0.024, "optimization": 0.012}, rel=3.0)
    )
    assert 0 < seen.value("5", "orchestration_p50") < seen.value("5", "p50")
    [level] = seen.judged.summary.levels
    assert len([block for block in level.blocks if block.n]) == 20


def queue_overflow(folder: Path) -> None:
    def quicker(scenario: Scenario) -> Scenario:  # still far longer than all 110 need to arrive
        work = {name: replace(agent, work=replace(agent.work, wait=1.5)) for name, agent in scenario.agent.items()}
        return replace(scenario, agent=work)

    seen = see("queue_overflow", folder, scaled=quicker, measure_s=2.0)
    rejected = [o for o in seen.observations if o.rejected]
    assert len(seen.observations) == 110
    assert len(rejected) == 50
    assert {o.queue_depth for o in rejected} == {50}
    assert {o.message for o in rejected} == {"admission queue full at depth 50"}
    assert all(o.outcome is Outcome.NOT_STARTED and o.retry_after_s > 0 and not o.steps for o in rejected)
    assert len(seen.ok) == 60
    assert seen.value("110", "queue_depth_peak") == 50


def chain_sequential(folder: Path) -> None:
    follows(see("chain_sequential", folder, warmup_s=0.0, measure_s=1.0).ok, "sequential")


def chain_supervisor(folder: Path) -> None:
    seen = see("chain_supervisor", folder, warmup_s=0.0, measure_s=1.0)
    follows(seen.ok, "supervisor")
    assert all(overlap(o.steps, ("triage", "data", "optimization")) for o in seen.ok)


def chain_enterprise(folder: Path) -> None:
    seen = see("chain_enterprise", folder, warmup_s=0.0, measure_s=1.5)
    follows(seen.ok, "enterprise")
    assert set(seen.level("10").agents) == {"triage", "data", "optimization", "actions", "reporting"}


def fan_out(folder: Path) -> None:
    seen = see("fan_out", folder, warmup_s=0.0, measure_s=1.0)
    follows(seen.ok, "fan-out")
    assert all(overlap(o.steps, [f"data-{n}" for n in range(1, 5)]) for o in seen.ok)


def soak(folder: Path) -> None:
    seen = see("soak", folder, warmup_s=0.5, measure_s=4.0)
    original = prepare(ROOT / "scenarios" / "soak.toml", Options(baselines=ROOT / "baselines"), command="")
    assert original.scenario.load.measure >= 600
    [level] = seen.judged.summary.levels
    assert level.metric("rss_spread").n > 20
    assert seen.ok


def open_poisson(folder: Path) -> None:
    seen = see("open_poisson", folder, levels=("20/s",), warmup_s=0.5, measure_s=4.0)
    starts = sorted(o.intended for o in seen.observations)
    planned = list(Poisson(20.0, 4.5).arrivals(Random(seed_of(seen.scenario.seed, "arrivals/20/s"))))
    begun = starts[0] - planned[0]
    assert [start - begun for start in starts] == pytest.approx(planned, abs=1e-6)  # blind to replies
    assert all(o.started is not None and o.started >= o.intended for o in seen.ok)


def capacity_open(folder: Path) -> None:
    seen = see("capacity_open", folder, warmup_s=0.5, measure_s=2.0)
    assert seen.value("60/s", "success") == 1.0
    assert seen.value("60/s", "agent.data.pool_use") > seen.value("60/s", "agent.triage.pool_use")  # what gives out


def arrivals_by_step(seen: Seen, steps: int) -> list[int]:
    """How many of the measured arrivals were due in each of so many equal parts of measure."""
    load = seen.scenario.load
    measured = [o.intended for o in seen.observations if o.phase is Phase.MEASURE]
    begun = min(o.intended for o in seen.observations if o.phase is Phase.WARMUP) // 1e-9 * 1e-9
    first = min(begun + load.warmup, min(measured))
    counts = Counter(min(steps - 1, int((at - first) / load.measure * steps)) for at in measured)
    return [counts[step] for step in range(steps)]


def spike(folder: Path) -> None:
    seen = see("spike", folder, levels=("50/s",), warmup_s=0.5, measure_s=5.0)
    counts = arrivals_by_step(seen, 5)
    assert counts[2] > 2 * max(counts[:2] + counts[3:])
    assert seen.value("50/s", "success") == 1.0


def ramp(folder: Path) -> None:
    seen = see("ramp", folder, levels=("50/s",), warmup_s=0.5, measure_s=5.0)
    counts = arrivals_by_step(seen, 10)
    assert sum(counts[5:]) > 1.8 * sum(counts[:5])  # 400 % of shares against 150 %
    assert seen.value("50/s", "success") == 1.0


def canary(folder: Path) -> None:
    seen = see("canary", folder, warmup_s=0.2, measure_s=2.5)
    assert seen.judged.verdict.word == "failed: limit"
    assert seen.judged.verdict.exit_code == 1
    assert seen.judged.verdict.failed == ('limits."10".p50',)


def crashes(run_dir: Path) -> list[CrashFired]:
    """The crash points that fired, in order."""
    return [
        msgspec.json.decode(line, type=CrashFired) for line in (run_dir / "crashes.jsonl").read_bytes().splitlines()
    ]


def went_right(seen: Seen) -> None:
    """Every arrival succeeded, and the witness has nothing to say against it."""
    assert len(seen.ok) == len(seen.observations), Counter(o.error_class for o in seen.observations)
    for level in seen.judged.summary.levels:
        for never in ("dup_effects", "zombie_effects", "effects_missing"):
            assert seen.value(level.level, never) == 0


def state_recovery(folder: Path) -> None:
    seen = see("state_recovery", folder, levels=("25",), warmup_s=0.5, measure_s=30.0)
    went_right(seen)
    crash = seen.scenario.crash
    assert crash is not None
    fired = crashes(seen.judged.run_dir)
    assert [(each.how, each.point) for each in fired] == [
        *(("kill", point) for point in crash.kill),
        *(("pause", point) for point in crash.pause),
    ]
    assert len({each.pid for each in fired}) == len(fired)
    assert seen.value("25", "taken_up") >= len(fired)


def state_shared_context(folder: Path) -> None:
    seen = see("state_shared_context", folder, levels=("25",), warmup_s=0.2, measure_s=3.0)
    went_right(seen)
    assert seen.value("25", "lost_updates") == 0
    history = (seen.judged.run_dir / "history.jsonl").read_bytes()
    assert all(f'"key":"{name}"'.encode() in history for name in seen.scenario.shared)


def state_hot_key(folder: Path) -> None:
    seen = see("state_hot_key", folder, levels=("50",), warmup_s=0.2, measure_s=3.0)
    assert len(seen.ok) == len(seen.observations)
    assert seen.value("50", "lost_updates") == 0
    assert seen.value("50", "conflicts") > len(seen.ok) / 10  # they really were in each other's way


def state_ttl(folder: Path) -> None:
    seen = see("state_ttl", folder, levels=("10",), warmup_s=0.2, measure_s=5.0)
    assert {o.outcome for o in seen.observations if o.kind == "live"} == {Outcome.OK}
    assert {(o.outcome, o.error_class) for o in seen.observations if o.kind == "stale"} == {
        (Outcome.FAILED, "state_expired")
    }


def state_fallback(folder: Path) -> None:
    def sooner(scenario: Scenario) -> Scenario:
        [outage] = scenario.outage
        return replace(scenario, outage=(replace(outage, at=1.0, lasts=3.0),))

    seen = see("state_fallback", folder, levels=("25",), warmup_s=0.5, measure_s=7.5, scaled=sooner)
    went_right(seen)
    degraded = [o for o in seen.ok if o.degraded == ("state_fallback",)]
    assert 0 < len(degraded) < len(seen.ok)
    assert seen.value("25", "provisional_writes") > 0
    assert seen.value("25", "promotions") >= 1
    assert seen.value("25", "diverged") == 0
    assert seen.value("25", "service.redis.down") > 0.1
    last = max(o.intended for o in seen.ok)
    assert all(not o.degraded for o in seen.ok if o.intended > last - 1.0)  # it is not latched


def state_consistency(folder: Path) -> None:
    seen = see("state_consistency", folder, levels=("10", "25"), warmup_s=0.2, measure_s=10.0)
    went_right(seen)
    assert [each.level for each in crashes(seen.judged.run_dir)] == ["10"] * 4 + ["25"] * 4
    assert {each.point for each in crashes(seen.judged.run_dir)} == {"between_stores", "after_checkpoint"}
    assert seen.value("25", "repairs") >= 1
    assert seen.value("25", "store_differences") == 0


def queue_redis(folder: Path) -> None:
    seen = see("queue_redis", folder, levels=("25",), warmup_s=0.5, measure_s=12.0)
    went_right(seen)
    assert len(crashes(seen.judged.run_dir)) == 3
    assert seen.value("25", "requeued") >= 1  # accepted, and killed before the stream knew
    assert seen.value("25", "queue_depth_peak") >= 25 - seen.scenario.orchestrator.slots - 1
    began = [(o.target_accepted, min(s.queued for s in o.steps)) for o in seen.ok if len(o.steps) == 3]
    calm = sorted(pair for pair in began if pair[0] is not None and pair[0] > crashes(seen.judged.run_dir)[-1].at + 3.0)
    assert len(calm) > 10
    overtaken = sum(later < earlier - 0.05 for (_, earlier), (_, later) in itertools.pairwise(calm))
    assert overtaken == 0, "the stream's order is the order of acceptance"


def calls_of(seen: Seen) -> list[LlmCall]:
    """What the provider wrote down."""
    lines = (seen.judged.run_dir / "calls.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=LlmCall) for line in lines]


def every_finding_came_from_a_model(seen: Seen) -> list[LlmCall]:
    """Each step of each successful workflow that asks a model has exactly one whole answer, to its last attempt."""
    calls = calls_of(seen)
    answered = Counter((call.workflow, call.step) for call in calls if call.complete)
    assert seen.ok
    asking = {name for name, agent in seen.scenario.agent.items() if agent.work.llm is not None}
    steps = [(o.id, step.name) for o in seen.ok for step in o.steps if step.agent in asking]
    assert steps
    assert all(answered[step] >= 1 for step in steps)
    for level in seen.judged.summary.levels:
        assert seen.value(level.level, "calls_missing") == 0
        assert 0 < seen.value(level.level, "overhead_p50") < seen.value(level.level, "target_p50")
        # A call's CPU time counts when it ends: in so short a window, more may count than was burnt in it.
        assert 0 < seen.value(level.level, "sdk_share") < 1.2
        assert seen.value(level.level, "cost_per_success") > 0
    return calls


def llm_openai(folder: Path) -> None:
    seen = see("llm_openai", folder, levels=("10",), warmup_s=0.0, measure_s=3.0)
    calls = every_finding_came_from_a_model(seen)
    asked = {(call.agent, call.api, call.stream) for call in calls}
    assert asked == {
        ("triage", "openai.chat", False), ("data", "openai.responses", False), ("optimization", "openai.chat", True)
    }  # fmt: skip
    assert seen.value("10", "ttft_p50") < seen.value("10", "llm_p95")
    assert seen.value("10", "amplification") == 1


def llm_anthropic(folder: Path) -> None:
    seen = see("llm_anthropic", folder, levels=("10",), warmup_s=0.0, measure_s=3.0)
    calls = every_finding_came_from_a_model(seen)
    assert {(call.agent, call.api, call.stream) for call in calls} == {
        (agent, "anthropic.messages", agent == "optimization") for agent in ("triage", "data", "optimization")
    }
    assert seen.value("10", "ttft_p50") < seen.value("10", "llm_p95")


def llm_rate_limited(folder: Path) -> None:
    # Ten users use up a full bucket too slowly for so short a run.
    seen = see("llm_rate_limited", folder, levels=("25",), warmup_s=1.0, measure_s=4.0)
    calls = every_finding_came_from_a_model(seen)
    admitted = [call.at for call in calls if call.status == 200]
    assert any(call.status == 429 for call in calls)
    length_s = max(admitted) - min(admitted)
    assert len(admitted) <= 20 * (length_s + 2.0) + 1, "the bucket holds two seconds of 1,200 a minute"
    attempts: dict[tuple[str, str], list[LlmCall]] = {}
    for call in calls:
        attempts.setdefault((call.workflow, call.step), []).append(call)
    assert max(map(len, attempts.values())) <= 8
    for tried in attempts.values():
        for refused, after in itertools.pairwise(tried):
            assert refused.retry_after_s is not None
            assert after.at - refused.at >= refused.retry_after_s - 0.002, "sooner than it was told"


FACTS: dict[str, Callable[[Path], None]] = {
    fact.__name__: fact
    for fact in (
        canary, capacity_closed, capacity_open, chain_enterprise, chain_sequential, chain_supervisor,
        concurrent_workflows, concurrent_workflows_weekly, contention, cpu_contention, cpu_pattern, fan_out,
        llm_anthropic, llm_openai, llm_rate_limited,
        memory_contention, memory_pattern, mixed_burst, open_poisson,
        pool_exhaustion, queue_overflow, queue_redis, ramp, regression, soak, spike, state_consistency,
        state_fallback,
        state_hot_key, state_recovery, state_shared_context, state_ttl,
    )
}  # fmt: skip


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_shipped_scenario_does_what_its_name_says(path: Path, tmp_path: Path) -> None:
    """A scenario without a fact of its own is not shipped."""
    FACTS[path.stem](tmp_path)


def test_the_canary_fails_the_command_by_name(tmp_path: Path) -> None:
    """A harness that cannot fail proves nothing: CI sees exit 1 and the name of exactly that limit."""
    words = ["run", "canary", "--measure", "2 s", "--warmup", "100 ms", "--json", "--reports", str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", "harness", *words], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["verdict"]["failed"] == ['limits."10".p50']


def test_every_fact_has_its_scenario() -> None:
    """No fact outlives the scenario it is about."""
    assert sorted(FACTS) == [path.stem for path in SCENARIOS]


def test_every_shipped_level_limits_the_median_and_both_tails() -> None:
    """p50, p95 and p99, of success and failure alike, for our own orchestrator or for all."""
    for path in SCENARIOS:
        plan = prepare(path, Options(baselines=ROOT / "baselines"), command="")
        assert plan.limits_path is not None, f"{path.stem} has no limits"
        limits = tomllib.loads(plan.limits_path.read_text())
        for level in plan.levels:
            named = {m for section in ("limits", "ours") for m in limits.get(section, {}).get(level.label, {})}
            assert {"p50", "p95", "p99"} <= named, f"{path.stem}, level {level.label}"
