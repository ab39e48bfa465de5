"""What is admitted over time, and how long whoever was refused is told to wait, on a clock of the test's own."""

from __future__ import annotations

import heapq
import math
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.llm.quota import OUTPUT_TOKENS_ESTIMATED, Quotas, Ramp, TokenBucket
from harness.llm.wire import Asked, Refused
from harness.scenario.models import Quota

MOMENT_S = 1e-6


@dataclass
class Clock:
    """Stands still until it is moved."""

    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


def asked(model: str = "some-model", input_tokens: int = 100, max_tokens: int | None = None) -> Asked:
    return Asked(api="openai.chat", model=model, text="", input_tokens=input_tokens, max_tokens=max_tokens)


def refused(call: Callable[[], None]) -> Refused:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value


def quotas(clock: Clock, **quota: float) -> Quotas:
    """A quota of `some-model`."""
    return Quotas({"some-model": Quota(**quota)}, clock=clock)


def admitted(given: Quotas, request: Asked, count: int) -> int:
    """How many of so many requests are admitted at this moment."""
    admissions = 0
    for _ in range(count):
        try:
            given.admit(request)
        except Refused:
            continue
        admissions += 1
    return admissions


def told_s(given: Quotas, request: Asked) -> float:
    """How long the request is told to wait; 0 when it is admitted."""
    try:
        given.admit(request)
    except Refused as no:
        return no.retry_after_s or math.inf
    return 0.0


# One bucket.


def test_a_bucket_begins_full_and_refills_without_pause() -> None:
    """60 a minute with a second's burst act as one a second: not 60 at the top of each minute."""
    clock = Clock()
    given = quotas(clock, requests=1.0, burst=1.0)
    assert admitted(given, asked(), 5) == 1
    clock.now_s += 0.5
    assert admitted(given, asked(), 5) == 0
    clock.now_s += 0.5
    assert admitted(given, asked(), 5) == 1


def test_a_full_bucket_holds_what_refills_in_its_burst() -> None:
    """And no more, however long nobody asks."""
    clock = Clock()
    given = quotas(clock, requests=2.0, burst=30.0)
    assert admitted(given, asked(), 100) == 60
    clock.now_s += 1e6
    assert admitted(given, asked(), 100) == 60


def test_a_bucket_smaller_than_one_request_still_admits_one() -> None:
    """One request every ten seconds with a second's burst: a tenth of a request would admit nobody, ever."""
    clock = Clock()
    given = quotas(clock, requests=0.1, burst=1.0)
    assert admitted(given, asked(), 3) == 1
    clock.now_s += 10.0
    assert admitted(given, asked(), 3) == 1


def test_who_waits_as_long_as_told_is_admitted() -> None:
    """A moment earlier it is refused again."""
    clock = Clock()
    given = quotas(clock, input_tokens=10.0, burst=20.0)
    given.admit(asked(input_tokens=150))
    told = refused(lambda: given.admit(asked(input_tokens=120))).retry_after_s
    assert told == pytest.approx(7.0)
    assert told is not None
    clock.now_s += told - MOMENT_S
    assert refused(lambda: given.admit(asked(input_tokens=120))).retry_after_s == pytest.approx(MOMENT_S)
    clock.now_s += 2 * MOMENT_S
    given.admit(asked(input_tokens=120))


def test_a_request_larger_than_its_bucket_waits_for_a_full_one_and_leaves_a_debt() -> None:
    """It would starve otherwise; whoever comes next pays for it by waiting."""
    clock = Clock()
    given = quotas(clock, input_tokens=10.0, burst=10.0)
    given.admit(asked(input_tokens=1))
    assert refused(lambda: given.admit(asked(input_tokens=500))).retry_after_s == pytest.approx(0.1)
    clock.now_s += 0.1
    given.admit(asked(input_tokens=500))
    assert refused(lambda: given.admit(asked(input_tokens=1))).retry_after_s == pytest.approx(40.1)


@pytest.mark.parametrize("rate", [0.02, 0.5, 7.0, 300.0])
@pytest.mark.parametrize("burst_s", [0.1, 2.0, 200.0])
@given(asks=st.lists(st.tuples(st.floats(0, 3), st.floats(0.1, 50)), min_size=1, max_size=60))
def test_never_more_is_admitted_than_refilled(rate: float, burst_s: float, asks: list[tuple[float, float]]) -> None:
    """In any window: a full bucket, what refills in it, and by how much its largest request is more than a bucket."""
    clock = Clock()
    bucket = TokenBucket(rate, burst_s, clock=clock)
    capacity = max(1.0, rate * burst_s)
    admissions: list[tuple[float, float]] = []
    for pause_s, cost in asks:
        clock.now_s += pause_s
        if bucket.wait_s(cost) == 0:
            bucket.take(cost)
            admissions.append((clock.now_s, cost))
    for first, (began_s, _) in enumerate(admissions):
        taken = largest = 0.0
        for at_s, cost in admissions[first:]:
            taken, largest = taken + cost, max(largest, cost)
            assert taken <= capacity + rate * (at_s - began_s) + max(0.0, largest - capacity) + 1e-6


@pytest.mark.parametrize("burst_s", [0.5, 5.0, 60.0, 600.0])
@pytest.mark.parametrize(("rate", "clients"), [(7.3, 40), (60.0, 10)])
def test_a_saturated_minute_admits_its_quota(burst_s: float, rate: float, clients: int) -> None:
    """Within 1 %: once the burst is used up, clients that wait as told, all at once, get the rate and nothing else."""
    clock = Clock()
    given = quotas(clock, requests=rate, burst=burst_s)
    admitted(given, asked(), math.ceil(rate * burst_s) + 1)
    due = [(clock.now_s + number / clients, number) for number in range(clients)]
    heapq.heapify(due)
    admissions = 0
    while due[0][0] <= 100.0 + 60.0:
        clock.now_s, number = heapq.heappop(due)
        wait_s = told_s(given, asked())
        admissions += wait_s == 0
        heapq.heappush(due, (clock.now_s + wait_s, number))
    assert admissions == pytest.approx(rate * 60, rel=0.01)


@given(
    steps=st.lists(st.tuples(st.floats(0, 40), st.integers(1, 3000), st.integers(0, 200)), min_size=1, max_size=40),
    ramp=st.sampled_from([0.02, 0.05, 0.2]),
)
def test_who_waits_exactly_as_told_alone_is_admitted(steps: list[tuple[float, int, int]], ramp: float) -> None:
    """By all limits of a model together, whatever they are in the middle of; and a refusal charged none of them."""
    clock = Clock()
    given = quotas(clock, requests=0.5, input_tokens=20.0, output_tokens=5.0, burst=10.0, ramp=ramp)
    for pause_s, tokens, generated in steps:
        clock.now_s += pause_s
        request = asked(input_tokens=tokens)
        before = given.allowances("some-model")
        if wait_s := told_s(given, request):
            assert given.allowances("some-model") == before
            clock.now_s += wait_s
            given.admit(request)
        given.generated("some-model", generated)


@given(steps=st.lists(st.tuples(st.floats(0.001, 2), st.integers(1, 400)), min_size=1, max_size=50))
def test_the_wait_is_never_short_and_never_long(steps: list[tuple[float, int]]) -> None:
    """Whatever came before: after exactly the wait that was told a request is admitted, and not before."""
    clock = Clock()
    given = quotas(clock, tokens=50.0, burst=4.0)
    for pause_s, tokens in steps:
        clock.now_s += pause_s
        request = asked(input_tokens=tokens)
        if admitted(given, request, 1):
            continue
        told = refused(lambda request=request: given.admit(request)).retry_after_s  # type: ignore[misc]
        assert told is not None
        clock.now_s += max(0.0, told - MOMENT_S)
        assert told <= MOMENT_S or admitted(given, request, 1) == 0
        clock.now_s += 2 * MOMENT_S
        given.admit(request)


# Several buckets.


def test_a_refusal_charges_nothing() -> None:
    """Not even the buckets that would have admitted it."""
    clock = Clock()
    given = quotas(clock, requests=10.0, input_tokens=10.0, burst=10.0)
    given.admit(asked(input_tokens=100))
    left = given.allowances("some-model")["requests"].remaining
    for _ in range(20):
        refused(lambda: given.admit(asked(input_tokens=50)))
    assert given.allowances("some-model")["requests"].remaining == left == 99


def test_a_refusal_names_the_bucket_that_takes_longest() -> None:
    """Its message is like the provider's: which model, on what, limit, used, requested, and when to try again."""
    clock = Clock()
    given = quotas(clock, requests=1.0, input_tokens=10.0, burst=1.0)
    given.admit(asked(input_tokens=10))
    no = refused(lambda: given.admit(asked(input_tokens=5)))
    assert (no.kind, no.bucket, no.retry_after_s) == ("rate_limit", "requests", 1.0)
    clock.now_s += 1.0
    given.admit(asked(input_tokens=60))
    no = refused(lambda: given.admit(asked(input_tokens=10)))
    assert (no.bucket, no.retry_after_s) == ("input-tokens", 6.0)
    assert no.message == (
        "Rate limit reached for some-model on input-tokens per min: Limit 600, Used 600, Requested 10. "
        "Please try again in 6000ms."
    )


def test_openai_charges_input_and_the_larger_of_limit_and_estimate_together() -> None:
    """What the answer may be counts, not what it is: a generous max_tokens eats the quota."""
    for max_tokens, cost in ((None, 100 + OUTPUT_TOKENS_ESTIMATED), (1, 100 + OUTPUT_TOKENS_ESTIMATED), (400, 500)):
        given = quotas(Clock(), tokens=1000.0, burst=1.0)
        given.admit(asked(max_tokens=max_tokens))
        given.generated("some-model", 30)
        assert given.allowances("some-model")["tokens"].remaining == 1000 - cost


def test_anthropic_charges_output_as_it_is_generated() -> None:
    """`max_tokens` counts for nothing; a bucket that is overdrawn admits nobody until it holds a token again."""
    clock = Clock()
    given = quotas(clock, output_tokens=10.0, burst=10.0)
    given.admit(asked(max_tokens=10_000))
    assert given.allowances("some-model")["output-tokens"].remaining == 100
    given.generated("some-model", 60)
    given.admit(asked(max_tokens=10_000))
    given.generated("some-model", 90)
    no = refused(lambda: given.admit(asked()))
    assert (no.bucket, no.retry_after_s) == ("output-tokens", pytest.approx(5.1))
    clock.now_s += 5.1 + MOMENT_S
    given.admit(asked())


def test_dated_names_share_the_bucket_of_the_undated_one() -> None:
    """As providers count by model, not by snapshot."""
    given = Quotas({"gpt-4o": Quota(requests=1.0, burst=2.0)}, clock=Clock())
    given.admit(asked("gpt-4o-2024-08-06"))
    given.admit(asked("gpt-4o"))
    for model in ("gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-2024-11-20", "gpt-4o-latest"):
        refused(lambda model=model: given.admit(asked(model)))  # type: ignore[misc]


def test_two_models_have_buckets_of_their_own() -> None:
    """What one has used up, another still has: also money."""
    clock = Clock()
    limits = Quota(requests=1.0, burst=2.0, spend=1.0)
    given = Quotas({"gpt-4o": limits, "gpt-4o-mini": limits}, clock=clock)
    assert admitted(given, asked("gpt-4o"), 5) == 2
    given.spent("gpt-4o", 5.0)
    assert given.allowances("gpt-4o-mini")["requests"].remaining == 60 - 58
    assert admitted(given, asked("gpt-4o-mini-2024-07-18"), 5) == 2


def test_a_model_without_a_quota_is_never_refused() -> None:
    """Nor is there anything to tell of it in headers."""
    given = quotas(Clock(), requests=1.0, burst=1.0)
    assert admitted(given, asked("another"), 1000) == 1000
    assert given.allowances("another") == {}


def test_headers_are_told_what_a_minute_allows() -> None:
    """Limit of a minute, what is left, and how long until all of it is there; a debt is told as nothing left."""
    clock = Clock()
    given = quotas(clock, requests=2.0, input_tokens=10.0, burst=60.0)
    given.admit(asked(input_tokens=900))
    told = given.allowances("some-model")
    assert (told["requests"].limit, told["requests"].remaining, told["requests"].reset_s) == (120, 119, 0.5)
    tokens = told["input-tokens"]
    assert (tokens.limit, tokens.remaining, tokens.reset_s) == (600, 0, 90)
    clock.now_s += 60
    assert given.allowances("some-model")["input-tokens"].remaining == 300


@pytest.mark.parametrize(("rate", "burst_s"), [(2.0, 1.0), (2.0, 60.0), (2.0, 600.0), (0.001, 1.0), (0.001, 9e4)])
@given(pauses=st.lists(st.floats(0, 400), max_size=10))
def test_headers_never_tell_of_more_left_than_the_limit(rate: float, burst_s: float, pauses: list[float]) -> None:
    """A bucket may hold many minutes' worth, or one request of a quota of less than one a minute."""
    clock = Clock()
    given = quotas(clock, requests=rate, burst=burst_s)
    for pause_s in [0.0, *pauses]:
        clock.now_s += pause_s
        told = given.allowances("some-model")["requests"]
        assert 0 <= told.remaining <= told.limit == max(1.0, rate * 60)
        clock.now_s += told.reset_s
        full = given.allowances("some-model")["requests"]
        assert (full.remaining, full.reset_s) == pytest.approx((min(full.limit, max(1.0, rate * burst_s)), 0), abs=1e-6)
        admitted(given, asked(), 3)


# Spending, and growth.


def test_a_spend_limit_is_final() -> None:
    """No wait is told, and none would help."""
    clock = Clock()
    given = quotas(clock, spend=0.10)
    given.admit(asked())
    given.spent("some-model", 0.09)
    given.admit(asked())
    given.spent("some-model", 0.02)
    clock.now_s += 1e6
    no = refused(lambda: given.admit(asked()))
    assert (no.kind, no.retry_after_s) == ("spend_limit", None)


def test_a_spend_limit_of_many_small_sums_is_exact() -> None:
    """Ten times ten cents are a dollar, though their sum as floats is a little less."""
    given = quotas(Clock(), spend=1.0)
    for _ in range(10):
        given.admit(asked())
        given.spent("some-model", 0.1)
    assert refused(lambda: given.admit(asked())).kind == "spend_limit"


def test_demand_may_grow_by_so_much_a_minute() -> None:
    """With 1/s a minute: 60 requests in the first minute, 120 in the second, 180 in the third."""
    clock = Clock()
    given = quotas(clock, ramp=1.0)
    counts = []
    for _ in range(4):
        counts.append(admitted(given, asked(), 1000))
        clock.now_s += 60.0
    assert counts == [60, 120, 180, 240]


def test_who_grows_too_fast_is_told_to_slow_down() -> None:
    """Until there is room again: here when the first request is a minute old."""
    clock = Clock()
    given = quotas(clock, ramp=0.05)  # three a minute
    for _ in range(3):
        given.admit(asked())
        clock.now_s += 10.0
    no = refused(lambda: given.admit(asked()))
    assert (no.kind, no.retry_after_s) == ("slow_down", pytest.approx(30.0))


def test_a_pause_lets_growth_begin_anew() -> None:
    """Two minutes without requests, and only the first minute's growth is left."""
    clock = Clock()
    given = quotas(clock, ramp=0.5)
    assert admitted(given, asked(), 1000) == 30
    clock.now_s += 60.0
    assert admitted(given, asked(), 1000) == 60
    clock.now_s += 120.0
    assert admitted(given, asked(), 1000) == 30


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=60), st.sampled_from([0.02, 0.05, 0.2]))
def test_the_wait_of_a_ramp_is_exact(pauses: list[float], per_minute: float) -> None:
    """Whatever came before, and also where the earlier minute's requests leave before the later one's."""
    clock = Clock()
    ramp = Ramp(per_minute, clock=clock)
    for pause_s in pauses:
        clock.now_s += pause_s
        wait_s = ramp.wait_s()
        if wait_s > 0:
            clock.now_s += wait_s / 2
            assert ramp.wait_s() == pytest.approx(wait_s / 2, abs=1e-6)
            clock.now_s += wait_s / 2 + MOMENT_S
        assert ramp.wait_s() == 0
        ramp.admitted()


@given(
    asks=st.lists(st.tuples(st.floats(0, 50), st.integers(1, 30)), min_size=1, max_size=30),
    per_minute=st.sampled_from([0.05, 0.2, 1.0]),
)
def test_growth_stays_within_the_ramp(asks: list[tuple[float, int]], per_minute: float) -> None:
    """No minute admits more than the one before it and what it may grow by; counted by whole seconds."""
    clock = Clock()
    given = quotas(clock, ramp=per_minute)
    seconds: list[int] = []
    for pause_s, count in asks:
        clock.now_s += pause_s
        before = sum(clock.now_s - 120 < second <= clock.now_s - 60 for second in seconds)
        seconds += [math.floor(clock.now_s)] * admitted(given, asked(), count)
        recent = sum(second > clock.now_s - 60 for second in seconds)
        assert recent <= max(1, before + per_minute * 60) + 1e-6 or seconds[-1] != math.floor(clock.now_s)


def test_a_ramp_keeps_no_more_than_two_minutes_of_seconds() -> None:
    """However many it admits: a provider under load pays for neither the memory nor the counting of each request."""
    clock = Clock()
    ramp = Ramp(1000.0, clock=clock)
    tracemalloc.start()
    try:
        for _ in range(20_000):
            clock.now_s += 0.01
            assert ramp.wait_s() == 0
            ramp.admitted()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 40_000
