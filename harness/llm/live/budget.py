"""What real calls may cost: the worst case of each is set aside before it goes out, and settled when it is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.llm.config import BudgetSpent, Caps
from harness.llm.models import served
from harness.llm.prices import Price, price_of
from harness.llm.wire import Asked, Refused


class Budget:
    """Spent and set aside never pass the cap together. The first call that might is refused, and all after it.

    That holds for what a call costs at most by what it says: its body's bytes as input tokens (a token is at least
    one byte), what the dialect counts for images, and its limit on output tokens, at the prices given. What a
    provider bills beside tokens (searches, priority) is not in it.
    """

    def __init__(
        self, caps: Caps, spent_usd: float, prices: Mapping[str, Price], say: Callable[[BudgetSpent], None]
    ) -> None:
        self._cap_usd = caps.cost_usd
        self._prices = prices
        self._say = say
        self._exhausted = False
        self.spent_usd = spent_usd
        self.reserved_usd = 0.0

    def price(self, asked: Asked) -> Price:
        """Of the model. Raises `Refused` when nobody knows it."""
        price = price_of(self._prices, asked.model)
        if price is None:
            raise Refused(
                "bad_request",
                f"The price of {asked.model[:100]!r} is not known, so the cap on cost could not be kept: give it in a "
                "file with --prices.",
                param="model",
            )
        return price

    def reserve(self, asked: Asked, body_bytes: int) -> float:
        """Set the most that this call may cost aside, in US dollars. Raises `Refused`, for good once it is spent."""
        output_tokens = asked.max_tokens
        if output_tokens is None:
            known = served(asked.model)
            if known is None:
                raise Refused(
                    "bad_request",
                    "Give a limit on output tokens: without one this call could cost any amount, and the cap on cost "
                    "could not be kept.",
                    param="max_tokens",
                )
            output_tokens = known.output_tokens_max
        most_usd = self.price(asked).of(max(body_bytes, asked.input_tokens), output_tokens)
        if self._exhausted or self.spent_usd + self.reserved_usd + most_usd > self._cap_usd:
            self._exhaust()
            raise Refused(
                "spend_limit",
                f"The cap of {self._cap_usd:g} USD is reached: {self.spent_usd:.6g} USD are spent, calls in flight may "
                f"cost {self.reserved_usd:.6g} USD, and this one {most_usd:.6g} USD ({output_tokens} output tokens at "
                "most). No further call is sent.",
            )
        self.reserved_usd += most_usd
        return most_usd

    def settle(self, most_usd: float, cost_usd: float) -> None:
        """What was set aside as `most_usd` has cost `cost_usd`."""
        self.reserved_usd = max(0.0, self.reserved_usd - most_usd)
        self.spent_usd += cost_usd

    def _exhaust(self) -> None:
        if not self._exhausted:
            self._exhausted = True
            self._say(BudgetSpent(spent_usd=self.spent_usd, cap_usd=self._cap_usd))
