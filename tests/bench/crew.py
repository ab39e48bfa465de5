"""What several load processes are worth, how late arrivals start, and how right a capacity is.

    python tests/bench/crew.py [--rounds 3] [--quick]

Lateness is told as a ratio to a pacer in C (`clock_nanosleep` to the same instants, nothing else), which runs right
after it on the same machine: what it is late by is the machine's own.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from load import fresh_bench, latency_s, print_rounds, quantile

from harness.load.arrivals import Poisson, seed_of
from harness.load.control import Crew
from harness.observation.observation import LoadCheck, Outcome, Phase
from harness.run.listening import Interrupt
from harness.run.plan import Options, prepare
from harness.scenario.scenario import Load, Workflow
from harness.sweep.sweeping import Sweep
from harness.verdict.objective import read_objective
from tests.load.crew.conftest import CrewBench
from tests.statistics.queues import erlang_c

RATES = (100.0, 1000.0, 3000.0)
PACER = r"""
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int main(void) {
    static double late[4000000];
    double due; size_t n = 0; struct timespec start, at, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    start.tv_sec += 1;
    while (fread(&due, sizeof due, 1, stdin) == 1 && n < 4000000) {
        long long ns = start.tv_sec * 1000000000LL + start.tv_nsec + (long long)(due * 1e9);
        at.tv_sec = ns / 1000000000LL; at.tv_nsec = ns % 1000000000LL;
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL)) {}
        clock_gettime(CLOCK_MONOTONIC, &now);
        late[n++] = (now.tv_sec - at.tv_sec) + (now.tv_nsec - at.tv_nsec) / 1e9;
    }
    fwrite(late, sizeof late[0], n, stdout);
    return 0;
}
"""
SHARE, PERIOD_US = 0.4, 10_000
SERVERS, SERVICE_S, BOUND_S = 8, 0.05, 0.25
QUEUE = f"""
import asyncio, random

class Queue:
    def __init__(self): self.places, self.rng = asyncio.Semaphore({SERVERS}), random.Random(11)
    async def start(self, services): pass
    async def run(self, request, watch):
        async with self.places:
            await asyncio.sleep(self.rng.expovariate(1 / {SERVICE_S}))
        return {{}}
    async def stop(self): pass
"""
SCENARIO = """
name = "known"
description = "A queue whose answer is known."
target = "python:known:Queue"
[load]
open = ["1/s"]
in_flight_max = 2000
warmup = "2 s"
measure = "{measure} s"
drain = "10 s"
[[workflow]]
kind = "job"
"""


@contextmanager
def pacer() -> Iterator[Path]:
    """The pacer, compiled."""
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "pacer.c", Path(folder) / "pacer"
        source.write_text(PACER)
        subprocess.run(["cc", "-O2", "-o", str(program), str(source)], check=True)
        yield program


def pacer_late_s(program: Path, rate: float, seconds: float) -> float:
    """The pacer's p99 of lateness for the same instants."""
    import numpy as np

    offsets = np.array(list(Poisson(rate, seconds).arrivals(Random(seed_of(1, f"arrivals/{rate:g}/s")))))
    ended = subprocess.run([str(program)], input=offsets.tobytes(), capture_output=True, check=True)
    return quantile(list(np.frombuffer(ended.stdout)), 0.99)


def our_late_s(rate: float, seconds: float) -> float:
    """Ours: a workflow's real start after its intended one."""
    with fresh_bench() as bench:
        bench.peer(uvloop=True)
        driven = bench.drive(Load(open=(rate,), warmup=0.0, measure=seconds, drain=5.0, in_flight_max=2000))
        return quantile([seen.started - seen.intended for seen in driven.observations if seen.started], 0.99)


@contextmanager
def held(share: float) -> Iterator[Callable[[], list[str]]]:
    """Makes beginnings of commands, each of which holds its process to this share of a core (cgroup, version 1 or 2).

    So three processes have enough of two cores, and what a second one adds can be seen. Raises OSError where no cgroup
    can be made.
    """
    first = Path("/sys/fs/cgroup/cpu")
    made: list[Path] = []

    def beginning() -> list[str]:
        folder = (first if first.is_dir() else first.parent) / f"bench-{os.getpid()}-{len(made)}"
        folder.mkdir()
        made.append(folder)
        quota_us = round(share * PERIOD_US)
        if first.is_dir():
            (folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (folder / "cpu.cfs_quota_us").write_text(str(quota_us))
        else:
            (folder / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
        return ["sh", "-c", f'echo $$ > {folder}/cgroup.procs && exec "$0" "$@"']

    try:
        yield beginning
    finally:
        for folder in made:
            folder.rmdir()


def several(bench: Any, size: int, beginning: Callable[[], list[str]] = list) -> Any:
    """The level of a bench, driven by so many."""
    crew = CrewBench(bench, Crew(here=size))
    for _ in range(size):
        crew.join(1, beginning())
    driven = crew.finish()
    crew.end()
    return driven


def throughput(size: int, seconds: float, beginning: Callable[[], list[str]] = list) -> tuple[float, float]:
    """Workflows a second that do nothing, by 64 users; and the load processes' CPU for each (s)."""
    with fresh_bench() as bench:
        bench.peer(uvloop=True)
        bench.write(Load(closed=(64,), warmup=1.0, measure=seconds, drain=5.0))
        driven = several(bench, size, beginning)
        cpu_s = sum(check.cpu or 0.0 for check in driven.of(LoadCheck) if check.users)  # a check covers a second
        ended = sum(seen.phase is Phase.MEASURE for seen in driven.observations)
        return ended / seconds, cpu_s / len(driven.observations)


def waiting(seconds: float) -> float:
    """10,000 workflows of 2 s at a time, from two: recorded p50 over 2 s, less 1."""
    with fresh_bench() as bench:
        bench.peer(median_s=2.0, sigma=0.0, uvloop=True)
        load = Load(open=(5000.0,), arrivals="constant", warmup=3.0, measure=seconds, drain=6.0, in_flight_max=14_000)
        bench.write(load, workflow=(Workflow(kind="simple", shape="sequential", deadline=30.0),))
        driven = several(bench, 2)
        measured = [seen for seen in driven.observations if seen.phase is Phase.MEASURE]
        assert all(seen.outcome is Outcome.OK for seen in measured)
        assert driven.done.arrivals == len(driven.observations)
        return quantile([latency_s(seen) for seen in measured], 0.5) / 2.0 - 1


def known_capacity() -> float:
    """The rate at which the p95 of an M/M/c queue's response is the bound (Gross et al., section 3.3)."""

    def beyond(rate: float) -> float:
        offered, decay = rate * SERVICE_S, math.exp(-BOUND_S / SERVICE_S)
        spread = SERVERS - 1 - offered
        waits = erlang_c(SERVERS, offered)
        if abs(spread) < 1e-9:
            return decay * (1 + waits * BOUND_S / SERVICE_S)
        return decay * (1 + waits * (1 - math.exp(-BOUND_S / SERVICE_S * spread)) / spread)

    low, high = 1.0, SERVERS / SERVICE_S - 1e-6
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if beyond(middle) <= 0.05 else (low, middle)
    return low


def capacity_error(measure_s: float) -> float:
    """A sweep of that queue in real time, one sitting: its capacity over the known one, less 1."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "known.py").write_text(QUEUE)
        path = Path(folder) / "known.toml"
        path.write_text(SCENARIO.format(measure=measure_s))
        slo = f"p95 < {BOUND_S * 1000:g} ms"
        _, found = Sweep(
            plan=prepare(path, Options(reports=Path(folder)), ""),
            objective=read_objective(slo),
            text=slo,
            most=220,
            sittings=1,
            interrupt=Interrupt(),
            tell=lambda _line: None,
        ).run()
        assert found.capacity is not None, found.why
        assert found.capacity.load is not None
        return found.capacity.load / known_capacity() - 1


def a_round(program: Path, seconds: float) -> dict[str, float]:
    """All measurements once."""
    late = {
        f"Poisson {rate:g}/s: p99 of lateness over the C pacer's, x  [5]": our_late_s(rate, seconds)
        / pacer_late_s(program, rate, seconds)
        for rate in RATES
    }
    one, one_cpu_s = throughput(1, seconds)
    two, two_cpu_s = throughput(2, seconds)
    try:
        with held(SHARE) as beginning:
            scaled = throughput(2, seconds, beginning)[0] / throughput(1, seconds, beginning)[0]
    except OSError as error:
        print(f"not measured, as no cgroup can be made here: load processes held to a share of a core ({error})")
        scaled = math.nan
    return {
        **late,
        "2 load processes over 1, x  [1.6, with a core for each and one for the host]": two / one,
        f"the same, each held to {SHARE:.0%} of a core, x  [1.6]": scaled,
        "their CPU a workflow, 2 over 1, x": two_cpu_s / one_cpu_s,
        "one load process of a crew, workflows a second": one,
        "10,000 waiting 2 s, 2 processes: p50 error, %  [1]": 100 * waiting(seconds),
        "capacity of a known M/M/c queue: error, %  [5]": 100 * capacity_error(4 * seconds),
    }


def main() -> None:
    """Rounds, and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of each measurement")
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it works")
    arguments = parser.parse_args()
    rounds, seconds = (1, 2.0) if arguments.quick else (arguments.rounds, arguments.seconds)
    with pacer() as program:
        print_rounds([a_round(program, seconds) for _ in range(rounds)])


if __name__ == "__main__":
    main()
