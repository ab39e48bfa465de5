"""What calls cost: prices by model, from `genai-prices` or from a file of one's own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import UsageError
from harness.llm.models import SERVED, undated

NO_GENAI_PRICES = (
    "the list of prices 'genai-prices' is not installed: pip install 'orchestration-harness[llm]', "
    "or price every model with --prices FILE"
)
_FIELDS = ("input_usd", "output_usd")


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
    """A price for each of `models` that has one: the file's, else that of genai-prices. All of the file's are in it.

    The file is TOML: `[model."my-model"]` with `input_usd` and `output_usd` for a million tokens. Raises UsageError
    with every mistake in it, or when genai-prices is needed and not installed.
    """
    own = _read(override) if override is not None else {}
    others = [model for model in models if model not in own]
    return {**(_listed(others) if others else {}), **own}


def _listed(models: Collection[str]) -> dict[str, Price]:
    """What genai-prices knows. A thousand tokens of each are below every threshold from which tokens cost more."""
    try:
        from genai_prices import Usage, calc_price  # about half a second
    except ImportError:
        raise UsageError(NO_GENAI_PRICES) from None
    found = {}
    for model in models:
        known = SERVED.get(model) or SERVED.get(undated(model))
        try:
            cost = calc_price(
                Usage(input_tokens=1000, output_tokens=1000), model, provider_id=known.provider if known else None
            )
        except LookupError:  # a model of one's own
            continue
        found[model] = Price(float(cost.input_price * 1000), float(cost.output_price * 1000))
    return found


def _read(path: Path) -> dict[str, Price]:
    # Here, not above: validation comes with it, and the provider's process only needs `Price`.
    from harness.scenario.loading import read_toml, report_mistakes
    from harness.scenario.mistakes import Mistake, unknown_key

    def mistakes(document: Mapping[str, Any]) -> Iterator[Mistake]:
        for key in document.keys() - {"model"}:
            yield Mistake((key,), unknown_key(key, ("model",)))
        tables = document.get("model", {})
        if not isinstance(tables, dict) or not tables:
            yield Mistake(("model",), 'holds no prices: write [model."name"] with input_usd and output_usd')
            return
        for model, table in tables.items():
            if not isinstance(table, dict):
                yield Mistake(("model", model), f"must be a table with {' and '.join(_FIELDS)}")
                continue
            for key in table.keys() - set(_FIELDS):
                yield Mistake(("model", model, key), unknown_key(key, _FIELDS))
            for key in _FIELDS:
                if key not in table:
                    yield Mistake(("model", model), f"{key} is missing: US dollars for a million tokens")
                elif not _is_price(table[key]):
                    yield Mistake(
                        ("model", model, key),
                        f"must be US dollars for a million tokens, a number from 0 on, not {table[key]!r}",
                    )

    text, document = read_toml(path)
    report_mistakes(path, text, list(mistakes(document)))
    return {model: Price(*(float(table[key]) for key in _FIELDS)) for model, table in document["model"].items()}


def _is_price(value: object) -> bool:
    # Bounded, because TOML's integers are not: a float holds no more than about 1e308.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1e9
