"""What calls cost: prices by model, from `genai-prices` or from a file of one's own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from harness.errors import UsageError
from harness.llm.models import undated


class Price(msgspec.Struct, frozen=True):
    """US dollars for a million tokens, without discounts for cached or batched ones."""

    input_usd: float
    output_usd: float

    def of(self, input_tokens: int, output_tokens: int) -> float:
        """US dollars for one call."""
        return (self.input_usd * input_tokens + self.output_usd * output_tokens) / 1e6


def price_of(prices: Mapping[str, Price], model: str) -> Price | None:
    """The price of a model, dated or not."""
    return prices.get(model) or prices.get(undated(model))


def load_prices(models: Collection[str], override: Path | None) -> dict[str, Price]:
    """A price for each of `models` that has one: the file's, else that of genai-prices.

    The file is TOML: `[model."my-model"]` with `input_usd` and `output_usd` for a million tokens. Raises UsageError
    with every mistake in it, or when genai-prices is needed and not installed.
    """
    raise UsageError("prices are not implemented")
