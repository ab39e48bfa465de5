"""What the gate decides in simulated noise: goals G1-G4 and G8-G10 of GATE.md, each beside what was measured.

    python tests/bench/gate.py [--trials 500]

The noise and the way to a decision are in `tests/statistics/gate_model.py`: the product's own functions decide, on
everything that it compares (p50, p95, shape, throughput, CPU, success). Rows with `p50, p95` leave out what is compared
besides them, as a run of less than 2,000 successes whose resources nobody watched. Intervals are exact, 95 %.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from harness.statistics.quantile import share_bounds
from harness.verdict.gate import decide
from tests.statistics.gate_model import Told, World, story, told
from tests.statistics.growth_model import is_leak_confirmed, is_leak_seen

SPREADS = (0.03, 0.08, 0.15)
LEAK = 6e6  # bytes a minute
STORED = 20
UP = math.log(1.1)
NULLS = 3  # times as many decisions where false alarms of one in a hundred are counted


def worlds() -> dict[str, World]:
    """What is simulated, by name."""
    found: dict[str, World] = {}
    for spread in SPREADS:
        quiet = World(spread)
        found |= {
            f"same {spread}": quiet,
            f"all {spread}": replace(quiet, slower=UP),
            f"p95 {spread}": replace(quiet, tail=UP),
            f"p95 strict {spread}": replace(quiet, tail=UP, margin=0.05),
            f"p95 +20 {spread}": replace(quiet, tail=math.log(1.2)),
            f"p95 few {spread}": replace(quiet, tail=UP, n=500),
            f"p95 alone {spread}": replace(quiet, tail=UP, only_latency=True),
            f"p95 alone strict {spread}": replace(quiet, tail=UP, only_latency=True, margin=0.05),
            f"same alone {spread}": replace(quiet, only_latency=True),
            f"machine up {spread}": replace(quiet, machine=math.log(1.2)),
            f"machine down {spread}": replace(quiet, machine=math.log(0.8)),
            f"lost {spread}": replace(quiet, lost=0.015),
        }
    return found


def simulated(job: tuple[str, World, int]) -> tuple[str, Told]:
    """One world's decisions, in a process of its own."""
    name, world, trials = job
    return name, told(world, trials, seed=1)


def row(label: str, goal: str, count: int, trials: int) -> None:
    """One share, with its interval."""
    low, high = (100 * bound for bound in share_bounds(count, trials, 0.025))
    print(f"{label:66} goal {goal:10} measured {100 * count / trials:5.1f} %   ({low:.1f}-{high:.1f}; n {trials})")


def rows(found: dict[str, Told]) -> None:
    """Every goal beside what was measured."""
    of = found.__getitem__
    for kind, title in (("same", "no change"), ("same alone", "no change, p50, p95")):
        for spread in SPREADS:
            each = of(f"{kind} {spread}")
            row(f"G1 {title}: false `regressed`, s_b {spread:.0%}", "<= 1 %", each.outcomes["regressed"], each.trials)
    for spread, goal in zip(SPREADS, (95, 95, 90), strict=True):
        each = of(f"all {spread}")
        row(f"G2 all latency +10 %: found, s_b {spread:.0%}", f">= {goal} %", each.outcomes["regressed"], each.trials)
    for kind, title, goals in (
        ("p95", "p95 +10 %, M 10 %", (90, 90, None)),
        ("p95 strict", "p95 +10 %, M 5 %", (95, 95, None)),
        ("p95 alone", "p95 +10 %, M 10 %, p50, p95", (90, 90, None)),
        ("p95 alone strict", "p95 +10 %, M 5 %, p50, p95", (95, 95, None)),
        ("p95 +20", "p95 +20 %, M 10 %", (99, 99, 99)),
    ):
        for spread, wanted in zip(SPREADS, goals, strict=True):
            each, goal_text = of(f"{kind} {spread}"), "" if wanted is None else f">= {wanted} %"
            row(f"G3 {title}: found, s_b {spread:.0%}", goal_text, each.outcomes["regressed"], each.trials)
    for kind, title in (("all", "all +10 %"), ("p95", "p95 +10 %"), ("p95 alone", "p95 +10 %, p50, p95"),
                        ("p95 few", "p95 +10 %, n 500")):  # fmt: skip
        for spread in SPREADS:
            each = of(f"{kind} {spread}")
            row(f"G4 {title}: passed all the same, s_b {spread:.0%}", "<= 6 %", each.passes(), each.trials)
    for way, title in (("up", "+20"), ("down", "-20")):
        for spread in SPREADS:
            each = of(f"machine {way} {spread}")
            label = f"G8 machine {title} %, and a step in the duet: `regressed`, s_b {spread:.0%}"
            row(label, "<= 2 %", each.outcomes["regressed"], each.trials)
    _success(found)
    _growth(max(each.trials for each in found.values()))
    for kind, title in (("same", "no change"), ("same alone", "no change, p50, p95")):
        for spread in SPREADS:
            each, goal_text = of(f"{kind} {spread}"), "<= 2" if spread <= 0.08 else ""
            alone = sum(each.alone.values()) / each.trials
            label = f"G10 {title}: extra runs a decision, s_b {spread:.0%}"
            print(f"{label:66} goal {goal_text:10} measured {each.extra_runs:5.2f}     (by history alone {alone:.0%})")


def _success(found: dict[str, Told]) -> None:
    for spread in SPREADS:
        same, lost = found[f"same {spread}"], found[f"lost {spread}"]
        for label, each, goal in (("99.5 -> 98 %", lost, ">= 80 %"), ("no change", same, "<= 1 %")):
            title = f"G9 success, {label}"
            row(f"{title}: alarm of the history, s_b {spread:.0%}", goal, each.alarms["success"], each.trials)
            row(f"{title}: `regressed` for it, s_b {spread:.0%}", goal, each.worse["success"], each.trials)


def _growth(trials: int) -> None:
    rng = np.random.default_rng(1)
    for leak, label, goal in ((LEAK, "6 MB/min in 10 min", ">= 99 %"), (0.0, "none", "<= 1 %")):
        seen = sum(is_leak_seen(rng, leak) for _ in range(trials))
        row(f"G9 leak, {label}: alarm of the history", goal, seen, trials)
        sure = sum(is_leak_confirmed(rng, leak) for _ in range(trials // 4))
        row(f"G9 leak, {label}: `regressed` by arms of 10 min", goal, sure, trials // 4)


def decision_cpu() -> Iterator[float]:
    """CPU seconds of steps 1 to 4 with 20 stored runs."""
    for seed in range(20):
        candidate, history = story(np.random.default_rng(seed), World(0.08, sittings=STORED))
        begun = time.process_time()
        decide(candidate, history)
        yield time.process_time() - begun


def main() -> None:
    """Print the rows."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--trials", type=int, default=250)
    given = arguments.parse_args()
    nulls = ("same", "machine")
    jobs = [(name, world, given.trials * (NULLS if name.startswith(nulls) else 1)) for name, world in worlds().items()]
    begun = time.monotonic()
    with ProcessPoolExecutor(2) as processes:
        rows(dict(processes.map(simulated, jobs)))
    label = f"G10 CPU of a decision on {STORED} stored runs, the slowest of 20"
    print(f"{label:66} goal {'< 1 s':10} measured {max(decision_cpu()):.3f} s")
    print(f"{sum(trials for _, _, trials in jobs):,} decisions in {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
