"""Exact latencies by time block: the very values that the block quantiles were made of."""

from __future__ import annotations

import numpy as np
import pytest

from harness.observation.observation import Outcome, Phase
from harness.statistics.block_samples import SAMPLES_MAX, block_samples
from harness.statistics.level import LevelSummary
from harness.statistics.quantile import quantile
from harness.statistics.summary import summarise
from tests.conftest import RunBuilder

LATENCIES_S = np.random.default_rng(5).lognormal(-2, 0.5, 600)


@pytest.fixture
def varied(run: RunBuilder) -> RunBuilder:
    """600 workflows of different latency, 30 a block."""
    for number, latency_s in enumerate(LATENCIES_S):
        run.workflow(float(latency_s), intended=10.0 + number / 30)
    run.phases()
    run.resources()
    return run


def sampled(run: RunBuilder) -> tuple[LevelSummary, list[np.ndarray]]:
    """The first level, and its samples."""
    folder = run.write()
    [level, *_] = summarise(folder).levels
    return level, block_samples(folder / "journal.jsonl", level)


def test_block_quantiles_can_be_had_again_from_the_samples(varied: RunBuilder) -> None:
    """Of every block, to the seven digits of float32: samples and quantiles agree on where a block ends."""
    level, samples = sampled(varied)
    assert [len(block) for block in samples] == [block.n for block in level.blocks] == [30] * 20
    for block, found in zip(level.blocks, samples, strict=True):
        assert found.dtype == np.float32
        for share, value in ((0.5, block.p50), (0.95, block.p95), (0.99, block.p99)):
            assert quantile(found.astype(np.float64), share) == pytest.approx(value, rel=1e-6)


def test_every_latency_is_kept(varied: RunBuilder) -> None:
    """From the intended start, however late the workflow was sent."""
    varied.workflow(None, intended=15.0, started=17.0, ended=18.0)
    _, samples = sampled(varied)
    assert np.sort(np.concatenate(samples)) == pytest.approx(np.sort([*LATENCIES_S, 3.0]), rel=1e-6)


def test_what_has_no_latency_is_left_out(varied: RunBuilder) -> None:
    """Workflows of the warm-up, and those that were never started; a failure took its time, as in the quantiles."""
    varied.workflow(5.0, intended=1.0, phase=Phase.WARMUP)
    varied.workflow(0.0, Outcome.NOT_STARTED, error_class="in_flight_max")
    varied.workflow(7.0, Outcome.FAILED, error_class="broken")
    level, samples = sampled(varied)
    assert sum(map(len, samples)) == sum(block.n for block in level.blocks) == len(LATENCIES_S) + 1
    assert max(map(np.max, samples)) == pytest.approx(7.0)


def test_levels_are_told_apart(varied: RunBuilder) -> None:
    """Each has its own workflows, though they lie in one journal."""
    varied.levels = ("10", "20")
    varied.sound(100, level="20", latency_s=9.0)
    folder = varied.write()
    one, other = (block_samples(folder / "journal.jsonl", level) for level in summarise(folder).levels)
    assert sum(map(len, one)) == len(LATENCIES_S)
    assert {float(value) for block in other for value in block} == {9.0}
    assert sum(map(len, other)) == 100


def test_a_block_in_which_nothing_ended_is_empty(run: RunBuilder) -> None:
    """It keeps its place among the twenty."""
    run.workflow(1.0, intended=10.0)
    run.workflow(2.0, intended=29.99)
    run.phases()
    _, samples = sampled(run)
    assert [block.tolist() for block in samples] == [[1.0], *([[]] * 18), [2.0]]


def test_a_level_that_was_never_measured_has_none(run: RunBuilder) -> None:
    """No blocks, no samples."""
    run.phases(last="warmup")
    level, samples = sampled(run)
    assert (level.blocks, samples) == ((), [])


def test_very_many_are_thinned_evenly(varied: RunBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each block every n-th by size, so that the blocks' medians stay where they are."""
    assert SAMPLES_MAX == 100_000
    monkeypatch.setattr("harness.statistics.block_samples.SAMPLES_MAX", 200)
    level, samples = sampled(varied)
    assert [len(block) for block in samples] == [10] * 20
    whole = np.array_split(LATENCIES_S, 20)
    for block, found in zip(whole, samples, strict=True):
        assert found.tolist() == pytest.approx(np.sort(block)[1::3].tolist(), rel=1e-6)
    assert level.metric("ok").value == 600
