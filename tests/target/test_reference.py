"""The reference target is frozen: what it does for a seed, and what it rests on, never changes."""

from __future__ import annotations

import ast
import asyncio
import hashlib
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.target import reference
from harness.target.python import PythonTarget
from harness.target.reference import REFERENCE_VERSION, SPREAD, STEPS, WORKERS, spread
from harness.target.serving import WorkflowWatch
from harness.target.target import Services, WorkflowRequest, WorkflowResult

SOURCE = Path(reference.__file__)
SHA256 = "453ffce5318a3ff3dded909d999a781295d9343ebba0d70e214eef44e003bfba"
"""Of version 1. Never put another digest here without raising REFERENCE_VERSION: stored references would be compared
with what is not the same any more."""


def test_the_source_is_as_it_was_frozen() -> None:
    """An edit is a new version: every baseline then begins a new epoch."""
    assert REFERENCE_VERSION == 1
    assert hashlib.sha256(SOURCE.read_bytes()).hexdigest() == SHA256


def test_it_shares_nothing_with_what_is_under_test() -> None:
    """Standard library alone: neither the orchestrator nor anything else of this package, nor of others'."""
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(SOURCE.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or "."]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names


def run(*asked: tuple[int, float, int]) -> list[tuple[WorkflowResult, WorkflowWatch]]:
    """Workflows of (seed, wait_s, rounds), all at once, as the host runs them."""

    async def one(target: PythonTarget, seed: int, wait_s: float, rounds: int) -> tuple[WorkflowResult, WorkflowWatch]:
        watch = WorkflowWatch(asyncio.get_running_loop().time, Services())
        wanted = {"wait_s": wait_s, "rounds": rounds, "version": REFERENCE_VERSION}
        return await target.run(WorkflowRequest("w", "reference", seed, 30.0, wanted), watch), watch

    async def whole() -> list[tuple[WorkflowResult, WorkflowWatch]]:
        target = PythonTarget({"attribute": "harness.target.reference:Reference"})
        await target.start(Services())
        try:
            return await asyncio.gather(*(one(target, *each) for each in asked))
        finally:
            await target.stop()
            assert asyncio.all_tasks() == {asyncio.current_task()}

    return asyncio.run(whole())


def test_a_workflow_is_the_same_for_the_same_seed_and_work() -> None:
    """The digests are those of version 1, whatever ran beside it."""
    results = [result.digest for result, _ in run((7, 0.0, 1), (7, 0.001, 1), (8, 0.0, 1), (7, 0.0, 2))]
    assert results[0] == results[1]
    assert len(set(results)) == 3
    assert results[0] == "5e98d77146f3d936132ce9473470deb0"


def test_each_step_waits_for_its_part_as_the_seed_says() -> None:
    """Nobody waits less than was asked for, and the four are reported one after the other."""
    [(_, watch)] = run((7, 0.08, 1))
    assert [step[1] for step in watch.steps] == list(STEPS)
    for step in watch.steps:
        assert step[4] - step[3] >= 0.02 * spread(7, step[1]) * 0.999
    assert [step[5] for step in watch.steps] == ["ok"] * 4


def test_one_that_was_given_up_leaves_the_others_alone() -> None:
    """A worker that finds nobody waiting any more goes on with the next."""

    async def whole() -> WorkflowResult:
        target = PythonTarget({"attribute": "harness.target.reference:Reference"})
        await target.start(Services())
        watch = WorkflowWatch(asyncio.get_running_loop().time, Services())

        def start(seed: int, rounds: int) -> asyncio.Task[WorkflowResult]:
            wanted = {"wait_s": 0.0, "rounds": rounds}
            return asyncio.create_task(target.run(WorkflowRequest("w", "reference", seed, 30.0, wanted), watch))

        given_up = [start(seed, 500) for seed in range(WORKERS - 1)]
        await start(7, 1)  # by the worker that is left: the others are being worked on
        for task in given_up:
            task.cancel()
        found = await asyncio.gather(*given_up, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in found)
        result = await start(7, 1)
        await target.stop()
        return result

    assert asyncio.run(whole()).digest == run((7, 0.0, 1))[0][0].digest


@given(seed=st.integers(0, 2**63 - 1), step=st.sampled_from(STEPS))
def test_a_wait_is_spread_by_a_tenth_at_most(seed: int, step: str) -> None:
    """And the same for the same seed."""
    assert 1 - SPREAD <= spread(seed, step) <= 1 + SPREAD
    assert spread(seed, step) == spread(seed, step)


def test_waits_are_what_was_asked_for_on_average() -> None:
    """Evenly spread: over 2,000 seeds the mean is within 4 standard errors of 1."""
    drawn = [spread(seed, "read") for seed in range(2000)]
    assert sum(drawn) / len(drawn) == pytest.approx(1.0, abs=4 * SPREAD / 3**0.5 / 2000**0.5)
