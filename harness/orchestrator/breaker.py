"""Circuit breakers: after too many failed or slow calls, calls are refused for a while instead of made.

    closed ──too many of the last calls failed or were slow──▶ open ──after `open`, at the next call──▶ half-open
    half-open ──`half_open` probes answered well enough──▶ closed        ──too many of them not──▶ open

The states, and slow calls beside failed ones, are resilience4j's. `interlock-cb` does the same, and holds every row of
the catalogue's table; it is not used because of two that tests/contract/test_breaker.py adds: its time window counts
in whole seconds and forgets up to one of them too early, and a record of a change that fails is logged and forgotten.
It stays as the oracle of the tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec

from harness.errors import TargetError
from harness.observation.breakers import BreakerState, Why
from harness.orchestrator.call import AgentFunction, Call
from harness.orchestrator.deadline import step_timeout
from harness.orchestrator.window import CountWindow, TimeWindow
from harness.scenario.scenario import Breaker as Rule

Permit = tuple[int, float]
"""One admitted call: in which era of the breaker, and when. An era is the time between two changes."""

_ROUNDING = 1e-9
"""57 % of 100 calls is reached by 57 of them, though 57 * 0.01 is a little more than 0.57."""


class Change(msgspec.Struct, frozen=True, gc=False):
    """What `BreakerEvent` says of one change, by a breaker that knows neither its name nor its run."""

    at: float  # on the breaker's clock
    before: BreakerState
    after: BreakerState
    why: Why
    lasted_s: float
    calls: int
    failures: int
    slow: int
    refused: int
    probes: int
    returned: int


class Breaker(Protocol):
    """Says of every call whether it may be made, and is told how it went.

    For every permit exactly one of `record` and `give_back` is called, in any order and however late.
    """

    state: BreakerState

    def admit(self) -> Permit | None:
        """A permit to make one call now; None: refused."""

    def record(self, permit: Permit, *, failed: bool) -> None:
        """The call ended and says something about what was called. How long it took is counted here."""

    def give_back(self, permit: Permit) -> None:
        """The call ended and says nothing: it was cancelled, or refused further in."""


class BreakerOpen(TargetError):
    """A call was refused by the breaker of `of`. Not to be retried: it was just said that it would be in vain.

    It counts in no other breaker: what refused was not what those watch. `definite` is False where the same operation
    had been sent before, and not been answered.
    """

    def __init__(self, what: str, of: str, *, definite: bool = True) -> None:
        super().__init__(f"{what}: the breaker of {of} is open", definite=definite, error_class="breaker_open")


class WindowedBreaker:
    """A `Breaker` by a scenario's rule. `clock` gives seconds; `on_change` is told of every change, in order.

    What `on_change` raises comes out of the call that caused the change, which has taken place by then.
    """

    def __init__(
        self, rule: Rule, *, clock: Callable[[], float], on_change: Callable[[Change], None] | None = None
    ) -> None:
        self.state: BreakerState = "closed"
        self._rule = rule
        self._clock = clock
        self._on_change = on_change
        self._era = 0
        self._since = clock()
        self._permits = 0  # left while half-open
        self._refused = self._probes = self._returned = 0  # since the last change
        self._window = self._fresh()

    def admit(self) -> Permit | None:
        """A permit, unless it is open, or half-open with all probes under way or answered."""
        now = self._clock()
        if self.state == "closed":
            return self._era, now
        if self.state == "open" and now - self._since >= self._rule.open:
            self._change("half_open", "waited", now)
        if self.state == "open" or self._permits == 0:
            self._refused += 1
            return None
        self._permits -= 1
        self._probes += 1
        return self._era, now

    def record(self, permit: Permit, *, failed: bool) -> None:
        """Count the call, and open or close if that decides it. One that was admitted in an earlier era is too old to
        say anything: a straggler from before it opened must neither close it nor open it again."""
        era, admitted_at = permit
        if era != self._era:
            return
        rule, window, now = self._rule, self._window, self._clock()
        window.add(now, failed=failed, slow=rule.slow is not None and now - admitted_at > rule.slow)
        calls = window.calls
        if self.state == "closed":
            if calls < rule.calls_min:
                return
        else:
            # Opened as soon as the answers to come cannot change it: a probe that hangs must not keep the door ajar.
            calls = rule.half_open
        if window.failures / calls >= rule.failures - _ROUNDING:
            self._change("open", "failures", now)
        elif window.slow / calls >= rule.slow_share - _ROUNDING:
            self._change("open", "slow", now)
        elif self.state == "half_open" and window.calls == calls:
            self._change("closed", "recovered", now)

    def give_back(self, permit: Permit) -> None:
        """A probe's permit is there for the next one."""
        if self.state == "half_open" and permit[0] == self._era:
            self._permits += 1
            self._returned += 1

    def seen(self, why: Why) -> Change:
        """How it stands, as a change from its state to its state."""
        return self._changed(self.state, why, self._clock())

    def _change(self, after: BreakerState, why: Why, now: float) -> None:
        change = self._changed(after, why, now)
        self.state = after
        self._era += 1
        self._since = now
        self._refused = self._probes = self._returned = 0
        self._permits = self._rule.half_open
        self._window = CountWindow(self._rule.half_open) if after == "half_open" else self._fresh()
        if self._on_change is not None:
            self._on_change(change)

    def _changed(self, after: BreakerState, why: Why, now: float) -> Change:
        window = self._window
        counts = (window.calls, window.failures, window.slow, self._refused, self._probes, self._returned)
        return Change(now, self.state, after, why, now - self._since, *counts)

    def _fresh(self) -> CountWindow | TimeWindow:
        rule = self._rule
        return CountWindow(rule.window) if rule.window_s is None else TimeWindow(rule.window_s)


def around(agent: str, breaker: Breaker, perform: AgentFunction) -> AgentFunction:
    """`perform` behind the breaker of its agent type.

    Every attempt that raises counts as failed, whatever it raises, and so does one that the step's own deadline ended:
    it is turned into a `StepTimeout` here, inside. One that was cancelled for another reason, the workflow's deadline
    among them, says nothing about the agent, and neither does what was refused further in.
    """

    async def behind_breaker(call: Call) -> bytes:
        permit = breaker.admit()
        if permit is None:
            raise BreakerOpen(f"step {call.step.name!r}", f"agent {agent!r}")
        try:
            found = await perform(call)
        except asyncio.CancelledError:
            late = step_timeout(call.alarm, call.request) if call.alarm else None
            if late is None:
                breaker.give_back(permit)
                raise
            breaker.record(permit, failed=True)
            raise late from None
        except BreakerOpen:
            breaker.give_back(permit)
            raise
        except Exception:
            breaker.record(permit, failed=True)
            raise
        except BaseException:
            breaker.give_back(permit)
            raise
        # An agent may swallow the cancellation and come back with a finding, too late.
        breaker.record(permit, failed=call.alarm is not None and call.alarm.step_is_late)
        return found

    return behind_breaker
