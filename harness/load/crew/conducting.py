"""One level driven by a crew: everybody there, clocks compared, off at one instant, every observation on disk, and what
a lost worker left behind accounted for.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from harness.load.arrivals import Closed, Requests, part_offsets, profile_of
from harness.load.assignment import Assignment
from harness.load.control import Done, LoadReport, PhaseChanged, Waiting
from harness.load.crew.lost import Told, left_behind
from harness.load.crew.member import Member
from harness.load.crew.roll import LEFT, CrewBroken, Roll
from harness.load.crew.shipped import Shipped
from harness.load.crew.words import (
    Ack,
    Broken,
    EndMeasure,
    Finished,
    FromWorker,
    Go,
    Halt,
    Prepare,
    Prepared,
    Shipment,
)
from harness.load.level import Phases, in_words
from harness.observation.journal import Damage, Journal, read_journal
from harness.observation.observation import Phase, PhaseMark

JOIN_PATIENCE_S = 120.0
PREPARE_PATIENCE_S = 30.0
LEAD_S = 0.3
"""Between the word to go and the start: it has to reach everybody before."""
LOST_PATIENCE_S = 5.0
"""A worker that is not heard from may still come back with what it has."""
BEAT_S = 0.1
REPORT_S = 0.5


class Conductor:
    """Has one level driven by the members of `roll`. `stop` and `fail` may be called from any greenlet."""

    def __init__(self, assignment: Assignment, roll: Roll, journal: Journal, say: Callable[[LoadReport], None]) -> None:
        self._assignment = assignment
        self._load = assignment.scenario.load
        self._level = assignment.config.level
        self._clock = assignment.clock
        self._roll = roll
        self._journal = journal
        self._say = say
        self._shipped = Shipped()
        self._phase: Phase = Phase.WARMUP
        self._phases = Phases(0.0, 0.0, 0.0, self._load.drain)
        self._stopped_because = ""
        self._failure: Exception | None = None
        self._reported_at = 0.0
        roll.take, roll.fail = self._take, self.fail

    def stop(self, because: str) -> None:
        """End the level now."""
        self._stopped_because = self._stopped_because or because
        self._roll.tell_all(Halt(because))
        self._roll.changed.set()

    def fail(self, error: Exception) -> None:
        """The level cannot go on; what was measured is kept."""
        self._failure = self._failure or error
        self.stop("the load failed")

    def conduct(self) -> Done:
        """Drive the level to its end. Raises CrewBroken."""
        self._gather()
        if not self._stopped_because:
            self._roll.measure_clocks()
            self._prepare()
        if not self._stopped_because:
            self._drive()
            self._settle()
        return self._finish()

    def _gather(self) -> None:
        """Until everybody is there."""
        roll, gives_up = self._roll, self._clock() + JOIN_PATIENCE_S
        while not roll.full and not self._stopped_because:
            if self._clock() > gives_up:
                raise CrewBroken(
                    f"{len(roll.members)} of {roll.size} load processes joined within {JOIN_PATIENCE_S:g} s; "
                    "start the others with `harness worker --master HOST`"
                )
            crew = self._assignment.config.crew
            if crew is not None and self._clock() - self._reported_at >= REPORT_S:
                self._reported_at = self._clock()
                self._say(Waiting(len(roll.members), roll.size, crew.host, crew.port))
            roll.changed.wait(BEAT_S)
            roll.changed.clear()

    def _prepare(self) -> None:
        """Hand everybody a part, on their own clock."""
        config, clock = self._assignment.config, self._clock
        scenario = (Path(config.run_dir) / "scenario.json").read_bytes()
        for member in self._roll.present():
            assert member.offset is not None
            self._journal.note(self._roll.line(member, self._level))
            theirs = msgspec.structs.replace(
                config,
                t0=config.t0 + member.offset.offset_s,
                sockets=config.sockets if member.hello.ours else (),  # a path is of this machine
            )
            word = Prepare(name=member.name, config=theirs, scenario=scenario, part=member.part)
            self._roll.tell(member, word)
        gives_up = clock() + PREPARE_PATIENCE_S
        while not all(member.prepared for member in self._roll.members.values()) and not self._stopped_because:
            self._roll.look()
            late = [member.name for member in self._roll.members.values() if not member.prepared]
            if clock() > gives_up or any(member.lost for member in self._roll.members.values()):
                raise CrewBroken(f"load process {', '.join(late)} was lost before the level began")
            self._pause(BEAT_S)

    def _drive(self) -> None:
        """Warm-up and measure."""
        load, clock = self._load, self._clock
        starts = clock() + LEAD_S
        measure_starts = starts + load.warmup
        phases = self._phases = Phases(starts, measure_starts, measure_starts + load.measure, load.drain)
        self._roll.tell_all(Go(starts))
        self._enter(Phase.WARMUP, starts, measure_starts)
        self._wait(lambda: measure_starts)
        if not self._stopped_because:
            self._enter(Phase.MEASURE, measure_starts, phases.measure_ends)
            self._wait(lambda: phases.measure_ends)
        phases.measure_ends = min(phases.measure_ends, clock())
        self._enter(Phase.DRAIN, phases.measure_ends, phases.measure_ends + load.drain)

    def _settle(self) -> None:
        """Until everybody has finished, or cannot be hoped for any more."""
        gives_up = max(self._clock(), self._phases.measure_ends + self._load.drain) + LOST_PATIENCE_S
        while (pending := [each for each in self._roll.members.values() if each.finished is None]) and (
            self._clock() < gives_up
        ):
            if self._stopped_because:
                gives_up = min(gives_up, self._clock() + LOST_PATIENCE_S)
            if all(self._hopeless(member) for member in pending):
                break
            self._pause(BEAT_S)
        for member in self._roll.members.values():
            if member.finished is None:
                member.lost = member.lost or "it did not finish"
            elif member.finished.ended_early and not self._stopped_because:
                member.lost = member.finished.ended_early

    def _hopeless(self, member: Member) -> bool:
        """Whether it left, or has been lost for too long."""
        if member.lost in ("", LEFT):
            return member.lost == LEFT
        return self._clock() - member.lost_at > LOST_PATIENCE_S

    def _wait(self, until: Callable[[], float]) -> None:
        """Until then, unless the level is stopped or nobody is left to drive it."""
        while not self._stopped_because and (left_s := until() - self._clock()) > 0:
            if next(self._roll.present(), None) is None:
                return self.stop("every load process was lost")
            self._pause(min(left_s, BEAT_S))
        return None

    def _pause(self, wait_s: float) -> None:
        roll = self._roll
        roll.changed.wait(wait_s)
        roll.changed.clear()
        roll.look()
        if (now := self._clock()) - self._reported_at >= REPORT_S:
            self._reported_at = now
            users = sum(member.users for member in roll.present())
            in_flight = sum(member.in_flight for member in roll.present())
            self._say(self._shipped.tallies.progress(now, self._phase, users=users, in_flight=in_flight))

    def _enter(self, phase: Phase, at: float, ends_at: float) -> None:
        self._phase = phase
        self._journal.note(PhaseMark(self._level, phase, at))
        self._say(PhaseChanged(phase, at, ends_at))

    def _take(self, member: Member, word: FromWorker) -> None:
        """A worker said something about its part."""
        match word:
            case Prepared():
                member.prepared = True
            case Broken():
                self.fail(CrewBroken(f"load process {member.name}: {word.message}"))
            case Finished():
                member.finished = word
            case Shipment():
                self._keep(member, word)

    def _keep(self, member: Member, shipment: Shipment) -> None:
        """To disk, each number once and in turn; then it is acknowledged. Raises OSError when the disk refuses."""
        if shipment.number == member.shipments + 1:
            self._journal.told(self._shipped.read(member, shipment.lines))
            self._journal.flush()
            member.shipments, member.until = shipment.number, shipment.until
            enough = self._load.until_ok
            if enough is not None and self._phase is not Phase.DRAIN and self._shipped.ok_in_measure >= enough:
                self._phases.measure_ends = min(self._phases.measure_ends, self._clock())
                self._roll.tell_all(EndMeasure())
        if shipment.number <= member.shipments:
            self._roll.tell(member, Ack(shipment.number))

    def _finish(self) -> Done:
        """Account for everything, and write the mark that says that nothing is missing; a broken level has none."""
        left = censored = 0
        for member in self._roll.members.values():
            if member.lost and member.offset is not None:
                left_here, censored_here = self._account(member)
                left, censored = left + left_here, censored + censored_here
            elif member.finished is not None and member.finished.arrivals != member.ended:
                self._failure = self._failure or CrewBroken(
                    f"load process {member.name} began {member.finished.arrivals} workflows, "
                    f"and {member.ended} of them were told"
                )
        if self._failure is None:
            self._journal.note(PhaseMark(self._level, "end", self._clock()))
        self._journal.flush()
        if self._failure is not None:
            raise CrewBroken(in_words(self._failure)) from self._failure
        done = [member.finished for member in self._roll.members.values() if member.finished is not None]
        arrivals = sum(member.ended for member in self._roll.members.values()) + left
        return Done(arrivals, censored + sum(each.censored for each in done), self._stopped_because)

    def _account(self, member: Member) -> tuple[int, int]:
        """Write what a lost worker left behind; how much that is, and how much of it is censored."""
        assignment, part, phases = self._assignment, member.part, self._phases
        scenario = assignment.scenario
        self._journal.note(self._roll.line(member, self._level))
        self._journal.flush()
        told = Told(read_journal(assignment.journal_path, Damage()), self._level, part)
        profile = profile_of(scenario.load, assignment.level())
        offsets = () if isinstance(profile, Closed) else part_offsets(profile, scenario.seed, self._level, part)
        due = (phases.starts + offset for offset in offsets)
        arrivals = [(each, phases.of(each)) for each in due if each < phases.measure_ends]
        requests = Requests(scenario.seed, self._level, scenario.workflow, part)
        left = list(left_behind(told, requests, arrivals, level=self._level, until=member.until, at=self._clock()))
        for observation in left:
            self._journal.ended(observation)
        return len(left), sum(observation.censored for observation in left)
