"""The models that the simulator serves by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.scenario.models import undated

__all__ = ["SERVED", "Served", "served", "undated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A model. `latency` is its class in `latency.MODELS`; `context_tokens` its window, input and output together."""

    provider: str  # openai | anthropic; "" answers on either
    latency: str
    context_tokens: int = 200_000
    output_tokens_max: int = 64_000


# The latency classes were fitted to Anthropic's models; which of them an OpenAI model is like is judgement.
SERVED: Mapping[str, Served] = {
    "gpt-4.1-mini": Served(provider="openai", latency="haiku-4.5", context_tokens=1_047_576, output_tokens_max=32_768),
    "gpt-4.1": Served(provider="openai", latency="sonnet-4", context_tokens=1_047_576, output_tokens_max=32_768),
    "gpt-4o-mini": Served(provider="openai", latency="haiku-4.5", context_tokens=128_000, output_tokens_max=16_384),
    "gpt-4o": Served(provider="openai", latency="sonnet-4", context_tokens=128_000, output_tokens_max=16_384),
    "gpt-5-mini": Served(provider="openai", latency="haiku-4.5", context_tokens=400_000, output_tokens_max=128_000),
    "gpt-5": Served(provider="openai", latency="opus-4.5", context_tokens=400_000, output_tokens_max=128_000),
    "claude-haiku-4-5": Served(provider="anthropic", latency="haiku-4.5"),
    "claude-sonnet-4-0": Served(provider="anthropic", latency="sonnet-4"),
    "claude-sonnet-4-5": Served(provider="anthropic", latency="sonnet-4.5"),
    "claude-opus-4-5": Served(provider="anthropic", latency="opus-4.5"),
}


def served(model: str, further: Mapping[str, str] = {}) -> Served | None:
    """The model of that name, dated or not; `further` are names that a scenario adds, with their latency classes."""
    if model in further:
        return Served(provider="", latency=further[model])
    return SERVED.get(model) or SERVED.get(undated(model))
