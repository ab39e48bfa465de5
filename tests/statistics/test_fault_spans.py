"""When faults were in place."""

from __future__ import annotations

from harness.statistics.fault_spans import episodes, fault_spans
from tests.statistics.outages import turns, whole


def test_a_span_runs_from_where_it_may_be_felt_to_where_it_is_gone() -> None:
    """`begins` comes before the act, `lifted` after it. The bite was seen 5 s later, so it was within 0.25 s."""
    [span] = fault_spans(turns(0, begins=10.0, began=10.5, bit=15.5, lifts=20.0, lifted=20.25))
    assert (span.fault, span.kind, span.bites) == (0, "redis.down", 3)
    assert (span.began, span.bit_since, span.bit, span.lifted) == (10.0, 15.25, 15.5, 20.25)


def test_a_bite_seen_at_once_may_have_been_while_it_was_being_broken() -> None:
    """Restarting a server takes seconds, and nobody looks meanwhile."""
    [span] = fault_spans(turns(0, begins=10.0, began=13.0, bit=13.0625, lifted=15.0))
    assert (span.bit_since, span.bit) == (10.0, 13.0625)


def test_a_fault_whose_writer_died_or_that_failed_half_way_may_have_been_felt() -> None:
    """Its last line says that it was about to act; it has no bite and no end."""
    for lines, why in ((turns(0, begins=10.0), ""), (turns(0, begins=10.0, failed=11.0), "no process")):
        [span] = fault_spans(lines)
        assert span.failed == why
        assert (span.began, span.bit_since, span.bit, span.lifted) == (10.0, None, None, None)
    assert fault_spans([]) == ()
    assert fault_spans(turns(0, lifted=3.0)) == ()


def test_faults_that_overlap_are_one_episode() -> None:
    """A chain is one, too; what begins when the other is gone is felt apart."""
    lines = [*whole(2, 14.0, 17.0), *whole(0, 10.0, 13.0), *whole(1, 12.0, 14.0), *whole(3, 16.0, 16.75)]
    first, second = episodes(fault_spans(lines))
    assert [span.fault for span in first.faults] == [0, 1]
    assert (first.began, first.bit, first.bit_since, first.lifted) == (10.0, 10.5, 10.25, 14.0)
    assert [span.fault for span in second.faults] == [2, 3]
    assert second.lifted == 17.0


def test_an_episode_with_a_fault_that_was_never_lifted_has_no_end() -> None:
    """Whatever began later belongs to it."""
    lines = [*turns(0, begins=10.0, began=10.0, bit=11.0), *whole(1, 20.0, 22.0)]
    [episode] = episodes(fault_spans(lines))
    assert ([span.fault for span in episode.faults], episode.lifted) == ([0, 1], None)
