"""The recorder against known samples: every arrival once, every time where it belongs."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from harness.load.arrivals import Requests
from harness.load.client import Reply
from harness.load.recording import Recorder
from harness.observation.journal import Damage, Journal, read_journal
from harness.observation.observation import Observation, Opened, Outcome, Phase
from harness.scenario.scenario import Workflow
from harness.target.target import WorkflowRequest


class Recording:
    """A recorder on a clock that is set by hand; `measure` begins at 10."""

    def __init__(self, folder: Path, digest: str | None = None) -> None:
        self.now = 0.0
        self._path = folder / "journal.jsonl"
        self._journal = Journal(self._path)
        self.recorder = Recorder(
            self._journal,
            "5",
            draw=Requests(1, "5", [Workflow(kind="k")]).draw,
            phase_of=lambda intended: Phase.WARMUP if intended < 10 else Phase.MEASURE,
            clock=lambda: self.now,
            expected=None if digest is None else lambda request: digest,
        )

    def begin(self, intended: float, started: float) -> WorkflowRequest:
        """A workflow sent at `started`."""
        self.now = started
        return self.recorder.begin(intended)

    def end(self, request: WorkflowRequest, ended: float, reply: Reply) -> float:
        """Its reply at `ended`."""
        self.now = ended
        return self.recorder.end(request, reply)

    def lines(self) -> list[object]:
        """What is on disk after a flush."""
        self.recorder.flush()
        return list(read_journal(self._path, Damage()))

    def observations(self) -> list[Observation]:
        """The observations on disk."""
        return [line for line in self.lines() if isinstance(line, Observation)]


def test_a_workflow_is_recorded_with_its_own_times(tmp_path: Path) -> None:
    """Intended, started and ended are told apart; the phase is that of the intended start."""
    recording = Recording(tmp_path)
    request = recording.begin(intended=9.0, started=11.0)
    reply = Reply(outcome=Outcome.OK, accepted=11.5, target_accepted=11.4, target_started=12.0, target_ended=13.0)
    assert recording.end(request, 14.0, reply) == 14.0
    [seen] = recording.observations()
    assert (seen.intended, seen.started, seen.accepted, seen.ended) == (9.0, 11.0, 11.5, 14.0)
    assert (seen.target_accepted, seen.target_started, seen.target_ended) == (11.4, 12.0, 13.0)
    assert (seen.phase, seen.seed, seen.level) == (Phase.WARMUP, request.seed, "5")
    assert recording.recorder.ok_in_measure == 0


def test_a_reply_that_comes_after_the_censor_changes_nothing(tmp_path: Path) -> None:
    """The lower bound stands; there is no second line."""
    recording = Recording(tmp_path)
    request = recording.begin(10.0, 10.0)
    recording.now = 12.0
    recording.recorder.censor_all()
    recording.end(request, 13.0, Reply(outcome=Outcome.OK))
    [seen] = recording.observations()
    assert (seen.outcome, seen.censored, seen.ended) == (Outcome.UNKNOWN, True, 12.0)


def test_only_an_ok_reply_is_held_against_the_expected_digest(tmp_path: Path) -> None:
    """A wrong one is failed: corrupted; a missing one too; a failure stays what it was."""
    recording = Recording(tmp_path, digest="right")
    replies = [
        Reply(outcome=Outcome.OK, digest="right"),
        Reply(outcome=Outcome.OK, digest="wrong"),
        Reply(outcome=Outcome.OK),
        Reply(outcome=Outcome.FAILED, error_class="deadline"),
    ]
    for reply in replies:
        recording.end(recording.begin(10.0, 10.0), 11.0, reply)
    seen = recording.observations()
    assert [(each.outcome, each.error_class) for each in seen] == [
        (Outcome.OK, ""),
        (Outcome.FAILED, "corrupted"),
        (Outcome.FAILED, "corrupted"),
        (Outcome.FAILED, "deadline"),
    ]
    assert seen[1].message == "digest wrong, not right"
    assert seen[2].message == "digest missing, not right"


def test_a_shed_arrival_was_never_sent(tmp_path: Path) -> None:
    """Not started, and not rejected by anybody."""
    recording = Recording(tmp_path)
    recording.recorder.shed(12.0)
    [seen] = recording.observations()
    assert (seen.outcome, seen.error_class, seen.rejected) == (Outcome.NOT_STARTED, "shed", False)
    assert (seen.intended, seen.started, seen.ended) == (12.0, None, None)


def test_an_open_workflow_is_told_once_when_sent_and_once_when_accepted(tmp_path: Path) -> None:
    """A second acceptance, after a reconnect, is not news."""
    recording = Recording(tmp_path)
    request = recording.begin(10.0, 10.5)
    assert [(line.id, line.started, line.accepted) for line in recording.lines() if isinstance(line, Opened)] == [
        (request.id, 10.5, None)
    ]
    recording.recorder.accepted(request.id, 10.7)
    recording.lines()
    recording.recorder.accepted(request.id, 99.0)
    opened = [line for line in recording.lines() if isinstance(line, Opened)]
    assert [line.accepted for line in opened] == [None, 10.7]


@given(st.lists(st.sampled_from(["begin", "end", "censor", "shed", "accept", "flush", "late"]), max_size=60))
def test_every_arrival_gives_exactly_one_observation(steps: list[str]) -> None:
    """Whatever happens in whatever order, and what is still open at the end is censored."""
    with tempfile.TemporaryDirectory() as folder:
        recording = Recording(Path(folder))
        recorder = recording.recorder
        open_now: list[WorkflowRequest] = []
        over: list[WorkflowRequest] = []
        for step in steps:
            if step == "begin":
                open_now.append(recorder.begin(10.0))
            elif step == "shed":
                recorder.shed(10.0)
            elif step == "flush":
                recorder.flush()
            elif step == "late" and over:
                recorder.end(over[-1], Reply(outcome=Outcome.OK))
            elif step == "accept" and open_now:
                recorder.accepted(open_now[0].id, 1.0)
            elif step in ("end", "censor") and open_now:
                over.append(open_now.pop(0))
                if step == "end":
                    recorder.end(over[-1], Reply(outcome=Outcome.OK))
                else:
                    recorder.censor(over[-1].id)
        recorder.censor_all()
        seen = Counter(observation.id for observation in recording.observations())
        assert set(seen.values()) <= {1}
        assert len(seen) == recorder.arrivals == recorder.observed == steps.count("begin") + steps.count("shed")
