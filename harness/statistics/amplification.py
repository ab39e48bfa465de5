"""What a dependency saw of what was meant: retry amplification, how retries after a 429 were spread, and wasted work.

Counted at the dependency's side, from `calls.jsonl` as the provider wrote it (FAULTS.md, section 1: AF, wake
dispersion, waste): what a client believes to have sent is what a lost reply hides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.statistics.calls import ANSWERED, ATTRIBUTED, NAMED, Calls, having
from harness.statistics.metrics import Metric
from harness.statistics.quantile import Floats, quantile, samples
from harness.statistics.resources import NOTHING

TOO_MANY = 429
EARLY_S = 0.001
"""The clocks of event loops tick in milliseconds: so much before the permitted moment is not early."""
HERD_S = 0.1
"""Calls within it come at once, as far as a quota that refills is concerned."""
WAKES_MIN = 4
"""Fewer have no quartiles."""


class Count(NamedTuple):
    """So many operations at one layer, as `what` counts them: workflows, steps, attempts of the SDK, requests."""

    what: str
    n: int


class Amplification(msgspec.Struct, frozen=True):
    """AF: operations of a layer / operations of the layer above, and attempts at the dependency / what was meant.

    1 is none; below 1, some never arrived. The product of the layers is `end_to_end`. None: nothing was meant.
    """

    layers: dict[str, float | None]  # by what is counted below
    end_to_end: float | None

    @property
    def metric(self) -> Metric:
        """End to end."""
        return NOTHING if self.end_to_end is None else Metric(value=self.end_to_end, n=1)


def amplification(counts: Sequence[Count]) -> Amplification:
    """From logical operations, first, down to the attempts that the dependency saw, last. Raises ValueError below two:
    a ratio needs both ends."""
    if len(counts) < 2:
        raise ValueError("amplification needs the logical operations and the attempts seen at the dependency")
    layers = {below.what: below.n / above.n if above.n else None for above, below in pairwise(counts)}
    first, last = counts[0], counts[-1]
    return Amplification(layers=layers, end_to_end=last.n / first.n if first.n else None)


def call_layers(calls: Calls, meant: int) -> tuple[Count, ...]:
    """Calls to models, for `amplification`: `meant` by the steps, asked by the orchestrator, tried by the SDK.

    The SDK numbers its own tries from 0, so a step was asked again where the number does not grow: a first try that
    never arrived hides nothing. Calls without a named step count as asked where they are an SDK's first try.
    """
    named = _by_step(calls)
    is_again = (named["step"][1:] == named["step"][:-1]) & (named["attempt"][1:] > named["attempt"][:-1])
    others = calls[~having(calls, NAMED)]
    asked = len(named) - int(np.sum(is_again)) + int(np.sum(others["attempt"] == 0))
    return Count("calls", meant), Count("asked", asked), Count("attempts", len(calls))


def _by_step(calls: Calls) -> Calls:
    """Those of named steps; each step's together, as they came."""
    named = calls[having(calls, NAMED)]
    return named[np.lexsort((named["at"], named["step"]))]


class Dispersion(msgspec.Struct, frozen=True):
    """How those who had been told to come back later did so.

    `spread_s` is the distance of the quartiles of how long after the permitted moment they came: what the callers'
    jitter adds, 0 for none whatever; None below WAKES_MIN. `herd_share` is the largest share of all that came within
    HERD_S. Together: a herd that is large and a spread that is 0 is a storm that comes back.
    """

    wakes: int
    early: int  # before the permitted moment
    spread_s: float | None
    herd_share: float | None

    @property
    def metric(self) -> Metric:
        """The spread."""
        return NOTHING if self.spread_s is None else Metric(value=self.spread_s, n=self.wakes)


class Wakes(NamedTuple):
    """Retries after a 429 that said when to come back; s from t0, of the same length."""

    permitted: Floats
    at: Floats


def wakes_after_429(calls: Calls) -> Wakes:
    """A step's next attempt after each 429 with a Retry-After that it got; who never came again is not among them."""
    named = _by_step(calls)
    refused, following = named[:-1], named[1:]
    is_retry = (refused["step"] == following["step"]) & (refused["status"] == TOO_MANY)
    is_retry &= ~np.isnan(refused["retry_after"])
    told = refused[is_retry]
    return Wakes(permitted=told["at"] + told["ended"] + told["retry_after"], at=following["at"][is_retry])


def dispersion(wakes: Wakes) -> Dispersion:
    """Whether they came back at once, spread, or too early."""
    n = len(wakes.at)
    if not n:
        return Dispersion(wakes=0, early=0, spread_s=None, herd_share=None)
    late_s = samples(wakes.at - wakes.permitted)
    at = samples(wakes.at)
    largest = int(np.max(np.searchsorted(at, at + HERD_S) - np.arange(n)))
    return Dispersion(
        wakes=n,
        early=int(np.sum(late_s < -EARLY_S)),
        spread_s=quantile(late_s, 0.75) - quantile(late_s, 0.25) if n >= WAKES_MIN else None,
        herd_share=largest / n,
    )


class Waste(msgspec.Struct, frozen=True):
    """Work of models that nothing came of. Shares are of all that was used; None: nothing was, or no price is known."""

    calls: int  # attempts that were discarded
    tokens: int  # asked, answered, and generated for nobody
    cost_usd: float | None
    tokens_share: float | None
    cost_share: float | None


def waste(calls: Calls, ended_ok: NDArray[np.int64]) -> Waste:
    """`ended_ok` are the hashed ids of the workflows that succeeded.

    Of use is, for each step of those, the last attempt that was answered whole; a call that names no workflow or no
    step, when it was answered. All others are discarded, with all that was asked and answered: failed, cut and doubled
    attempts, and whatever was done for workflows that did not succeed. Of a useful one, tokens generated for a client
    that had gone are.
    """
    is_of_use = _is_of_use(calls, ended_ok)
    tokens = calls["input"] + calls["output"] + calls["unread"]
    lost = np.where(is_of_use, calls["unread"], tokens)
    all_tokens, lost_tokens = int(np.sum(tokens)), int(np.sum(lost))
    cost, all_cost = float(np.sum(calls["cost"][~is_of_use])), float(np.sum(calls["cost"]))
    return Waste(
        calls=int(np.sum(~is_of_use)),
        tokens=lost_tokens,
        cost_usd=None if math.isnan(cost) else cost,
        tokens_share=lost_tokens / all_tokens if all_tokens else None,
        cost_share=cost / all_cost if all_cost and not math.isnan(all_cost) else None,
    )


def _is_of_use(calls: Calls, ended_ok: NDArray[np.int64]) -> NDArray[np.bool_]:
    is_answered = having(calls, ANSWERED)
    did_end_ok = ~having(calls, ATTRIBUTED) | np.isin(calls["workflow"], ended_ok)
    is_of_use: NDArray[np.bool_] = is_answered & did_end_ok
    places = np.flatnonzero(is_of_use & having(calls, NAMED))
    ordered = places[np.lexsort((calls["at"][places], calls["step"][places]))]
    steps = calls["step"][ordered]
    is_of_use[ordered[:-1][steps[:-1] == steps[1:]]] = False  # answered again later
    return is_of_use
