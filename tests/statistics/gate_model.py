"""GATE.md's model of noise, and what the gate decides in it, through the product's own `decide` and `confirm`.

A workflow is four lognormal steps, some of them tried twice, under a load that comes and goes (AR(1), rho .95 from one
workflow to the next). In 15 % of runs a neighbour is busy for a part of the time. On all this lies the run's scale: a
part that everything in one sitting has in common (Student's t with 5 degrees of freedom, a share .8 of the variance),
a part of each process's own, and a drift of the machine from sitting to sitting.

The constants that GATE.md leaves open are chosen so that the p95 of 2,000 workflows does what it was measured to do
there: standard deviations of about 2.5 % in theory, 11 % as measured, 3.2 % by the median of 20 time blocks.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from harness.observation.duet import ARM_SHARE, ARM_WORKFLOWS, LOOKS
from harness.statistics.comparison import History, Observed, Pooled, pooled_spread
from harness.statistics.drift import reference_drifted
from harness.statistics.quantile import rank
from harness.statistics.reading import COMPARED, N_TAIL, BlockReading, Reading
from harness.verdict.gate import MARGIN, Decision, confirm, effect_of, standing_decision, too_blind

Floats = NDArray[np.float64]

BLOCKS = 20
STEPS, STEP_SIGMA, RETRIED = 4, 0.85, 0.03
LOAD_RHO, LOAD_SD = 0.95, 0.06
BURST_SHARE = 0.15
BURST_LENGTH = (0.05, 0.25)  # of a run
BURST_FACTOR = (1.6, 3.0)
SHARED = 0.8
DRIFT = 0.1  # from sitting to sitting, as a share of the spread
CPU_SD = 0.01
SUCCESS, SUCCESS_SD = 0.995, 0.0015  # a run's chance, and how much it varies between runs
POOL, BATCH = 1500, 250
SIBLINGS = 2
SHARES = (0.5, 0.95, 0.99)


# What a workflow, a run and a pair take.


def _load(rng: np.random.Generator, runs: int, n: int) -> Floats:
    """AR(1) from workflow to workflow; in chunks, within which it is a sum of powers."""
    chunk = math.gcd(n, 100)
    powers = LOAD_RHO ** np.arange(chunk)
    shocks = rng.normal(0, LOAD_SD * math.sqrt(1 - LOAD_RHO**2), size=(runs, n // chunk, chunk))
    load: Floats = np.cumsum(shocks / powers, axis=2) * powers
    last = rng.normal(0, LOAD_SD, size=runs)
    for place in range(n // chunk):
        load[:, place] += last[:, None] * LOAD_RHO * powers
        last = load[:, place, -1]
    return load.reshape(runs, n)


def _burst(rng: np.random.Generator, runs: int, n: int, a_run: int) -> Floats:
    """A neighbour who is busy for a while; `n` workflows are watched, of `a_run` a run."""
    lasts = rng.uniform(*BURST_LENGTH, size=runs) * a_run
    begins = rng.uniform(-lasts, n)
    here = rng.random(runs) < BURST_SHARE * (n + lasts) / (a_run * (1 + np.mean(BURST_LENGTH)))
    at = np.arange(n)
    inside = here[:, None] & (at >= begins[:, None]) & (at < (begins + lasts)[:, None])
    return inside * np.log(rng.uniform(*BURST_FACTOR, size=runs))[:, None]


@lru_cache(maxsize=1)
def _typical() -> tuple[float, float]:
    """Median and p90 of the logarithm of one workflow on a quiet machine."""
    found = np.quantile(_steps(np.random.default_rng(0), 1, 400_000), (0.5, 0.9))
    return float(found[0]), float(found[1])


def _steps(rng: np.random.Generator, runs: int, n: int) -> Floats:
    total = np.zeros((runs, n))
    for _ in range(STEPS):
        total += np.exp(STEP_SIGMA * rng.standard_normal((runs, n)))
        again = np.flatnonzero(rng.random(total.size) < RETRIED)
        total.flat[again] += np.exp(STEP_SIGMA * rng.standard_normal(len(again)))
    found: Floats = np.log(total)
    return found


def _latencies(rng: np.random.Generator, runs: int, a_run: int, tail: Floats) -> Floats:
    """Logarithms, in order of time, without the run's scale. `tail`, a workflow each, is the logarithm of what p95 is
    slower by, and the median is not: from there to the p90 it grows evenly."""
    n = len(tail)
    took = _steps(rng, runs, n)
    p50, p90 = _typical()
    slowed: Floats = took + tail * np.clip((took - p50) / (p90 - p50), 0, 1)
    return slowed + _load(rng, runs, n) + _burst(rng, runs, n, a_run)


class Runs(NamedTuple):
    """Many runs: logarithms of p50, p95, p99 of each block, and of the mean time of a workflow."""

    blocks: Floats  # run, block, quantile
    mean: Floats


class Arms(NamedTuple):
    """Many pairs of arms, the baseline first: logarithms of p50, p95, p99 of each arm, and of its mean."""

    quantiles: Floats  # pair, arm, quantile
    mean: Floats


def _quantiles(logs: Floats) -> Floats:
    """p50, p95 and p99 along the last axis, by nearest rank as in the product."""
    ranks = [rank(logs.shape[-1], share) - 1 for share in SHARES]
    return np.partition(logs, ranks, axis=-1)[..., ranks]


@lru_cache(maxsize=16)
def run_pool(n: int, tail: float = 0.0) -> Runs:
    """Runs of `n` workflows to draw from."""
    rng = np.random.default_rng([1, n, round(tail * 1e6)])
    found = []
    for _ in range(POOL // BATCH):
        logs = _latencies(rng, BATCH, n, np.full(n, tail))
        found.append((_quantiles(logs.reshape(BATCH, BLOCKS, -1)), np.log(np.exp(logs).mean(axis=1))))
    return Runs(*map(np.concatenate, zip(*found, strict=True)))


@lru_cache(maxsize=16)
def arm_pool(n: int, tail: float = 0.0) -> Arms:
    """Pairs of arms beside runs of `n` workflows; the second arm is the candidate, and has the tail.

    Both lie in one stretch of time, so that load and bursts go over from one to the other.
    """
    rng = np.random.default_rng([2, n, round(tail * 1e6)])
    length = max(ARM_WORKFLOWS, n // ARM_SHARE)
    found = []
    for _ in range(2 * POOL // BATCH):
        logs = _latencies(rng, BATCH, n, np.repeat((0.0, tail), length)).reshape(BATCH, 2, length)
        found.append((_quantiles(logs), np.log(np.exp(logs).mean(axis=2))))
    return Arms(*map(np.concatenate, zip(*found, strict=True)))


# What the gate is shown.


@dataclass(frozen=True)
class World:
    """A machine and its history, and in what the candidate differs. Changes of times are logarithms."""

    spread: float  # standard deviation between runs
    n: int = 2000
    sittings: int = 10
    margin: float = MARGIN
    slower: float = 0.0  # everything
    tail: float = 0.0  # p95 alone
    lost: float = 0.0  # of success, in shares
    machine: float = 0.0  # the candidate's machine is slower by it; and takes such a step within the duet
    only_latency: bool = False  # nobody watched throughput and CPU, and the tail has too few successes

    def shared(self, rng: np.random.Generator, count: int) -> Floats:
        """What everything in a sitting has in common, for so many sittings in a row."""
        walk = np.cumsum(rng.normal(0, DRIFT * self.spread, size=count))
        heavy: Floats = self.spread * math.sqrt(SHARED * 3 / 5) * rng.standard_t(5, size=count)
        return heavy + walk

    def own(self, rng: np.random.Generator, shape: int | tuple[int, int]) -> Floats:
        """What each process has for itself."""
        return rng.normal(0, self.spread * math.sqrt(1 - SHARED), size=shape)


def _failures(rng: np.random.Generator, n: int, chance: Floats) -> list[int]:
    found: list[int] = rng.binomial(n, 1 - np.clip(chance, 0, 1)).tolist()
    return found


def _chances(rng: np.random.Generator, count: int) -> Floats:
    concentration = SUCCESS * (1 - SUCCESS) / SUCCESS_SD**2 - 1
    return rng.beta(SUCCESS * concentration, (1 - SUCCESS) * concentration, size=count)


def _values(mean: float, scale: float, cpu: float) -> dict[str, float]:
    """Throughput of a closed load, and CPU time, which a slower machine takes more of."""
    return {"throughput": math.exp(-mean - scale), "cpu_per_workflow": math.exp(scale + cpu)}


def _run(pool: Runs, index: int, scale: float, cpu: float, n: int, failed: int) -> Reading:
    """A run of which exactly `n` succeeded."""
    per_block = n // BLOCKS
    rows = np.exp(pool.blocks[index] + scale).tolist()
    blocks = tuple(BlockReading(per_block, per_block, *row, None) for row in rows)
    values = _values(float(pool.mean[index]), scale, cpu)
    return Reading(arrivals=n + failed, ok=n, measure_s=60.0, blocks=blocks, values=values)


def _arm(pool: Arms, index: int, arm: int, scale: float, cpu: float, n: int, failed: int) -> Reading:
    p50, p95, p99 = np.exp(pool.quantiles[index, arm] + scale).tolist()
    values = _values(float(pool.mean[index, arm]), scale, cpu)
    quantiles = {"p50": p50, "p95": p95, "p99": p99}
    return Reading(arrivals=n + failed, ok=n, measure_s=6.0, blocks=(), quantiles=quantiles, values=values)


def runs_of(rng: np.random.Generator, world: World, machine: Floats, tail: float, chance: Floats) -> list[Reading]:
    """One run in each of so many sittings, on machines that are slower by `machine`."""
    pool, count = run_pool(world.n, tail), len(machine)
    index, scale = rng.integers(len(pool.mean), size=count), machine + world.own(rng, count)
    cpu, failed = rng.normal(0, CPU_SD, size=count), _failures(rng, world.n, chance)
    runs = [_run(pool, int(index[i]), float(scale[i]), float(cpu[i]), world.n, failed[i]) for i in range(count)]
    return [structs.replace(run, values={}, ok=min(run.ok, N_TAIL - 1)) for run in runs] if world.only_latency else runs


def story(rng: np.random.Generator, world: World) -> tuple[Observed, History]:
    """A candidate and its history, each with the frozen reference beside it."""
    k = world.sittings
    machine = world.shared(rng, k + 1)
    machine[-1] += world.machine
    chance = _chances(rng, k + 1)
    chance[-1] -= world.lost
    references = runs_of(rng, world, machine, 0.0, np.ones(k + 1))
    before = runs_of(rng, world, machine[:-1], 0.0, chance[:-1])
    [now] = runs_of(rng, world, machine[-1:] + world.slower, world.tail, chance[-1:])
    history = [[Observed(run, reference)] for run, reference in zip(before, references, strict=False)]
    return Observed(now, references[-1]), history


def duet(rng: np.random.Generator, world: World) -> list[tuple[Reading, Reading]]:
    """As many pairs as there may be. The machine's part is the same on both sides and left out, but for its step."""
    pool, count, n = arm_pool(world.n, world.tail), LOOKS[-1], max(ARM_WORKFLOWS, world.n // ARM_SHARE)
    index, scale = rng.integers(len(pool.mean), size=count), world.own(rng, (count, 2))
    scale[rng.integers(count), rng.integers(2)] += world.machine  # between the arms of one pair
    scale[:, 1] += world.slower
    cpu, chance = rng.normal(0, CPU_SD, size=(count, 2)), _chances(rng, count)
    failed = [_failures(rng, n, chance - lost) for lost in (0.0, world.lost)]
    arms = [
        [_arm(pool, int(index[i]), arm, float(scale[i, arm]), float(cpu[i, arm]), n, failed[arm][i]) for arm in (0, 1)]
        for i in range(count)
    ]
    return [(a, b) for a, b in arms]


@lru_cache(maxsize=64)
def siblings(world: World, number: int) -> dict[str, Pooled]:
    """What other scenarios on that machine say of its spread; one of many answers."""
    rng = np.random.default_rng([3, number])
    histories = [story(rng, world)[1] for _ in range(SIBLINGS)]
    found = {metric: pooled_spread(histories, metric) for metric in COMPARED}
    return {metric: pooled for metric, pooled in found.items() if pooled is not None}


# What the gate says.


class End(NamedTuple):
    """How one decision ended, and after how many pairs; 0: the history was enough."""

    decision: Decision
    history: Decision  # what the history said
    pairs: int


def is_alarm(decision: Decision, metric: str) -> bool:
    """Whether a metric is worse beyond doubt, and by enough; by its change, as a blind history accuses nobody."""
    change = decision.change(metric)
    return change is not None and change.lower > 0 and change.change > effect_of(metric)


def by_history(candidate: Observed, history: History, margin: float, pooled: dict[str, Pooled]) -> Decision:
    """Steps 3 and 4, as in a gated run: a history on a machine that drifted, or one that is blind, is not asked."""
    assert candidate.reference is not None
    stored = [run.reference for sitting in history for run in sitting if run.reference is not None]
    drifts = {metric: reference_drifted(candidate.reference, stored, metric) for metric in ("p50", "cpu_per_workflow")}
    why_not = [f"the reference's {metric} drifted" for metric, drift in drifts.items() if drift is not None]
    if (blind := too_blind(candidate, history, margin)) is not None:
        why_not.append(blind)
    return standing_decision(candidate, history, why_not, margin=margin, pooled=pooled)


def decided(rng: np.random.Generator, world: World) -> End:
    """One decision from its beginning to its end."""
    candidate, history = story(rng, world)
    healthy = replace(world, slower=0.0, tail=0.0, lost=0.0, machine=0.0)
    found = by_history(candidate, history, world.margin, siblings(healthy, int(rng.integers(20))))
    if found.outcome != "undecided":
        return End(found, found, 0)
    pairs = duet(rng, world)
    for look in LOOKS:
        decision = confirm(pairs[:look], found.undecided, margin=world.margin, last=look == LOOKS[-1])
        if decision.outcome != "undecided":
            return End(decision, found, look)
    raise AssertionError("the last look decides")


@dataclass
class Told:
    """What was said in so many decisions on one world."""

    trials: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    alone: Counter[str] = field(default_factory=Counter)  # said by the history alone
    worse: Counter[str] = field(default_factory=Counter)  # metrics of which the duet said so
    alarms: Counter[str] = field(default_factory=Counter)  # metrics of which the history said so
    pairs: int = 0

    def passes(self) -> int:
        """Decisions that found nothing worse."""
        return self.outcomes["pass"] + self.outcomes["improved"]

    @property
    def extra_runs(self) -> float:
        """What a decision cost beside the run itself, in runs: two arms of a fifth a pair."""
        return 2 * self.pairs / self.trials / ARM_SHARE


def told(world: World, trials: int, seed: int) -> Told:
    """So many decisions."""
    rng, found = np.random.default_rng([4, seed]), Told()
    for _ in range(trials):
        end = decided(rng, world)
        found.trials += 1
        found.outcomes[end.decision.outcome] += 1
        found.alone[end.decision.outcome] += not end.pairs
        found.worse.update(end.decision.worse)
        found.alarms.update(change.metric for change in end.history.changes if is_alarm(end.history, change.metric))
        found.pairs += end.pairs
    return found
