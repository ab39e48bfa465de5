"""What every circuit breaker promises. Each implementation runs the same tests, on virtual time.

A new implementation adds a line to MAKERS: a function from a rule to a `Subject`. `interlock-cb` is in it, though the
orchestrator does not use it: the rows that it does not hold are why, and for the others it is a second opinion.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import interlock
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_time import settle, simulate

from harness.orchestrator.breaker import BreakerOpen, Change, WindowedBreaker, around
from harness.orchestrator.call import Call
from harness.scenario.scenario import Breaker
from harness.scenario.shapes import Step
from harness.target.target import WorkflowRequest

WAITERS = 50
PERMITTED = (1, 3, 5)
CALL = Call(WorkflowRequest("w", "job", 1, 30.0), Step(name="s", agent="x"))


def clock() -> float:
    return asyncio.get_running_loop().time()


class Refused(Exception):
    """The breaker refused the call."""


class Subject(Protocol):
    """A breaker under test. `changes` are (before, after), in order; `on_change` is called with each."""

    changes: list[tuple[str, str]]
    on_change: Callable[[], None]

    @property
    def state(self) -> str: ...

    async def call(self, perform: Callable[[], Awaitable[bytes]]) -> bytes: ...


class Ours:
    """`WindowedBreaker`, as it stands around an agent."""

    def __init__(self, rule: Breaker) -> None:
        self.changes: list[tuple[str, str]] = []
        self.on_change: Callable[[], None] = lambda: None
        self._breaker = WindowedBreaker(rule, clock=clock, on_change=self._changed)

    @property
    def state(self) -> str:
        return self._breaker.state

    async def call(self, perform: Callable[[], Awaitable[bytes]]) -> bytes:
        async def agent(_: Call) -> bytes:
            return await perform()

        try:
            return await around("x", self._breaker, agent)(CALL)
        except BreakerOpen as refusal:
            raise Refused from refusal

    def _changed(self, change: Change) -> None:
        self.changes.append((change.before, change.after))
        self.on_change()


class Interlock:
    """`interlock-cb`, by its public names."""

    def __init__(self, rule: Breaker) -> None:
        self.changes: list[tuple[str, str]] = []
        self.on_change: Callable[[], None] = lambda: None
        self.monotonic = clock
        by_time = rule.window_s is not None
        config = interlock.Config(
            failure_rate_threshold=rule.failures,
            slow_call_duration_threshold=rule.slow or 1e9,
            slow_call_rate_threshold=rule.slow_share,
            minimum_number_of_calls=rule.calls_min,
            window_type=interlock.WindowType.TIME_BASED if by_time else interlock.WindowType.COUNT_BASED,
            window_size=max(1, round(rule.window_s)) if rule.window_s is not None else rule.window,
            wait_duration_in_open=rule.open,
            permitted_calls_in_half_open=rule.half_open,
            max_concurrent_probes=rule.half_open,
        )
        self._breaker = interlock.CircuitBreaker(name="x", config=config, clock=self, listener=self)  # type: ignore[arg-type]

    @property
    def state(self) -> str:
        return str(self._breaker.state)

    async def call(self, perform: Callable[[], Awaitable[bytes]]) -> bytes:
        try:
            return await self._breaker.call_async(perform)
        except interlock.CircuitOpenError as refusal:
            raise Refused from refusal

    def on_state_change(self, *, name: str, old: str, new: str) -> None:
        self.changes.append((str(old), str(new)))
        self.on_change()


Maker = Callable[[Breaker], Subject]
MAKERS: dict[str, Maker] = {"ours": Ours, "interlock": Interlock}


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Maker:
    """Every implementation."""
    return MAKERS[request.param]


def not_interlock(request: pytest.FixtureRequest, why: str) -> None:
    """A row that interlock-cb 2.8 does not hold; when it does one day, this fails and says so."""
    if request.node.callspec.params["make"] == "interlock":
        request.node.add_marker(pytest.mark.xfail(strict=True, reason=why))


async def good() -> bytes:
    return b"ok"


async def bad() -> bytes:
    raise ValueError("down")


async def slow() -> bytes:
    await asyncio.sleep(2.0)
    return b"ok"


async def made(subject: Subject, *performs: Callable[[], Awaitable[bytes]]) -> list[str]:
    """How calls end, one after the other: ok, refused, or the name of what they raised."""
    ends = []
    for perform in performs:
        (end,) = await settle(subject.call(perform))
        ends.append("refused" if isinstance(end, Refused) else type(end).__name__ if end != b"ok" else "ok")
    return ends


RULE = Breaker(failures=0.5, slow=1.0, slow_share=0.8, calls_min=4, window=10, open=5.0)


async def opened(make: Maker, **fields: Any) -> Subject:
    """One that has opened just now."""
    subject = make(Breaker(**{"failures": 0.5, "calls_min": 4, "window": 10, "open": 5.0, **fields}))
    assert await made(subject, bad, bad, bad, bad) == ["ValueError"] * 4
    assert subject.state == "open"
    return subject


class Probes:
    """Counts who was let in, and holds them until they are told how to end."""

    def __init__(self) -> None:
        self.admitted = 0
        self.end: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def __call__(self) -> bytes:
        self.admitted += 1
        return await asyncio.shield(self.end)


async def waiters(subject: Subject, probes: Probes) -> list[asyncio.Task[bytes]]:
    """50 callers at once, each as far as it comes."""
    tasks = [asyncio.create_task(subject.call(probes)) for _ in range(WAITERS)]
    await asyncio.sleep(0.1)
    return tasks


def test_nothing_is_called_while_it_is_open(make: Maker) -> None:
    """None of 50 callers at once, nor of any until the time is over."""

    async def main() -> None:
        subject, probes = await opened(make), Probes()
        for _ in range(5):
            ends = await settle(*await waiters(subject, probes))
            assert all(isinstance(end, Refused) for end in ends)
            await asyncio.sleep(0.8)
        assert probes.admitted == 0
        assert subject.changes == [("closed", "open")]

    simulate(main)


@pytest.mark.parametrize("permitted", PERMITTED)
@pytest.mark.parametrize("end", ["ok", "failed"])
def test_half_open_admits_the_permitted_number_of_50_waiters(make: Maker, permitted: int, end: str) -> None:
    """Not one more, however long the probes hang, and how they end decides what it becomes."""

    async def main() -> None:
        subject, probes = await opened(make, half_open=permitted), Probes()
        await asyncio.sleep(5.0)
        tasks = await waiters(subject, probes)
        for _ in range(3):
            await asyncio.sleep(60.0)
            tasks += await waiters(subject, probes)
        assert probes.admitted == permitted
        assert subject.state == "half_open"
        if end == "ok":
            probes.end.set_result(b"ok")
        else:
            probes.end.set_exception(ValueError("down"))
        ends = await settle(*tasks)
        assert sum(isinstance(each, Refused) for each in ends) == 4 * WAITERS - permitted
        after = "closed" if end == "ok" else "open"
        assert subject.changes == [("closed", "open"), ("open", "half_open"), ("half_open", after)]
        assert await made(subject, good) == ["ok" if end == "ok" else "refused"]

    simulate(main)


@pytest.mark.parametrize("permitted", PERMITTED)
def test_a_cancelled_probe_gives_its_permit_back(make: Maker, permitted: int) -> None:
    """All of them are cancelled: it says nothing, so the next 50 waiters find as many permits, and not one more."""

    async def main() -> None:
        subject = await opened(make, half_open=permitted)
        await asyncio.sleep(5.0)
        for _ in range(3):
            probes = Probes()
            tasks = await waiters(subject, probes)
            assert probes.admitted == permitted
            for task in tasks:
                task.cancel()
            await settle(*tasks)
            assert subject.state == "half_open"
        assert await made(subject, *[good] * permitted) == ["ok"] * permitted
        assert subject.state == "closed"

    simulate(main)


@pytest.mark.parametrize("window", [{"window": 10}, {"window_s": 10.0}])
def test_the_share_of_failures_opens_it(make: Maker, window: dict[str, Any]) -> None:
    """At the threshold, and not before enough calls were seen."""

    async def main() -> None:
        subject = make(Breaker(failures=0.5, calls_min=4, open=5.0, **window))
        assert await made(subject, bad, bad, bad) == ["ValueError"] * 3
        assert subject.state == "closed"
        await made(subject, good)
        assert subject.state == "open"
        healthy = make(Breaker(failures=0.5, calls_min=4, open=5.0, **window))
        await made(healthy, good, bad, good, good, bad, good, good, bad)
        assert healthy.state == "closed"

    simulate(main)


@pytest.mark.parametrize("window", [{"window": 10}, {"window_s": 30.0}])
def test_the_share_of_slow_calls_opens_it(make: Maker, window: dict[str, Any]) -> None:
    """Though every one of them succeeds; one that is slow and fails counts as both."""

    async def main() -> None:
        subject = make(Breaker(failures=1.0, slow=1.0, slow_share=0.6, calls_min=5, open=5.0, **window))
        assert await made(subject, slow, slow, good, good) == ["ok"] * 4
        assert subject.state == "closed"
        await made(subject, slow)
        assert subject.state == "open"
        without = make(Breaker(failures=1.0, calls_min=5, open=5.0, **window))
        assert await made(without, *[slow] * 6) == ["ok"] * 6
        assert without.state == "closed"

    simulate(main)


def test_slow_probes_open_it_again(make: Maker) -> None:
    """A dependency that answers late has not recovered."""

    async def main() -> None:
        subject = await opened(make, slow=1.0, slow_share=1.0)
        await asyncio.sleep(5.0)
        assert await made(subject, slow, good) == ["ok", "refused"]
        assert subject.state == "open"

    simulate(main)


def test_calls_leave_a_count_window(make: Maker) -> None:
    """The last ten count, however long ago."""

    async def main() -> None:
        subject = make(Breaker(failures=0.5, calls_min=4, window=10, open=5.0))
        await made(subject, good, good, good, bad, bad, *[good] * 8)
        await asyncio.sleep(1000.0)
        await made(subject, *[bad] * 4)  # of the last ten, 4 failed
        assert subject.state == "closed"
        await made(subject, bad)
        assert subject.state == "open"

    simulate(main)


def test_calls_leave_a_time_window(make: Maker) -> None:
    """What is older than it is forgotten; what is a little younger is not."""

    async def main() -> None:
        subject = make(Breaker(failures=0.5, calls_min=4, window_s=10.0, open=5.0))
        await made(subject, bad, bad, bad)
        await asyncio.sleep(10.1)
        await made(subject, bad)
        assert subject.state == "closed"

    simulate(main)


@pytest.mark.parametrize(("window_s", "later_s"), [(10.0, 9.8), (1.0, 0.9), (0.5, 0.4)])
def test_a_time_window_is_as_long_as_it_says(
    make: Maker, request: pytest.FixtureRequest, window_s: float, later_s: float
) -> None:
    """Also across the second's end, and where it is shorter than a second."""
    not_interlock(request, "its window counts in whole seconds of the clock, and forgets up to one of them early")

    async def main() -> None:
        await asyncio.sleep(0.95)
        subject = make(Breaker(failures=0.5, calls_min=4, window_s=window_s, open=5.0))
        await made(subject, bad, bad, bad)
        await asyncio.sleep(later_s)
        await made(subject, bad)
        assert subject.state == "open"
        brief = make(Breaker(failures=0.5, calls_min=4, window_s=window_s, open=5.0))
        await made(brief, bad, bad, bad)
        await asyncio.sleep(window_s * 1.01)
        await made(brief, bad)
        assert brief.state == "closed"

    simulate(main)


def test_a_straggler_says_nothing(make: Maker) -> None:
    """A call from before it opened ends while it is half-open: neither a probe's success nor its failure."""

    async def main() -> None:
        for end, straggler in (("ok", good), ("failed", bad)):
            subject, probes = make(Breaker(failures=0.5, calls_min=4, window=10, open=5.0)), Probes()
            old = asyncio.create_task(subject.call(probes))
            await asyncio.sleep(0)
            await made(subject, bad, bad, bad, bad)
            await asyncio.sleep(5.0)
            probe = Probes()
            probing = asyncio.create_task(subject.call(probe))
            await asyncio.sleep(0)
            assert subject.state == "half_open"
            if end == "ok":
                probes.end.set_result(await straggler())
            else:
                probes.end.set_exception(ValueError("late"))
            await settle(old)
            assert subject.state == "half_open"
            probe.end.set_result(b"ok")
            await probing
            assert subject.state == "closed"

    simulate(main)


def test_a_time_out_inside_counts_and_a_cancellation_from_outside_does_not(make: Maker) -> None:
    """20 calls are cut from outside: it stays closed. Four that time out inside open it."""

    async def main() -> None:
        async def hang() -> bytes:
            await asyncio.sleep(3600.0)
            return b"ok"

        async def hang_with_deadline() -> bytes:
            async with asyncio.timeout(1.0):
                return await hang()

        subject = make(Breaker(failures=0.5, calls_min=4, window=10, open=5.0))
        for _ in range(20):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.0):
                    await subject.call(hang)
        assert subject.state == "closed"
        assert await made(subject, *[hang_with_deadline] * 5) == ["TimeoutError"] * 4 + ["refused"]
        assert subject.state == "open"

    simulate(main)


def test_changes_are_told_in_order(make: Maker) -> None:
    """Two rounds of failing, and a recovery; the window is empty after it."""

    async def main() -> None:
        subject = await opened(make)
        for perform in (bad, bad, good):
            await asyncio.sleep(5.0)
            await made(subject, perform)
        again = [("open", "half_open"), ("half_open", "open")]
        assert subject.changes == [("closed", "open"), *again, *again, ("open", "half_open"), ("half_open", "closed")]
        await made(subject, bad, bad, bad)
        assert subject.state == "closed"

    simulate(main)


def test_a_change_that_cannot_be_recorded_is_not_passed_over(make: Maker, request: pytest.FixtureRequest) -> None:
    """A full disk must not leave a run whose record lacks a line."""
    not_interlock(request, "what a listener raises is logged and forgotten")

    async def main() -> None:
        subject = make(Breaker(failures=0.5, calls_min=4, window=10, open=5.0))

        def full() -> None:
            raise OSError("no space left")

        subject.on_change = full
        assert await made(subject, bad, bad, bad, bad) == ["ValueError"] * 3 + ["OSError"]
        assert subject.state == "open"

    simulate(main)


def test_probes_that_hang_do_not_hold_up_what_the_others_have_decided(
    make: Maker, request: pytest.FixtureRequest
) -> None:
    """Two of three probes failed: whatever the third says, that is half of them."""
    not_interlock(request, "it waits for all probes")

    async def main() -> None:
        subject, hanging = await opened(make, half_open=3), Probes()
        await asyncio.sleep(5.0)
        task = asyncio.create_task(subject.call(hanging))
        await asyncio.sleep(0)
        await made(subject, bad, bad)
        assert subject.state == "open"
        task.cancel()
        await settle(task)

    simulate(main)


MOVES = st.lists(st.sampled_from(["good", "bad", "slow", "cancelled", "wait 1", "wait 4"]), max_size=80)


@settings(max_examples=100, deadline=None)
@given(MOVES, st.sampled_from([0.25, 0.5, 1.0]), st.integers(1, 5))
def test_all_agree_on_any_history(moves: list[str], failures: float, calls_min: int) -> None:
    """Count windows and one probe: the same calls are refused, the same changes happen."""

    async def main() -> None:
        rule = Breaker(failures=failures, slow=1.0, slow_share=0.75, calls_min=calls_min, window=5, open=5.0)
        told = []
        for make in MAKERS.values():
            subject, ends = make(rule), []
            performs = {"good": good, "bad": bad, "slow": slow}
            for move in moves:
                if move.startswith("wait"):
                    await asyncio.sleep(float(move.split()[1]))
                elif move == "cancelled":
                    task = asyncio.create_task(subject.call(Probes()))
                    await asyncio.sleep(0)
                    task.cancel()
                    (end,) = await settle(task)
                    ends.append(type(end).__name__)
                else:
                    ends += await made(subject, performs[move])
            told.append((ends, subject.changes, subject.state))
        assert all(each == told[0] for each in told)

    simulate(main)
