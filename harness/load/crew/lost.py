"""What a worker left behind when it was lost: its part of the level, less what it had told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from harness.load.arrivals import Part, Requests
from harness.observation.ids import ordinal_of
from harness.observation.observation import JournalLine, Observation, Opened, Outcome, Phase
from harness.target.target import WorkflowRequest

UNSURE_S = 1.0
"""What was due within so long after a worker was last heard from, it may have sent: it tells ten times a second."""
ERROR_CLASS = "worker_lost"


class Told:
    """What the journal holds of one part of a level: read once, after its worker was lost."""

    def __init__(self, lines: Iterable[JournalLine], level: str, part: Part) -> None:
        self.ended: set[int] = set()
        self.open: dict[int, Opened] = {}
        self.intended: Counter[float] = Counter()
        for line in lines:
            if not isinstance(line, Observation | Opened) or line.level != level:
                continue
            ordinal = ordinal_of(line.id)
            if ordinal % part.count != part.index or ordinal in self.ended:
                continue
            if ordinal not in self.open:
                self.intended[line.intended] += 1
            if isinstance(line, Observation):
                self.ended.add(ordinal)
                self.open.pop(ordinal, None)
            else:
                self.open[ordinal] = line


def left_behind(
    told: Told, requests: Requests, arrivals: Iterable[tuple[float, Phase]], *, level: str, until: float, at: float
) -> Iterator[Observation]:
    """One observation for everything of the part that has none: it is known to have been sent, or may have been, or
    was not.

    `requests` draws those of the part from its first; `arrivals` are the intended starts (s from t0) of its whole
    schedule, none for closed load, which has none; the worker was last heard from at `until`, and it is now `at`.
    """
    drawn: dict[int, WorkflowRequest] = {}
    missing = [(due, phase) for due, phase in arrivals if not _taken(told.intended, due)]
    last = max((*told.ended, *told.open), default=-1)
    while len(drawn) < len(told.ended) + len(told.open) + len(missing) or max(drawn, default=-1) < last:
        request = requests.draw()
        drawn[ordinal_of(request.id)] = request
    for ordinal, line in told.open.items():
        request = drawn.pop(ordinal)
        yield Observation(
            id=line.id,
            kind=line.kind,
            level=level,
            phase=line.phase,
            seed=request.seed,
            intended=line.intended,
            outcome=Outcome.UNKNOWN,
            started=line.started,
            accepted=line.accepted,
            ended=max(at, line.started),
            error_class=ERROR_CLASS,
            message="its load process was lost before it had ended",
            censored=True,
        )
    unsent = [drawn[ordinal] for ordinal in sorted(drawn.keys() - told.ended)]
    for request, (due, phase) in zip(unsent, missing, strict=False):
        yield _unsent(request, due, phase, level, until, at)


def _taken(intended: Counter[float], due: float) -> bool:
    """Whether one that was due then has been told of; each is taken once."""
    if not intended[due]:
        return False
    intended[due] -= 1
    return True


def _unsent(request: WorkflowRequest, due: float, phase: Phase, level: str, until: float, at: float) -> Observation:
    unsure = due <= until + UNSURE_S
    return Observation(
        id=request.id,
        kind=request.kind,
        level=level,
        phase=phase,
        seed=request.seed,
        intended=due,
        outcome=Outcome.UNKNOWN if unsure else Outcome.NOT_STARTED,
        ended=max(at, due) if unsure else None,
        error_class=ERROR_CLASS,
        message="its load process was lost: it may have been sent" if unsure else "its load process had been lost",
        censored=unsure,
    )
