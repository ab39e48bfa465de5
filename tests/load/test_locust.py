"""Locust by hand: its own command over our locustfile, and its statistics."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

import harness.load
from harness.observation.observation import Outcome, Phase, PhaseMark
from harness.scenario.scenario import Load

LOCUSTFILE = Path(harness.load.__file__).parent / "locustfile.py"


def locust(serve: Path | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Locust's command, headless."""
    environment = {name: value for name, value in os.environ.items() if name != "HARNESS_SERVE"}
    if serve is not None:
        environment["HARNESS_SERVE"] = str(serve)
    return subprocess.run(
        [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", *arguments],
        env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.fixture(scope="module")
def fed() -> Any:
    """What `feed.py` prints."""
    script = Path(__file__).parent / "feed.py"
    return json.loads(subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True).stdout)


def test_bulk_feeding_gives_the_statistics_that_locusts_own_event_gives(fed: Any) -> None:
    """The same table and the same errors, sample for sample."""
    bulk, single, *_ = fed
    assert bulk == single
    assert bulk["entries"]["total"][0] == 3000


def test_the_person_watching_is_told_of_unknown_ends_and_of_the_tail(fed: Any) -> None:
    """Unknown ends are a part of the failed ones; percentiles are right to 1 %."""
    *_, progress, truth = fed
    count, times_s = Counter(truth["outcomes"]), truth["times_s"]
    assert (progress["ok"], progress["unknown"], progress["not_started"]) == (
        count["ok"], count["unknown"], count["not_started"],
    )  # fmt: skip
    assert progress["failed"] == count["failed"] + count["unknown"]
    for name, share in (("p50_s", 0.50), ("p95_s", 0.95), ("p99_s", 0.99)):
        assert progress[name] == pytest.approx(times_s[math.ceil(share * len(times_s)) - 1], rel=0.011)


def test_a_scenario_can_be_driven_by_hand(bench: Any) -> None:
    """Five users for two seconds: all counted as measured, each once, in Locust's table and in the journal alike."""
    peer = bench.peer(median_s=0.05)
    bench.write(Load(closed=(10,)))
    serve = bench.folder / "serve.json"
    serve.write_bytes(msgspec.json.encode(bench.config()))
    ended = locust(serve, "-u", "5", "-r", "5", "-t", "2s", "--json")
    truth = peer.end()
    lines = bench.journal()
    observations = [line for line in lines if type(line).__name__ == "Observation"]
    assert ended.returncode == 0, ended.stderr
    assert Counter(seen.id for seen in observations) == Counter(truth["ran"].keys())
    assert {(seen.outcome, seen.phase) for seen in observations} == {(Outcome.OK, Phase.MEASURE)}
    assert truth["in_flight_max"] == 5
    assert [line.phase for line in lines if isinstance(line, PhaseMark)] == ["measure", "end"]
    [entry] = json.loads(ended.stdout)
    assert (entry["name"], entry["num_requests"]) == ("simple", len(observations))


def test_without_a_served_scenario_it_says_what_to_do() -> None:
    """The way out is in the message."""
    ended = locust(None)
    assert ended.returncode != 0
    assert "harness serve SCENARIO" in ended.stderr


def test_several_locust_processes_are_refused(bench: Any) -> None:
    """Their workflow ids would collide."""
    bench.write(Load(closed=(10,)))
    bench.socket = str(bench.folder / "none.sock")
    serve = bench.folder / "serve.json"
    serve.write_bytes(msgspec.json.encode(bench.config()))
    ended = locust(serve, "--master", "--expect-workers", "1", "-t", "1s")
    assert ended.returncode != 0
    assert "one Locust process only" in ended.stderr
