"""What the load side costs and how right its numbers are.

    python tests/bench/load.py [--rounds 5] [--quick]

Every round runs all four measurements, so that a machine whose speed changes within a minute changes it for all; the
table gives the median over the rounds with the lowest and the highest. The peer is `tests/load/peer.py`: a process of
its own that records when it really accepted and ended each workflow.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from harness.load.control import PhaseChanged
from harness.observation.observation import Observation, Outcome, Phase
from harness.scenario.scenario import Load, Workflow

LOAD_TESTS = Path(__file__).parent.parent / "load"
SHARES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def _bench_type() -> Callable[[Path], Any]:
    """The tests' own Bench: a run folder, a peer, a load process."""
    spec = importlib.util.spec_from_file_location("load_conftest", LOAD_TESTS / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    bench: Callable[[Path], Any] = module.Bench
    return bench


@contextmanager
def fresh_bench() -> Iterator[Any]:
    """A run folder for one measurement."""
    folder = Path(tempfile.mkdtemp(prefix="hb-"))
    bench = _bench_type()(folder)
    try:
        yield bench
    finally:
        bench.end()
        shutil.rmtree(folder)


def quantile(values: list[float], share: float) -> float:
    """The smallest value that at least this share does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


# Workflows a CPU second of the load process.


def ours_per_cpu_s(seconds: float, target: str) -> float:
    """50 closed users against a host that does nothing."""
    with fresh_bench() as bench:
        bench.peer(uvloop=True)
        bench.write(Load(closed=(50,), warmup=0.5, measure=seconds, drain=5.0), target=target)
        worker = bench.worker()
        process = psutil.Process(worker.pid)
        used = []
        for phase in ("measure", "drain"):
            worker.wait_for(lambda report, phase=phase: isinstance(report, PhaseChanged) and report.phase == phase)
            times = process.cpu_times()
            used.append(times.user + times.system)
        driven = worker.finish()
        count = sum(seen.phase is Phase.MEASURE for seen in driven.observations)
        return count / (used[1] - used[0])


def locust_per_cpu_s(seconds: float) -> float:
    """50 of Locust's HttpUser against an HTTP server that does nothing."""
    server = subprocess.Popen([sys.executable, __file__, "--role", "server"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        command = [sys.executable, __file__, "--role", "http-users", "--port", port, "--seconds", str(seconds)]
        out = subprocess.run(command, capture_output=True, text=True, check=True)
        return float(out.stdout)
    finally:
        server.kill()
        server.wait()


async def serve_nothing() -> None:
    """An HTTP server that answers every request with `{}`."""

    class Nothing(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(RESPONSE)

    server = await asyncio.get_running_loop().create_server(Nothing, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def run_http_users(port: int, seconds: float) -> None:
    """Plain Locust, as its manual shows it; prints requests a CPU second."""
    import gevent
    from locust import HttpUser, task
    from locust.env import Environment

    class Plain(HttpUser):
        host = f"http://127.0.0.1:{port}"

        @task
        def submit(self) -> None:
            self.client.post("/jobs", json={"id": "x"})

    environment = Environment(user_classes=[Plain])
    runner = environment.create_local_runner()
    runner.start(50, spawn_rate=50)
    gevent.sleep(1.0)
    requests, cpu_s = environment.stats.total.num_requests, time.process_time()
    gevent.sleep(seconds)
    print((environment.stats.total.num_requests - requests) / (time.process_time() - cpu_s))
    runner.quit()


# How right the numbers are.


def recorded_against_truth(seconds: float) -> dict[str, float]:
    """Lognormal run times of median 20 ms, 25 users: recorded quantile over the host's own, less 1."""
    with fresh_bench() as bench:
        peer = bench.peer(median_s=0.02, sigma=0.5, uvloop=True)
        driven = bench.drive(Load(closed=(25,), warmup=0.5, measure=seconds, drain=5.0))
        ran = peer.end()["ran"]
        measured = [seen for seen in driven.observations if seen.phase is Phase.MEASURE]
        latencies = [latency_s(seen) for seen in measured]
        truths = [ran[seen.id]["ended"] - ran[seen.id]["accepted"] for seen in measured]
        return {name: quantile(latencies, share) / quantile(truths, share) - 1 for name, share in SHARES.items()}


def stall_against_ideal(seconds: float) -> dict[str, float]:
    """Poisson 400/s, 20 ms, the host stands still for 1 s: recorded quantile over a generator's that is never late.

    The ideal has the same arrivals, the same drawn run times and the same stall, and no cost of its own.
    """
    with fresh_bench() as bench:
        peer = bench.peer(median_s=0.02, sigma=0.5, uvloop=True, stall_at_s=0.5 + seconds / 3, stall_s=1.0)
        load = Load(open=(400.0,), warmup=0.5, measure=seconds, drain=5.0, in_flight_max=2000)
        driven = bench.drive(load)
        truth = peer.end()
        begins, ends = truth["stalled"]

        def ideal_s(intended: float, run_s: float) -> float:
            started = ends if begins <= intended < ends else intended
            ended = started + run_s
            return (ends if begins <= ended < ends else ended) - intended

        measured = [seen for seen in driven.observations if seen.phase is Phase.MEASURE]
        latencies = [latency_s(seen) for seen in measured]
        ideals = [ideal_s(seen.intended, truth["ran"][seen.id]["drawn_s"]) for seen in measured]
        return {name: quantile(latencies, share) / quantile(ideals, share) - 1 for name, share in SHARES.items()}


def waiting_workflows(load: Load) -> float:
    """Workflows of exactly 2 s, 5,000 at a time: recorded p50 over 2 s, less 1."""
    with fresh_bench() as bench:
        bench.peer(median_s=2.0, sigma=0.0, uvloop=True)
        driven = bench.drive(load, workflow=(Workflow(kind="simple", shape="sequential", deadline=30.0),))
        measured = [seen for seen in driven.observations if seen.phase is Phase.MEASURE]
        assert all(seen.outcome is Outcome.OK for seen in measured)
        return quantile([latency_s(seen) for seen in measured], 0.5) / 2.0 - 1


def latency_s(seen: Observation) -> float:
    """From the intended start."""
    assert seen.ended is not None
    return seen.ended - seen.intended


def a_round(seconds: float) -> dict[str, float]:
    """All measurements once."""
    plain = locust_per_cpu_s(seconds)
    ours = ours_per_cpu_s(seconds, "python:no:op")
    checked = ours_per_cpu_s(seconds, "embedded")
    open_load = Load(
        open=(2500.0,), arrivals="constant", warmup=3.0, measure=seconds, drain=5.0, in_flight_max=6000
    )  # 2,500/s of 2 s each: 5,000 in flight
    waves = Load(closed=(5000,), warmup=3.0, measure=max(seconds, 4.0), drain=5.0)
    return {
        "HttpUser: requests a CPU second": plain,
        "ours: workflows a CPU second": ours,
        "ours over HttpUser, x  [reach 20]": ours / plain,
        "the same with every digest checked, x": checked / plain,
        **{f"25 users, 20 ms: {name} error, %  [1]": 100 * e for name, e in recorded_against_truth(seconds).items()},
        **{f"1 s stall: {name} error, %  [p99: 2]": 100 * e for name, e in stall_against_ideal(seconds).items()},
        "5,000 waiting 2 s, open: p50 error, %  [1]": 100 * waiting_workflows(open_load),
        "5,000 waiting 2 s, closed (in waves): p50 error, %": 100 * waiting_workflows(waves),
    }


def print_rounds(results: Sequence[dict[str, float]]) -> None:
    """The median of each measurement over the rounds, with the lowest and the highest."""
    width = max(len(name) for name in results[0]) + 3
    print(f"{f'median of {len(results)} round(s)':<{width}}{'median':>10}{'lowest':>10}{'highest':>10}")
    for name in results[0]:
        values = [result[name] for result in results]
        print(f"{name:<{width}}{statistics.median(values):>10.2f}{min(values):>10.2f}{max(values):>10.2f}")


def main() -> None:
    """Rounds, and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=12.0, help="length of each measurement")
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it works")
    parser.add_argument("--role", choices=["server", "http-users"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role == "server":
        import uvloop

        uvloop.run(serve_nothing())
    elif arguments.role == "http-users":
        run_http_users(arguments.port, arguments.seconds)
    else:
        rounds, seconds = (1, 3.0) if arguments.quick else (arguments.rounds, arguments.seconds)
        print_rounds([a_round(seconds) for _ in range(rounds)])


if __name__ == "__main__":
    main()
