"""What judging costs: time and peak memory of `judge_run` over a million observations of three steps each.

With --calls, the first steps each called a model, so many in all, every tenth of them twice.
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from harness.observation import llm
from harness.observation.journal import Journal
from harness.observation.llm import LlmCall
from harness.observation.manifest import LevelEnd, Machine, Manifest
from harness.observation.observation import (
    HostUse,
    Observation,
    Outcome,
    Phase,
    PhaseMark,
    PoolUse,
    ProcessUse,
    ResourceSample,
    StepRecord,
)
from harness.scenario.scenario import Agent, Load, Scenario, Workflow

AGENTS = ("triage", "data", "optimization")
KINDS = ("sequential", "supervisor", "enterprise")
MEASURE_S = 1000.0
LIMITS = '[limits."10"]\nsuccess = ">= 80 %"\np95 = "< 30 s"\nrss_peak = "< 512 MiB"\n"agent.data.wait_p99" = "< 1 s"\n'


def write_run(folder: Path, count: int, calls: int = 0) -> None:
    """A run's folder with `count` workflows in one level, evenly spread over its measure phase."""
    scenario = Scenario(
        name="big",
        description="a bench",
        load=Load(closed=(10,), measure=MEASURE_S),
        workflow=tuple(Workflow(kind=kind, shape="sequential") for kind in KINDS),
        agent={agent: Agent() for agent in AGENTS},
    )
    (folder / "scenario.json").write_bytes(msgspec.json.encode(scenario))
    (folder / "limits.toml").write_text(LIMITS)
    machine = Machine(system="", cpu="", cores=2, memory_bytes=2**34, python="", versions={})
    Manifest(
        run_id="big", scenario="big", target="embedded", seed=1, started_at="", command="", levels=("10",),
        machine=machine, t0=0.0, finished=True, ended=(LevelEnd(level="10", status="complete"),),
    ).write(folder)  # fmt: skip
    _write_journal(folder / "journal.jsonl", count)
    _write_resources(folder / "resources.jsonl")
    if calls:
        _write_calls(folder / llm.FILE, count, calls)


def _write_journal(path: Path, count: int) -> None:
    rng = random.Random(1)
    with Journal(path) as journal:
        journal.note(PhaseMark("10", "measure", 0.0))
        for number in range(count):
            journal.ended(_workflow(number, MEASURE_S * number / count, rng))
            if number % 1000 == 0:
                journal.flush()
        journal.note(PhaseMark("10", "drain", MEASURE_S))
        journal.note(PhaseMark("10", "end", MEASURE_S + 10))


def _workflow(number: int, at: float, rng: random.Random) -> Observation:
    took = rng.lognormvariate(-1, 0.5)
    steps = tuple(
        StepRecord(agent, agent, at + took * place / 3, at + took * (place + 0.1) / 3, at + took * (place + 1) / 3,
                   Outcome.OK, 1, took / 4)
        for place, agent in enumerate(AGENTS)
    )  # fmt: skip
    return Observation(
        id=f"10-{number:07d}-5f3a9c",
        kind=KINDS[number % len(KINDS)],
        level="10",
        phase=Phase.MEASURE,
        seed=rng.getrandbits(63),
        intended=at,
        outcome=Outcome.OK,
        started=at + 1e-5,
        accepted=at + 2e-4,
        ended=at + took + 1e-3,
        target_accepted=at + 1e-4,
        target_started=at + 2e-4,
        target_ended=at + took,
        digest=f"{rng.getrandbits(128):032x}",
        steps=steps,
    )


def _write_calls(path: Path, count: int, calls: int) -> None:
    rng = random.Random(2)
    with path.open("wb") as file:
        for number in range(calls):
            repeated, asked = number % 10 == 0, number - (number % 10 == 1)
            workflow, agent = asked // len(AGENTS) % count, AGENTS[asked % len(AGENTS)]
            call = LlmCall(
                level="10", at=MEASURE_S * workflow / count + rng.random() / 10, api="openai.chat", model="some-model",
                workflow=f"10-{workflow:07d}-5f3a9c", agent=agent, step=agent, stream=number % 2 == 0,
                status=429 if repeated else 200, retry_after_s=0.01 if repeated else None, complete=not repeated,
                attempt=int(number % 10 == 1), ttft_s=rng.random() / 20, ended_s=0.05 + rng.random() / 10,
                input_tokens=300, output_tokens=60, cost_usd=1e-4, digest=f"{rng.getrandbits(128):032x}",
            )  # fmt: skip
            file.write(msgspec.json.encode(call) + b"\n")


def _write_resources(path: Path) -> None:
    with path.open("wb") as file:
        for number in range(round(MEASURE_S * 10)):
            at = number / 10
            use = ProcessUse(at / 2, 2**28, 20, 4, number * 100, number, 1)
            pools = {agent: PoolUse(10, 5, 0, at * 5, 0.0) for agent in AGENTS}
            host = HostUse(pools=pools, loop_lags_s=(0.001,) * 10)
            file.write(msgspec.json.encode(ResourceSample("10", at, use, use, host)) + b"\n")


def judge_once(folder: Path) -> None:
    """Print wall seconds, CPU seconds and peak MiB of judging, imports included."""
    begun = time.monotonic()
    from harness.verdict.judge import judge_run

    judged = judge_run(folder)
    wall_s, cpu_s = time.monotonic() - begun, time.process_time()
    assert judged.verdict.word == "pass", judged.verdict.sentences
    in_kibibytes = sys.platform != "darwin"  # macOS counts bytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if in_kibibytes else 1)
    print(wall_s, cpu_s, peak / 2**20)


def main() -> None:
    """Print the rows; each round in a process of its own, so that its peak memory is its own."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--count", type=int, default=1_000_000)
    arguments.add_argument("--calls", type=int, default=0)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--judge", type=Path, help="judge this folder once and print three numbers")
    given = arguments.parse_args()
    if given.judge:
        judge_once(given.judge)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_run(Path(folder), given.count, given.calls)
        command = [sys.executable, __file__, "--judge", folder]
        rounds = [
            [float(number) for number in subprocess.run(command, check=True, capture_output=True).stdout.split()]
            for _ in range(given.rounds)
        ]
    rows = (("wall time, s", "< 10"), ("CPU time, s", ""), ("peak memory, MiB", "< 1024"))
    for (name, aim), values in zip(rows, zip(*rounds, strict=True), strict=True):
        what = f"{given.count:,} observations" + (f", {given.calls:,} calls" if given.calls else "")
        label = f"judge {what}, {name}"
        print(f"{label:55} median {statistics.median(values):.4g}  ({min(values):.4g}-{max(values):.4g})  aim {aim}")


if __name__ == "__main__":
    main()
