"""Who is in a crew: workers that joined, how their clocks go, and whether Locust still hears from them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import msgspec
from gevent.event import Event
from locust.runners import STATE_MISSING, MasterRunner

from harness.errors import HarnessError
from harness.load.crew.clocks import PINGS, offset_of
from harness.load.crew.joining import versions
from harness.load.crew.member import Member
from harness.load.crew.words import MESSAGE, FromWorker, Halt, Hello, Ping, Pong, ToWorker, packed, unpacked
from harness.observation.observation import LoadWorker

CLOCK_PATIENCE_S = 5.0
PING_EVERY_S = 0.01


LEFT = "it left"
"""Of a worker that took its leave: it will not be back."""


class CrewBroken(HarnessError):
    """The crew cannot go on."""


class Roll:
    """The members of a crew of `size`; `take` is given every word that is not about membership or clocks."""

    def __init__(self, runner: MasterRunner, size: int, *, clock: Callable[[], float]) -> None:
        self.size = size
        self.members: dict[str, Member] = {}
        self.changed = Event()
        self.take: Callable[[Member, FromWorker], None] = lambda _member, _word: None
        self.fail: Callable[[Exception], None] = lambda _error: None
        self._runner = runner
        self._clock = clock
        self._pings = 0
        runner.register_message(MESSAGE, self._hear)

    @property
    def full(self) -> bool:
        """Whether all have joined."""
        return len(self.members) == self.size

    def present(self) -> Iterator[Member]:
        """Members that are not lost."""
        return (member for member in self.members.values() if not member.lost)

    def tell(self, member: Member, word: ToWorker) -> None:
        """Send a word to one of them."""
        self._runner.send_message(MESSAGE, packed(word), member.node)

    def tell_all(self, word: ToWorker) -> None:
        """Send a word to all that are present."""
        for member in self.present():
            self.tell(member, word)

    def look(self) -> None:
        """Note who is gone: a worker that Locust has not heard from, or that took its leave before it had finished.

        One that is heard from again is no longer lost.
        """
        for member in self.members.values():
            node = self._runner.clients.get(member.node)
            if member.finished is not None:
                continue
            was_lost = bool(member.lost)
            if node is None:
                member.lost = LEFT
            else:
                member.lost = "it is not heard from any more" if node.state == STATE_MISSING else ""
            if member.lost and not was_lost:
                member.lost_at = self._clock()

    def measure_clocks(self) -> None:
        """Of all that are present. Raises CrewBroken when one does not answer."""
        for member in self.present():
            member.asked.clear()
            member.answers.clear()
        for _ in range(PINGS):
            for member in self.present():
                self._pings += 1
                member.asked[self._pings] = time.monotonic()
                self.tell(member, Ping(self._pings))
            gevent.sleep(PING_EVERY_S)
        silent = self._clock() + CLOCK_PATIENCE_S
        while any(not member.answers for member in self.present()):
            if self._clock() > silent:
                names = ", ".join(member.name for member in self.present() if not member.answers)
                raise CrewBroken(f"load process {names} joined, and does not say what time it is")
            self.changed.wait(0.1)
            self.changed.clear()
        for member in self.present():
            member.offset = offset_of(member.answers)

    def line(self, member: Member, level: str) -> LoadWorker:
        """What the journal says of a member."""
        assert member.offset is not None
        offset = member.offset
        return LoadWorker(
            level, self._clock(), member.name, member.number, offset.offset_s, offset.error_s, member.lost
        )

    def _hear(self, msg: Any, **_: Any) -> None:
        """Locust calls this for every word of a worker, and would only log what it raises."""
        received = time.monotonic()
        try:
            self._sort(str(msg.node_id), unpacked(msg.data, FromWorker), received)  # type: ignore[arg-type]
        except (HarnessError, OSError, msgspec.DecodeError) as error:
            self.fail(error)
        except Exception as error:
            self.fail(error)
            raise
        self.changed.set()

    def _sort(self, node: str, word: FromWorker, received: float) -> None:
        if isinstance(word, Hello):
            return self._join(node, word)
        member = self.members.get(node)
        if member is None:
            return None
        if not isinstance(word, Pong):
            return self.take(member, word)
        if (sent := member.asked.pop(word.number, None)) is not None:
            member.answers.append((sent, word.at, received))
        return None

    def _join(self, node: str, hello: Hello) -> None:
        """A new member; one too many has come for the next level, and is not told anything."""
        ours = versions()
        unlike = [f"{name} {hello.versions.get(name)} there and {ours[name]} here" for name in ours
                  if hello.versions.get(name) != ours[name]]  # fmt: skip
        if unlike:
            self._runner.send_message(MESSAGE, packed(Halt("its versions differ from the master's")), node)
            raise CrewBroken(
                f"the load process on {hello.host} (pid {hello.pid}) is another build: {'; '.join(unlike)}; "
                "install the same on both machines"
            )
        if not self.full:
            self.members[node] = Member(node, hello, len(self.members), self.size)
