"""How long a model takes to answer: per model class, a mixture of two lognormals fitted to recorded calls.

    call_s = (TTFT + (output_tokens - 1) * token_s + stall) * load_factor(in_flight) * time_scale

TTFT, the time to first token, is a body and a slow tail: one lognormal alone is rejected by the recordings. Calls of
one workflow are alike (the same conversation, the same provider weather), which is what makes a slow workflow slow
in every step. Rather than multiply the fit by one more factor, which would widen it beyond the recordings, each
normal score behind a call is sqrt(S) * workflow's score + sqrt(1 - S) * call's own score, with S = WORKFLOW_SHARE.
Within a component that is a lognormal factor per workflow, and over many workflows the fitted distribution stays
exactly what it was.

The fits are of recorded coding agents with long prompts; for short prompts take the fastest class, or scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from harness.llm.draws import normal, uniforms

WORKFLOW_SHARE = 0.6
"""Share of a score's variance that a whole workflow has in common. Pooled over the four classes below, weighted by
their recorded calls, the sd between workflows of mean ln TTFT is then 0.50, the recorded one (within: 0.33 against
a recorded 0.28). The four classes differ from each other; 0.50 within each of them would count that twice."""

LOADED_IN_FLIGHT = 100
LOAD_SLOWDOWN = 0.25
"""Calls take this share longer with LOADED_IN_FLIGHT in flight: judgement, kept modest, because hosted models hide
most of their load; one server of your own may slow by two or three times."""

STALL_SHARE = 0.001
STALL_LN_S = (math.log(8.0), 0.5)
"""One call in a thousand stands still for about 8 s more: judgement; recorded tails hold a few such calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One class of models. Pairs are (mu, sigma) of the natural logarithm of seconds."""

    body: tuple[float, float]
    tail: tuple[float, float]
    body_share: float
    token: tuple[float, float]


def _model(
    body_share: float, body: tuple[float, float], tail: tuple[float, float], token_ms: tuple[float, float]
) -> Model:
    token = (token_ms[0] - math.log(1000.0), token_ms[1])
    return Model(body_share=body_share, body=body, tail=tail, token=token)


# Fitted to calls recorded in callanjfox/kv-cache-tester (Apache-2.0); tokens are given in ln of milliseconds.
MODELS: Mapping[str, Model] = {
    "haiku-4.5": _model(0.73, (-0.03, 0.37), (0.53, 0.29), (2.07, 0.24)),
    "sonnet-4": _model(0.70, (0.61, 0.20), (1.20, 0.53), (2.74, 0.26)),
    "opus-4.5": _model(0.69, (0.80, 0.21), (1.26, 0.38), (2.87, 0.25)),
    "sonnet-4.5": _model(0.26, (0.96, 0.24), (1.91, 0.56), (2.90, 0.29)),
}


class Timing(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """When the tokens of one answer come: the first after `ttft_s`, each later one `token_s` after the one before it,
    and all from token `stall_after` on later by `stall_s`."""

    ttft_s: float
    token_s: float
    stall_s: float
    stall_after: int

    def at_s(self, token: int) -> float:
        """When this token (from 1) is there."""
        return self.ttft_s + (token - 1) * self.token_s + (self.stall_s if token > self.stall_after else 0.0)

    def total_s(self, output_tokens: int) -> float:
        """When the answer is whole."""
        return self.ttft_s + max(0, output_tokens - 1) * self.token_s + self.stall_s

    def scaled(self, factor: float) -> Timing:
        """Everything longer by this factor."""
        return Timing(
            ttft_s=self.ttft_s * factor,
            token_s=self.token_s * factor,
            stall_s=self.stall_s * factor,
            stall_after=self.stall_after,
        )


def timing(
    model: Model, *, seed: int, workflow: str, agent: str, call: int | str, attempt: int, output_tokens: int
) -> Timing:
    """The timing of one answer, neither scaled nor slowed by load. `call` tells the calls of one agent apart.

    The draw depends on (seed, workflow, agent, call, attempt) alone, so interleaving never changes it.
    """
    workflow_choice, workflow_position = _workflow_scores(seed, workflow)
    u = uniforms("call", seed, workflow, agent, call, attempt)
    choice = _share(workflow_choice, normal(u[0], u[1]))
    position = _share(workflow_position, normal(u[2], u[3]))
    pace = _share(workflow_position, normal(u[4], u[5]))
    in_body = 0.5 * math.erfc(-choice / math.sqrt(2.0)) < model.body_share  # the normal's CDF: uniform again
    stall_s = 0.0
    if u[6] < STALL_SHARE:
        # Given that it is below STALL_SHARE, u[6] / STALL_SHARE is uniform itself and serves as the second half.
        stall_s = _lognormal(STALL_LN_S, normal(u[7], u[6] / STALL_SHARE))
    return Timing(
        ttft_s=_lognormal(model.body if in_body else model.tail, position),
        token_s=_lognormal(model.token, pace),
        stall_s=stall_s,
        stall_after=max(1, output_tokens) // 2,
    )


def call_s(
    model: Model,
    *,
    seed: int,
    workflow: str,
    agent: str,
    call: int | str,
    attempt: int,
    output_tokens: int,
    in_flight: int,
    time_scale: float,
) -> float:
    """Seconds from sending a call to its last token: its timing, scaled, and slowed by the calls `in_flight`."""
    drawn = timing(
        model, seed=seed, workflow=workflow, agent=agent, call=call, attempt=attempt, output_tokens=output_tokens
    )
    return drawn.total_s(output_tokens) * load_factor(in_flight) * time_scale


def load_factor(in_flight: int) -> float:
    """How much longer a call takes beside `in_flight` others: linear up to LOADED_IN_FLIGHT, flat from there."""
    return 1.0 + LOAD_SLOWDOWN * min(in_flight, LOADED_IN_FLIGHT) / LOADED_IN_FLIGHT


@lru_cache(maxsize=4096)
def _workflow_scores(seed: int, workflow: str) -> tuple[float, float]:
    u = uniforms("workflow", seed, workflow)
    return normal(u[0], u[1]), normal(u[2], u[3])


def _share(workflow_score: float, own_score: float) -> float:
    return math.sqrt(WORKFLOW_SHARE) * workflow_score + math.sqrt(1.0 - WORKFLOW_SHARE) * own_score


def _lognormal(ln: tuple[float, float], score: float) -> float:
    return math.exp(ln[0] + ln[1] * score)
