"""What a lost worker left behind."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from harness.load.arrivals import Part, Poisson, Requests
from harness.load.crew.lost import UNSURE_S, Told, left_behind
from harness.observation.ids import ordinal_of
from harness.observation.observation import Observation, Opened, Outcome, Phase
from harness.scenario.scenario import Workflow

LEVEL = "50/s"
WORKFLOWS = (Workflow(kind="a", shape="sequential", weight=2), Workflow(kind="b", shape="sequential"))


def requests(part: Part) -> Requests:
    return Requests(7, LEVEL, WORKFLOWS, part)


def schedule(part: Part) -> list[tuple[float, Phase]]:
    return [(due, Phase.MEASURE) for due in part.cut(Poisson(50.0, 4.0).arrivals(Random(3)))]


@given(st.integers(1, 4), st.integers(0, 3), st.integers(0, 80), st.integers(0, 10))
def test_the_whole_part_is_accounted_for_once(count: int, index: int, ended: int, open_too: int) -> None:
    """Whatever it had told: each workflow of the part has one end, with the id, kind and seed that it was to have."""
    part = Part(index % count, count)
    due = schedule(part)
    drawn = requests(part)
    asked = [drawn.draw() for _ in due]
    ended, opened = min(ended, len(due)), min(open_too, max(0, len(due) - ended))
    lines: list[Observation | Opened] = [
        Observation(asked[n].id, asked[n].kind, LEVEL, Phase.MEASURE, asked[n].seed, due[n][0], Outcome.OK)
        for n in range(ended)
    ]
    lines += [
        Opened(asked[n].id, asked[n].kind, LEVEL, Phase.MEASURE, due[n][0], due[n][0])
        for n in range(ended, ended + opened)
    ]
    told = Told([*lines, *lines[-1:]], LEVEL, part)  # a line that came twice is one
    left = list(left_behind(told, requests(part), due, level=LEVEL, until=1.0, at=9.0))
    assert len(left) == len(due) - ended
    ends = {each.id: (each.kind, each.seed) for each in (*lines[:ended], *left) if isinstance(each, Observation)}
    assert ends == {each.id: (each.kind, each.seed) for each in asked}
    assert Counter(each.intended for each in left) == Counter(at for at, _ in due[ended:])


def test_what_may_have_been_sent_is_not_said_to_have_been_or_not() -> None:
    """Sent and unanswered, or due just after the last word: unknown. Due later: not started."""
    part = Part(0, 2)
    due = schedule(part)
    drawn = requests(part)
    first = drawn.draw()
    opened = Opened(first.id, first.kind, LEVEL, Phase.MEASURE, due[0][0], due[0][0] + 0.01, due[0][0] + 0.02)
    until = due[0][0] + 0.05
    left = list(left_behind(Told([opened], LEVEL, part), requests(part), due, level=LEVEL, until=until, at=9.0))
    assert left[0].id == first.id
    assert (left[0].outcome, left[0].accepted, left[0].censored) == (Outcome.UNKNOWN, due[0][0] + 0.02, True)
    for each in left[1:]:
        unsure = each.intended <= until + UNSURE_S
        assert each.outcome is (Outcome.UNKNOWN if unsure else Outcome.NOT_STARTED)
        assert (each.ended is None, each.started) == (not unsure, None)
    assert {each.error_class for each in left} == {"worker_lost"}
    assert {each.outcome for each in left} == {Outcome.UNKNOWN, Outcome.NOT_STARTED}


def test_of_closed_load_only_what_was_open_is_known() -> None:
    """There is no schedule: nobody knows what would have come."""
    part = Part(1, 3)
    drawn = requests(part)
    asked = [drawn.draw() for _ in range(3)]
    lines = [Opened(each.id, each.kind, LEVEL, Phase.MEASURE, 0.0, 0.0) for each in asked[1:]]
    left = list(left_behind(Told(lines, LEVEL, part), requests(part), (), level=LEVEL, until=1.0, at=2.0))
    assert [each.id for each in left] == [each.id for each in asked[1:]]
    assert [ordinal_of(each.id) for each in left] == [4, 7]


def test_other_parts_and_levels_are_left_alone() -> None:
    """They have their own end."""
    part = Part(0, 2)
    others = requests(Part(1, 2)).draw()
    own = requests(part).draw()
    lines = [
        Opened(others.id, others.kind, LEVEL, Phase.MEASURE, 0.0, 0.0),
        Opened(own.id, own.kind, "10", Phase.MEASURE, 0.0, 0.0),
    ]
    assert not list(left_behind(Told(lines, LEVEL, part), requests(part), (), level=LEVEL, until=1.0, at=2.0))
