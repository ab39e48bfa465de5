"""Whether and when a failed attempt is tried again.

Attempts a step are bounded, and so are all retries together: without a shared budget, retries multiply the load of a
system exactly when it can bear the least.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.errors import TargetError
from harness.llm.draws import uniforms
from harness.orchestrator.call import AgentFailed

FLOOR = 10.0
"""Retries a quiet system may make before any budget was earned; refilled by one a second."""
CEILING = 100.0
"""Budget that can be saved up: good hours do not pay for an unbounded burst of retries."""


class RetryBudget:
    """A bucket of retries: every first attempt puts in `share`, every retry takes one out.

    Over any long time retries / first attempts <= share, beside the FLOOR. A share of 0 allows no retry at all.
    """

    __slots__ = ("_clock", "_settled_at", "_settled_firsts", "_tokens", "first_attempts", "retries", "share")

    def __init__(self, share: float, *, clock: Callable[[], float]) -> None:
        self.share = share
        self.first_attempts = 0  # counted up by the caller: this is on every step's path, settling is not
        self.retries = 0
        self._clock = clock
        self._tokens = FLOOR
        self._settled_firsts = 0
        self._settled_at = clock()

    def take(self) -> bool:
        """Whether one more retry may be made; if so it is counted."""
        if self.share <= 0:
            return False
        self._settle()
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        self.retries += 1
        return True

    def wait_s(self, failure: AgentFailed, what: str, *, is_last: bool, back_off_s: float, left_s: float) -> float:
        """Seconds to wait before the next attempt, which is counted. Raises `TargetError`, about `what`, for none.

        Whoever failed the attempt may have said when to come again: back-off is added to that, so that all who were
        told the same do not come at once. `left_s` is the time to the deadline; nobody waits in order to miss it.
        """
        if is_last or failure.final:
            raise TargetError(what, definite=True, error_class=failure.error_class) from failure
        wait_s = failure.retry_after_s + back_off_s
        if failure.retry_after_s > 0 and wait_s >= left_s:
            what += f"; no retry: it may come again after {wait_s:.3g} s, and the deadline is before that"
            raise TargetError(what, definite=True, error_class=failure.error_class) from failure
        if not self.take():
            what += f"; no retry: the budget of {self.share:.0%} of first attempts is used up"
            raise TargetError(what, definite=True, error_class="retry_budget") from failure
        return wait_s

    def _settle(self) -> None:
        """Earn what came in since the last time."""
        now = self._clock()
        if self._tokens < FLOOR:
            self._tokens = min(FLOOR, self._tokens + (now - self._settled_at))
        earned = self.share * (self.first_attempts - self._settled_firsts)
        self._tokens = min(CEILING, self._tokens + earned)
        self._settled_at, self._settled_firsts = now, self.first_attempts


def retry_wait_s(first_wait_s: float, *, attempt: int, seed: int, workflow: str, step: str) -> float:
    """Seconds to wait after failed `attempt` (from 1): doubling, times a seeded jitter of 0.5 to 1.5.

    The jitter keeps workflows that failed together from coming back together.
    """
    jitter = 0.5 + uniforms("retry", seed, workflow, step, attempt)[0]
    return float(first_wait_s * 2 ** (attempt - 1) * jitter)
