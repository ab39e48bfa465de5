"""Drawn latencies have the fitted distribution, and each draw is a function of its key alone."""

from __future__ import annotations

import math
import statistics
from statistics import NormalDist

import pytest

from harness.llm.draws import normal, uniforms
from harness.llm.latency import (
    LOAD_SLOWDOWN,
    LOADED_IN_FLIGHT,
    MODELS,
    STALL_LN_S,
    STALL_SHARE,
    Model,
    Timing,
    call_s,
    load_factor,
    timing,
)

N = 20_000
KEY = {"seed": 1, "workflow": "w", "agent": "a", "call": 0, "attempt": 1}


def drawn(model: Model, *, output_tokens: int = 1, workflows: int = N, calls: int = 1) -> list[float]:
    """Latencies of `calls` calls in each of `workflows` workflows."""
    return [
        call_s(
            model, seed=1, workflow=f"w{workflow}", agent="a", call=call, attempt=1,
            output_tokens=output_tokens, in_flight=0, time_scale=1.0,
        )
        for workflow in range(workflows)
        for call in range(calls)
    ]  # fmt: skip


def timing_of(model: Model, *, workflow: str, output_tokens: int = 1) -> Timing:
    """The timing of a workflow's one call."""
    return timing(model, seed=1, workflow=workflow, agent="a", call="c", attempt=0, output_tokens=output_tokens)


def fitted_cdf(model: Model, seconds: float) -> float:
    """The share of times to first token below `seconds`, from the fit alone."""
    body, tail = (NormalDist(*ln).cdf(math.log(seconds)) for ln in (model.body, model.tail))
    return model.body_share * body + (1 - model.body_share) * tail


def mixture_cdf(model: Model, seconds: float) -> float:
    """The share of times to first token below `seconds`, from the fit and the stalls, computed directly."""
    return (1 - STALL_SHARE) * fitted_cdf(model, seconds)


@pytest.mark.parametrize("name", MODELS)
def test_the_time_to_first_token_has_the_fitted_quantiles(name: str) -> None:
    """At p50, p95 and p99 the drawn quantile lies where the fit says, within four standard errors."""
    times = sorted(drawn(MODELS[name]))
    for share in (0.05, 0.50, 0.95, 0.99):
        at = mixture_cdf(MODELS[name], times[int(share * N)])
        assert at == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / N) + STALL_SHARE)


@pytest.mark.parametrize("name", MODELS)
def test_the_time_to_first_token_follows_the_mixture_everywhere(name: str) -> None:
    """Kolmogorov and Smirnov's distance to the fit, of one call from each workflow, is below its 0.1 % limit."""
    times = sorted(timing_of(MODELS[name], workflow=f"w{number}").ttft_s for number in range(N))
    distance = max(
        max(abs(fitted_cdf(MODELS[name], at) - share) for share in (place / N, (place + 1) / N))
        for place, at in enumerate(times)
    )
    assert distance < 1.95 / math.sqrt(N)


@pytest.mark.parametrize("name", MODELS)
def test_the_time_of_a_token_is_lognormal(name: str) -> None:
    """With the fitted mean and deviation of its logarithm, within four standard errors."""
    mu, sigma = MODELS[name].token
    logs = [math.log(timing_of(MODELS[name], workflow=f"w{number}").token_s) for number in range(N)]
    assert statistics.fmean(logs) == pytest.approx(mu, abs=4 * sigma / math.sqrt(N))
    assert statistics.stdev(logs) == pytest.approx(sigma, rel=4 / math.sqrt(2 * N))


def test_the_parts_make_the_whole() -> None:
    """The last token is there when the answer is whole; a stall comes half-way, and all after it are later by it."""
    stalled = next(
        drawn
        for number in range(100_000)
        if (drawn := timing_of(MODELS["sonnet-4"], workflow=f"w{number}", output_tokens=100)).stall_s
    )
    assert stalled.stall_after == 50
    gaps = [stalled.at_s(token + 1) - stalled.at_s(token) for token in range(1, 100)]
    assert gaps[49] == pytest.approx(stalled.token_s + stalled.stall_s)
    assert [*gaps[:49], *gaps[50:]] == pytest.approx([stalled.token_s] * 98)
    assert stalled.at_s(1) == stalled.ttft_s
    assert stalled.at_s(100) == pytest.approx(stalled.total_s(100))
    twice = stalled.scaled(2.0)
    assert twice.total_s(100) == pytest.approx(2 * stalled.total_s(100))
    assert twice.stall_after == stalled.stall_after


def test_an_answer_of_one_token_that_stalls_is_late_as_a_whole() -> None:
    """There is no half of it to be early: the wait that is planned is the wait that comes."""
    for number in range(20_000):
        drawn = timing_of(MODELS["haiku-4.5"], workflow=f"w{number}", output_tokens=1)
        assert drawn.at_s(1) == pytest.approx(drawn.total_s(1))


def test_a_calls_time_is_its_timing_scaled_and_slowed() -> None:
    """The orchestrator's own stand-in for a model and the simulator draw the same."""
    drawn = timing(MODELS["opus-4.5"], **KEY, output_tokens=60)  # type: ignore[arg-type]
    took = call_s(MODELS["opus-4.5"], **KEY, output_tokens=60, in_flight=40, time_scale=0.5)  # type: ignore[arg-type]
    assert took == pytest.approx(drawn.total_s(60) * load_factor(40) * 0.5)


@pytest.mark.parametrize(
    ("name", "p50_s", "p95_s"),
    [("haiku-4.5", 1.12, 2.20), ("sonnet-4", 1.97, 4.61), ("opus-4.5", 2.43, 4.92), ("sonnet-4.5", 5.28, 16.2)],
)
def test_the_fit_is_near_the_recorded_quantiles(name: str, p50_s: float, p95_s: float) -> None:
    """What was recorded, not only what was fitted: the fit itself is up to a fifth off at p95 (sonnet-4)."""
    times = sorted(drawn(MODELS[name]))
    assert times[N // 2] == pytest.approx(p50_s, rel=0.10)
    assert times[int(0.95 * N)] == pytest.approx(p95_s, rel=0.21)


@pytest.mark.parametrize(
    ("name", "p50_s", "p95_s", "ks"),
    [
        ("haiku-4.5", 1.12, 2.20, 0.049),
        ("sonnet-4", 1.97, 4.61, 0.038),
        ("opus-4.5", 2.43, 4.92, 0.035),
        ("sonnet-4.5", 5.28, 16.2, 0.020),
    ],
)
def test_the_recorded_quantiles_are_as_near_as_the_fit_was(name: str, p50_s: float, p95_s: float, ks: float) -> None:
    """Of the drawn times, half and 95 % lie below them, within the fit's own KS distance to the recordings."""
    times = [timing_of(MODELS[name], workflow=f"w{number}").ttft_s for number in range(N)]
    for share, quantile_s in ((0.50, p50_s), (0.95, p95_s)):
        below = sum(each <= quantile_s for each in times) / N
        assert below == pytest.approx(share, abs=ks + 4 * math.sqrt(share * (1 - share) / N))


def test_tokens_never_come_before_the_ones_before_them() -> None:
    """With and without a stall, for any length: the last one is there when the answer is whole."""
    for number in range(3000):
        tokens = 1 + number % 90
        drawn = timing_of(MODELS["haiku-4.5"], workflow=f"w{number}", output_tokens=tokens).scaled(0.3)
        times = [drawn.at_s(token) for token in range(1, tokens + 1)]
        assert times == sorted(times)
        assert times[0] > 0
        assert times[-1] == pytest.approx(drawn.total_s(tokens))


def test_later_tokens_take_their_own_time() -> None:
    """Sonnet 4: 15.6 ms a token at the median; a thousand of them take a thousand times that."""
    model = MODELS["sonnet-4"]
    with_tokens, without = drawn(model, output_tokens=1001), drawn(model, output_tokens=1)
    token_ms = sorted(more - less for more, less in zip(with_tokens, without, strict=True))
    assert token_ms[N // 2] == pytest.approx(15.6, rel=0.03)
    assert token_ms[int(0.99 * N)] == pytest.approx(26.0, rel=0.15)


def test_calls_of_a_workflow_are_alike() -> None:
    """Pooled over the models by their recorded calls, mean ln TTFT differs between workflows by an sd of 0.50."""
    recorded = {"haiku-4.5": 112, "sonnet-4": 998, "opus-4.5": 1971, "sonnet-4.5": 1031}
    total = sum(recorded.values())
    calls = 20
    means: dict[str, list[float]] = {}
    within = 0.0
    for name, count in recorded.items():
        logs = [math.log(each) for each in drawn(MODELS[name], workflows=1000, calls=calls)]
        groups = [logs[at : at + calls] for at in range(0, len(logs), calls)]
        means[name] = [statistics.fmean(group) for group in groups]
        within += count / total * statistics.fmean(statistics.variance(group) for group in groups)
    middle = sum(recorded[name] / total * statistics.fmean(each) for name, each in means.items())
    between = sum(
        recorded[name] / total * statistics.fmean((x - middle) ** 2 for x in each) for name, each in means.items()
    )
    assert math.sqrt(between) == pytest.approx(0.50, abs=0.03)
    assert math.sqrt(within) == pytest.approx(0.33, abs=0.03)


def test_the_same_key_gives_the_same_draw_whatever_was_drawn_between() -> None:
    """And each part of the key matters."""
    rest = {"output_tokens": 60, "in_flight": 0, "time_scale": 1.0}
    first = call_s(MODELS["opus-4.5"], **KEY, **rest)  # type: ignore[arg-type]
    others = {
        call_s(MODELS["opus-4.5"], **{**KEY, part: other}, **rest)  # type: ignore[arg-type]
        for part, other in {"seed": 2, "workflow": "v", "agent": "b", "call": 1, "attempt": 2}.items()
    }
    assert len(others) == 5
    assert first not in others
    assert call_s(MODELS["opus-4.5"], **KEY, **rest) == first  # type: ignore[arg-type]


def test_scale_and_load_multiply() -> None:
    """`time_scale` in proportion; load up to its bound, and no further."""
    model = MODELS["haiku-4.5"]

    def one(time_scale: float, in_flight: int) -> float:
        return call_s(model, **KEY, output_tokens=60, in_flight=in_flight, time_scale=time_scale)  # type: ignore[arg-type]

    assert one(0.2, 0) == pytest.approx(0.2 * one(1.0, 0))
    assert one(1.0, LOADED_IN_FLIGHT) == pytest.approx((1 + LOAD_SLOWDOWN) * one(1.0, 0))
    assert load_factor(0) == 1.0
    assert load_factor(10 * LOADED_IN_FLIGHT) == load_factor(LOADED_IN_FLIGHT)


def test_a_stall_is_rare_and_long() -> None:
    """As many as said, each some seconds beyond what the model ever takes."""
    model = Model(body=(-9.0, 0.0), tail=(-9.0, 0.0), body_share=0.5, token=(-9.0, 0.0))
    times = drawn(model, workflows=100_000)
    stalls = [each for each in times if each > 0.5]
    assert len(stalls) == pytest.approx(STALL_SHARE * len(times), abs=4 * math.sqrt(STALL_SHARE * len(times)))
    assert statistics.fmean(map(math.log, stalls)) == pytest.approx(STALL_LN_S[0], abs=0.25)


def test_uniforms_are_uniform_and_independent() -> None:
    """Each of the eight in the open unit interval, with the right mean and variance, uncorrelated with the next."""
    rows = [uniforms("test", number) for number in range(N)]
    columns = list(zip(*rows, strict=True))
    assert len(columns) == 8
    for column, following in zip(columns, columns[1:] + columns[:1], strict=True):
        assert 0.0 < min(column) < max(column) < 1.0
        assert statistics.fmean(column) == pytest.approx(0.5, abs=4 / math.sqrt(12 * N))
        assert statistics.variance(column) == pytest.approx(1 / 12, rel=0.03)
        assert abs(statistics.correlation(column, following)) < 4 / math.sqrt(N)
    assert uniforms("a", "b") != uniforms("ab") != uniforms("a", "b", "")


def test_normal_is_standard() -> None:
    """Mean 0, sd 1, and the right share beyond 1.96."""
    scores = [normal(*uniforms("test", number)[:2]) for number in range(N)]
    assert statistics.fmean(scores) == pytest.approx(0.0, abs=4 / math.sqrt(N))
    assert statistics.stdev(scores) == pytest.approx(1.0, rel=0.02)
    assert sum(abs(score) > 1.96 for score in scores) / N == pytest.approx(0.05, abs=0.007)
