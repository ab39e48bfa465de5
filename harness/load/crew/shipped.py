"""What workers ship, read no further than the master needs: for those who watch, and to know when it is enough."""

from __future__ import annotations

import msgspec

from harness.load.crew.member import Member
from harness.load.tally import Tallies
from harness.observation.observation import LoadCheck, Outcome, Phase


class _Ended(msgspec.Struct, tag_field="type", tag="observation", gc=False):
    phase: Phase
    intended: float
    outcome: Outcome
    ended: float | None = None


class _Opened(msgspec.Struct, tag_field="type", tag="opened", gc=False):
    pass


class _Mark(msgspec.Struct, tag_field="type", tag="phase", gc=False):
    pass


class Shipped:
    """Counts of everything that was shipped so far."""

    def __init__(self) -> None:
        self.tallies = Tallies()
        self.ok_in_measure = 0
        self._decode = msgspec.json.Decoder(_Ended | _Opened | _Mark | LoadCheck).decode

    def read(self, member: Member, lines: bytes) -> bytes:
        """Count these lines of a member; returns those for the journal: phases are the master's to mark."""
        kept = []
        for line in lines.splitlines():
            said = self._decode(line)
            if isinstance(said, _Mark):
                continue
            kept.append(line)
            if isinstance(said, _Ended):
                member.ended += 1
                self.tallies.add(said)
                self.ok_in_measure += said.outcome is Outcome.OK and said.phase is Phase.MEASURE
            elif isinstance(said, LoadCheck):
                member.users, member.in_flight = said.users, said.in_flight
        return b"\n".join(kept)
