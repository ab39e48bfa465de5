"""One state behind all views: what it keeps of the run's events, and what it lets go."""

from __future__ import annotations

import io

import msgspec
from rich.console import Console

from harness.load.control import PhaseChanged, Progress, Waiting
from harness.observation.manifest import LevelEnd
from harness.observation.observation import ProcessUse, ResourceSample
from harness.report.live import LiveProgress, line
from harness.report.watching.shown import Update
from harness.report.watching.state import COUNTED_MAX, POINTS_MAX, RunState


def progress(at: float, ok: int = 0, *, failed: int = 0, phase: str = "measure") -> Progress:
    """What a load process says twice a second."""
    return Progress(
        at=at, phase=phase, users=25, in_flight=7, ok=ok, failed=failed, not_started=0, unknown=failed, p50_s=0.5,
        p95_s=1.5, p99_s=2.5,
    )  # fmt: skip


def sample(at: float, cpu_s: float, level: str = "25") -> ResourceSample:
    """What the target had used by then."""
    use = ProcessUse(
        cpu_s=cpu_s, rss_bytes=2**27, fds=1, threads=1, switches_voluntary=1, switches_involuntary=1, processes=1
    )
    return ResourceSample(level, at, target=use)


def measuring(level: str = "25") -> RunState:
    """In the middle of a level."""
    state = RunState()
    state.scenario_began("some", 7)
    state.level_started(level, 0, 3)
    state.report(level, PhaseChanged("measure", 1.0, 21.0), None)
    return state


def whole(state: RunState) -> Update:
    """What a page that comes now is sent."""
    return msgspec.json.decode(state.update(None)[0], type=Update)


def test_a_report_is_what_the_views_show() -> None:
    """Time left from the phase, CPU from two samples, ends a second from two reports."""
    state = measuring()
    state.report("25", progress(2.0, 10), sample(2.0, 1.0))
    state.report("25", progress(4.0, 30, failed=4), sample(4.0, 1.5))
    assert (state.now.left_s, state.now.cpu, state.now.rss_bytes) == (17.0, 0.25, 2**27)
    first, second = whole(state).points
    assert (first.ok_rate, first.cpu) == (None, None)
    assert (second.ok_rate, second.failed_rate, second.cpu) == (10.0, 2.0, 0.25)


def test_the_counts_of_another_phase_are_no_rate() -> None:
    """Measure counts from nothing again, so the first point of it has none; nor has that of another level."""
    state = measuring()
    state.report("25", progress(1.0, 50, phase="warmup"), None)
    state.report("25", progress(2.0, 1), None)
    state.report("25", progress(3.0, 2, phase="drain"), None)
    state.level_started("50", 1, 3)
    state.report("50", progress(4.0, 9, phase="drain"), None)
    assert [point.ok_rate for point in whole(state).points] == [None, None, 1.0, None]


def test_a_sample_of_the_level_before_says_nothing_of_this_one() -> None:
    """The newest sample may be older than the level."""
    state = measuring()
    state.report("25", progress(1.0), sample(0.9, 40.0, level="10"))
    assert state.now.cpu_s is None
    assert state.now.rss_bytes is None


def test_a_long_run_keeps_its_lines_within_bounds() -> None:
    """From the first to the newest point, ever coarser; and no number twice."""
    state = measuring()
    for number in range(5 * POINTS_MAX):
        state.report("25", progress(number / 2, number), None)
    points = whole(state).points
    assert POINTS_MAX / 2 <= len(points) <= POINTS_MAX
    assert points[-1].number == 5 * POINTS_MAX
    assert points[0].number == 1
    assert len({point.number for point in points}) == len(points)


def test_many_levels_keep_their_counts_within_bounds() -> None:
    """The oldest go first."""
    state = RunState()
    for number in range(COUNTED_MAX + 5):
        state.level_started(str(number), 0, 1)
        state.report(str(number), progress(1.0, 1), None)
    counted, _ = state.counted()
    assert len(counted) == COUNTED_MAX
    assert [each.level for each in counted[:: COUNTED_MAX - 1]] == ["5", str(COUNTED_MAX + 4)]


def test_faults_are_spans_that_end_with_the_fault_or_with_the_level() -> None:
    """One that goes on while another comes stays one span."""
    state = measuring()
    for active in (["a"], ["a", "b"], ["b"]):
        state.faults_changed(active)
    assert state.now.faults == ("b",)
    assert [(span.kind, span.to_s is None) for span in whole(state).spans] == [("a", False), ("b", True)]
    state.level_ended(LevelEnd(level="25", status="complete"))
    assert state.now.faults == ()
    assert all(span.to_s is not None for span in whole(state).spans)
    assert state.counted()[1] == ["a", "b"]


def test_executions_are_told_apart() -> None:
    """A control arm runs the same levels again; its counts are not those of the run."""
    state = measuring()
    state.report("25", progress(1.0, 5), None)
    state.level_started("50", 1, 3)
    state.noted("the control arm")
    state.level_started("25", 0, 3)
    state.report("25", progress(1.0, 2), None)
    assert [(each.execution, each.level, each.ok) for each in state.counted()[0]] == [(1, "25", 5), (2, "25", 2)]
    assert state.now.note == "the control arm"


def test_a_level_that_is_over_stays_in_view() -> None:
    """With what it came to, and nothing in flight."""
    state = measuring()
    state.report("25", progress(2.0, 10), None)
    state.level_ended(LevelEnd(level="25", status="target_died", message="it did"))
    [ended] = whole(state).ended
    assert (ended.level, ended.status, ended.last.ok, ended.last.p95_s) == ("25", "target_died", 10, 1.5)
    assert (state.now.phase, state.now.in_flight) == ("", 0)


def test_the_terminal_s_line_is_a_view_of_the_same_state() -> None:
    """Phase, time left, what is broken, in flight, done, failed, percentiles, CPU and memory."""
    state = measuring()
    state.report("25", progress(2.0, 10, failed=1), sample(2.0, 1.0))
    state.report("25", progress(3.0, 20, failed=1), sample(3.0, 1.5))
    state.faults_changed(["redis.full"])
    assert line(state.now) == (
        "level 25 (1 of 3): measure, 18 s left · broken now: redis.full · 7 in flight · 20 ok · 1 failed · "
        "p50 500 ms, p95 1.5 s so far · CPU 50%, 128 MiB"
    )
    state.report("25", Waiting(1, 3, "10.0.0.1", 5557), None)
    assert line(state.now).endswith("1 of 3 load processes are here; for 2 more: harness worker --master 10.0.0.1:5557")


def test_the_terminal_feeds_the_state_that_it_is_given() -> None:
    """So that other views see what it sees."""
    state, out = RunState(), io.StringIO()
    with LiveProgress(Console(file=out, width=200), state) as shown:
        shown.level_started("25", 0, 1)
        shown.report("25", PhaseChanged("measure", 0.0, 9.0), None)
        shown.report("25", progress(1.0, 3), None)
        shown.faults_changed(["machine.cpu"])
        assert (state.now.ok, state.now.faults) == (3, ("machine.cpu",))
        shown.level_ended(LevelEnd(level="25", status="complete"))
    assert "level 25 (1 of 1): measure, 8 s left · 7 in flight · 3 ok" in out.getvalue()
    assert "level 25: complete" in out.getvalue()
