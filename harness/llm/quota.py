"""What a provider lets be asked for: token buckets that refill without pause, shared by everybody.

A bucket admits a request when it holds its cost, or is full; then it may be left with less than nothing, and whoever
comes next waits that much longer. So one big request is not starved by a small bucket, and over time no more than the
rate is admitted. Clocks give seconds.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping

from harness.llm.models import undated
from harness.llm.wire import Allowance, Asked, Bucket, Refused
from harness.scenario.models import Quota

RAMP_WINDOW_S = 60.0
ROUNDING = 1e-9
"""In seconds, dollars and requests: who waited as long as told is admitted, whatever the last bit of a float says."""

OUTPUT_TOKENS_ESTIMATED = 16
"""What an answer is taken to be at least, where one bucket is charged for input and output together."""


class TokenBucket:
    """Refills `rate` a second, up to what refills in `burst_s`; begins full."""

    def __init__(self, rate: float, burst_s: float, *, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._capacity = max(1.0, rate * burst_s)
        self._level = self._capacity
        self._at = clock()
        self._clock = clock

    def wait_s(self, cost: float) -> float:
        """How long until a request of this cost is admitted; 0 when it is now."""
        self._refill()
        wait_s = (min(cost, self._capacity) - self._level) / self._rate
        return wait_s if wait_s > ROUNDING else 0.0

    def take(self, cost: float) -> None:
        """It was admitted; a negative cost gives back what was charged too much."""
        self._refill()
        self._level = min(self._capacity, self._level - cost)

    def allowance(self) -> Allowance:
        """As headers tell of it: the limit is a minute's, and what a bucket holds beyond that is not told."""
        self._refill()
        limit = max(1.0, self._rate * 60)
        full_s = max(0.0, (min(self._capacity, limit) - self._level) / self._rate)
        return Allowance(limit, min(limit, max(0.0, self._level)), full_s)

    def _refill(self) -> None:
        now = self._clock()
        self._level = min(self._capacity, self._level + (now - self._at) * self._rate)
        self._at = now


class Quotas:
    """The buckets of all models that have a quota. Dated names share the undated one's."""

    def __init__(self, quotas: Mapping[str, Quota], *, clock: Callable[[], float]) -> None:
        self._models = {model: _ModelQuota(quota, clock) for model, quota in quotas.items()}

    def _of(self, model: str) -> _ModelQuota | None:
        return (self._models.get(model) or self._models.get(undated(model))) if self._models else None

    def admit(self, asked: Asked) -> None:
        """Charge the request to its model's buckets, or raise `Refused` and charge nothing."""
        quota = self._of(asked.model)
        if quota is not None:
            quota.admit(asked)

    def generated(self, model: str, tokens: int) -> None:
        """So many more tokens of an answer were generated: charge them."""
        quota = self._of(model)
        if quota is not None:
            quota.generated(tokens)

    def spent(self, model: str, cost_usd: float) -> None:
        """A call cost this."""
        quota = self._of(model)
        if quota is not None:
            quota.spent(cost_usd)

    def allowances(self, model: str) -> dict[Bucket, Allowance]:
        """What the headers tell of the model's buckets."""
        quota = self._of(model)
        return quota.allowances() if quota is not None else {}


class _ModelQuota:
    def __init__(self, quota: Quota, clock: Callable[[], float]) -> None:
        rates: Mapping[Bucket, float | None] = {
            "requests": quota.requests,
            "tokens": quota.tokens,
            "input-tokens": quota.input_tokens,
            "output-tokens": quota.output_tokens,
        }
        self._buckets = {name: TokenBucket(rate, quota.burst, clock=clock) for name, rate in rates.items() if rate}
        self._ramp = Ramp(quota.ramp, clock=clock) if quota.ramp else None
        self._spend_usd = quota.spend
        self._spent_usd = 0.0

    def admit(self, asked: Asked) -> None:
        if self._spend_usd is not None and self._spent_usd >= self._spend_usd - ROUNDING:
            raise Refused("spend_limit", f"You have reached your spend limit of {self._spend_usd:g} USD.")
        costs = self._costs(asked)
        waits = {name: bucket.wait_s(costs[name]) for name, bucket in self._buckets.items()}
        worst = max(waits, key=waits.__getitem__, default=None)
        wait_s = waits[worst] if worst is not None else 0.0
        if self._ramp is not None and (ramp_s := self._ramp.wait_s(wait_s)) > wait_s:
            raise Refused("slow_down", "Your requests grow too fast. Ramp up more slowly.", retry_after_s=ramp_s)
        if worst is not None and wait_s > 0:
            allowance = self._buckets[worst].allowance()
            message = (
                f"Rate limit reached for {asked.model} on {worst} per min: Limit {allowance.limit:.0f}, "
                f"Used {max(0.0, allowance.limit - allowance.remaining):.0f}, Requested {costs[worst]:.0f}. "
                f"Please try again in {math.ceil(wait_s * 1000)}ms."
            )
            raise Refused("rate_limit", message, retry_after_s=wait_s, bucket=worst)
        for name, bucket in self._buckets.items():
            if name != "output-tokens":
                bucket.take(costs[name])
        if self._ramp is not None:
            self._ramp.admitted()

    def generated(self, tokens: int) -> None:
        if (bucket := self._buckets.get("output-tokens")) is not None:
            bucket.take(tokens)

    def spent(self, cost_usd: float) -> None:
        self._spent_usd += cost_usd

    def allowances(self) -> dict[Bucket, Allowance]:
        return {name: bucket.allowance() for name, bucket in self._buckets.items()}

    def _costs(self, asked: Asked) -> dict[Bucket, float]:
        """Output is charged as it is generated; where input and output are one bucket (OpenAI), by what it may be."""
        return {
            "requests": 1.0,
            "tokens": asked.input_tokens + max(asked.max_tokens or 0, OUTPUT_TOKENS_ESTIMATED),
            "input-tokens": asked.input_tokens,
            "output-tokens": 1.0,  # for a bucket that is overdrawn, nobody is admitted
        }


class Ramp:
    """Growth of the rate of requests: in a minute at most `per_minute` a second more than in the minute before.

    Who begins may thus send `per_minute` * 60 requests at once. Requests are counted by whole seconds, so that two
    minutes of any load are 120 numbers; each second leaves a minute when its beginning does.
    """

    def __init__(self, per_minute: float, *, clock: Callable[[], float]) -> None:
        self._growth = per_minute * RAMP_WINDOW_S  # requests of a window
        self._clock = clock
        self._seconds: deque[tuple[int, int]] = deque()  # when each began, and how many it admitted; oldest first

    def wait_s(self, least_s: float = 0.0) -> float:
        """How long until one more is admitted, if it comes no sooner than in `least_s`."""
        now = self._clock()
        while self._seconds and self._seconds[0][0] + 2 * RAMP_WINDOW_S <= now + ROUNDING:
            self._seconds.popleft()
        before, recent = self._counts(now + least_s)
        if self._allowed(before, recent):
            return least_s
        # What the passing of time changes: a second leaves the last minute, and then the one before it.
        leaving = [(second + RAMP_WINDOW_S, admitted, -admitted) for second, admitted in self._seconds]
        leaving += [(second + 2 * RAMP_WINDOW_S, -admitted, 0) for second, admitted in self._seconds]
        # Of those of one moment, what makes less room comes first: they never admit one too early.
        for at, older, newer in sorted(each for each in leaving if each[0] > now + least_s + ROUNDING):
            before, recent = before + older, recent + newer
            if self._allowed(before, recent):
                return at - now
        raise AssertionError("two minutes without requests admit one")

    def _counts(self, at: float) -> tuple[int, int]:
        """Admitted in the minute before the last one, and in the last one, as seen at that time."""
        before = recent = 0
        for second, admitted in self._seconds:
            age_s = at - second + ROUNDING
            if age_s < RAMP_WINDOW_S:
                recent += admitted
            elif age_s < 2 * RAMP_WINDOW_S:
                before += admitted
        return before, recent

    def _allowed(self, before: int, recent: int) -> bool:
        return recent + 1 <= max(1.0, before + self._growth) + ROUNDING

    def admitted(self) -> None:
        """One was."""
        second = math.floor(self._clock())
        count = self._seconds.pop()[1] if self._seconds and self._seconds[-1][0] == second else 0
        self._seconds.append((second, count + 1))
