"""A sweep of a real target whose capacity is known: four places, 40 ms each."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.run.listening import Interrupt
from harness.run.plan import Options, prepare
from harness.sweep.sweeping import CAPACITY_FILE, LEVELS_FOLDER, Sweep
from harness.verdict.capacity import Assessment
from harness.verdict.objective import read_objective

TARGET = """
import asyncio

class Four:
    def __init__(self): self.places = asyncio.Semaphore(4)
    async def start(self, services): pass
    async def run(self, request, watch):
        async with self.places:
            await asyncio.sleep(0.04)
        return {}
    async def stop(self): pass

four = Four()
"""
SCENARIO = """
name = "places"
description = "Four places."
target = "python:four:Four"
[load]
{load}
warmup = "100 ms"
measure = "700 ms"
drain = "5 s"
[[workflow]]
kind = "job"
"""


def swept(folder: Path, slo: str, *, most: int, load: str = "closed = [1]", sittings: int = 2) -> Assessment:
    """What a sweep of it says; its words are in `folder`."""
    (folder / "four.py").write_text(TARGET)
    (folder / "places.toml").write_text(SCENARIO.format(load=load))
    sweep = Sweep(
        plan=prepare(folder / "places.toml", Options(reports=folder), ""),
        objective=read_objective(slo),
        text=slo,
        most=most,
        sittings=sittings,
        interrupt=Interrupt(),
        tell=lambda _: None,
    )
    written, found = sweep.run()
    assert msgspec.json.decode((written / CAPACITY_FILE).read_bytes(), type=Assessment) == found
    assert (written / LEVELS_FOLDER).is_dir()
    return found


def test_the_load_that_an_objective_allows_is_found(tmp_path: Path) -> None:
    """Twice as many as there are places wait as long again: 8 at once take 80 ms, and so many are within 100 ms."""
    found = swept(tmp_path, "p50 < 100 ms", most=100, sittings=1)
    assert found.capacity is not None
    assert found.capacity.load is not None
    assert 4 <= found.capacity.load <= 16  # 10 on a quiet machine
    assert found.capacity.limited_by == "p50"
    assert (found.capacity.lower, found.capacity.upper) == (None, None)
    assert found.rig_rate is not None
    assert not found.is_ours
    assert {level.load for level in found.levels} >= {4, 8}


def test_one_that_never_gives_out_is_told_as_at_least(tmp_path: Path) -> None:
    """The sweep ended there."""
    found = swept(tmp_path, "p50 < 20 s", most=2, sittings=1)
    assert found.capacity is not None
    assert (found.capacity.load, found.capacity.at_least) == (2.0, True)


def test_a_level_is_measured_for_as_long_as_its_objective_needs(tmp_path: Path) -> None:
    """Ten arrivals a second are measured for longer than a hundred, and for a p95 longer than for a p50."""
    (tmp_path / "four.py").write_text(TARGET)
    (tmp_path / "places.toml").write_text(SCENARIO.format(load='open = ["1/s"]'))

    def seconds(slo: str, load: int) -> float:
        return Sweep(
            plan=prepare(tmp_path / "places.toml", Options(reports=tmp_path), ""), objective=read_objective(slo),
            text=slo, most=50, sittings=1, interrupt=Interrupt(), tell=lambda _: None,
        )._measure_s(load)  # fmt: skip

    assert seconds("p50 < 1 s", 10) == pytest.approx(1.3 * 20 / 10)
    assert seconds("p95 < 1 s", 10) == pytest.approx(1.3 * 80 / 10)
    assert seconds("p95 < 1 s", 1000) == pytest.approx(0.7)


def test_a_target_that_dies_is_no_level(tmp_path: Path) -> None:
    """Nothing is said of it but why."""
    (tmp_path / "broken.py").write_text("async def run(request, watch):\n    import os; os._exit(3)\n")
    (tmp_path / "places.toml").write_text(
        SCENARIO.format(load="closed = [1]").replace("python:four:Four", "python:broken:run")
    )
    plan = prepare(tmp_path / "places.toml", Options(reports=tmp_path), "")
    told: list[str] = []
    _, found = Sweep(
        plan=plan, objective=read_objective("p50 < 1 s"), text="p50 < 1 s", most=50, sittings=1,
        interrupt=Interrupt(), tell=told.append,
    ).run()  # fmt: skip
    assert found.capacity is None
    assert "ended (exit 3)" in found.why
    look = "sitting 1 of 1: the reference, which shows whether the machine changes"
    assert told == [look, "sitting 1 of 1: 2 at once", "sitting 1 of 1: 1 at once", look]


@pytest.mark.parametrize("stop_at", [2])
def test_an_interrupted_sweep_says_what_it_has(tmp_path: Path, stop_at: int) -> None:
    """Whatever was begun is not counted."""
    (tmp_path / "four.py").write_text(TARGET)
    (tmp_path / "places.toml").write_text(SCENARIO.format(load="closed = [1]"))
    interrupt = Interrupt()
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        if len(told) > stop_at:
            interrupt.asked.set()

    _, found = Sweep(
        plan=prepare(tmp_path / "places.toml", Options(reports=tmp_path), ""), objective=read_objective("p50 < 1 s"),
        text="p50 < 1 s", most=50, sittings=3, interrupt=interrupt, tell=tell,
    ).run()  # fmt: skip
    assert len(told) == stop_at + 1
    assert len(found.levels) == stop_at - 1  # the reference was looked at first
