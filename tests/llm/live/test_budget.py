"""The cap on cost: exact, said once, and final."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.llm.config import BudgetSpent, Caps
from harness.llm.live.budget import Budget
from harness.llm.prices import Price
from harness.llm.wire import Asked, Refused

PRICES = {"m": Price(1.0, 2.0), "gpt-4o": Price(1.0, 2.0)}


def asked(model: str = "m", max_tokens: int | None = 100) -> Asked:
    """A request."""
    return Asked(api="openai.chat", model=model, text="", input_tokens=10, max_tokens=max_tokens)


def budget(cap_usd: float, said: list[BudgetSpent], spent_usd: float = 0.0) -> Budget:
    """With two prices."""
    return Budget(Caps(cost_usd=cap_usd, concurrency=1), spent_usd, PRICES, said.append)


def test_a_call_sets_its_worst_case_aside() -> None:
    """Every byte of its body a token, and all the output it may have."""
    purse = budget(1.0, [])
    assert purse.reserve(asked(), 1000) == pytest.approx((1000 + 2 * 100) / 1e6)


def test_a_model_of_ours_has_a_limit_of_its_own() -> None:
    """Without one in the request it is the most that the model can give."""
    assert budget(1.0, []).reserve(asked("gpt-4o", None), 0) == pytest.approx((10 + 2 * 16_384) / 1e6)


def test_another_model_must_be_given_a_limit() -> None:
    """The refusal names what is missing."""
    with pytest.raises(Refused, match="limit on output tokens") as caught:
        budget(1.0, []).reserve(asked(max_tokens=None), 10)
    assert caught.value.kind == "bad_request"


def test_a_model_without_a_price_is_refused() -> None:
    """The way out is named."""
    with pytest.raises(Refused, match="--prices"):
        budget(1.0, []).price(asked("unheard-of"))


def test_the_cap_is_said_once_and_is_final() -> None:
    """Even a call that would fit afterwards is refused, so that a run ends in order."""
    said: list[BudgetSpent] = []
    purse = budget(0.001, said)
    first = purse.reserve(asked(), 100)
    for body_bytes in (1000, 1):
        with pytest.raises(Refused) as caught:
            purse.reserve(asked(), body_bytes)
        assert caught.value.kind == "spend_limit"
        assert caught.value.retry_after_s is None
    assert said == [BudgetSpent(spent_usd=0.0, cap_usd=0.001)]
    purse.settle(first, 0.0001)
    assert purse.spent_usd == 0.0001
    assert purse.reserved_usd == 0.0


def test_earlier_levels_count() -> None:
    """What they spent is gone."""
    said: list[BudgetSpent] = []
    with pytest.raises(Refused):
        budget(0.001, said, spent_usd=0.001).reserve(asked(), 1)
    assert said[0].spent_usd == 0.001


@given(
    st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 500), st.floats(0, 1), st.booleans()), max_size=60),
    st.floats(0, 0.02),
)
def test_spent_and_set_aside_never_pass_the_cap(calls: list[tuple[int, int, float, bool]], cap_usd: float) -> None:
    """However many calls are out at once, and whatever share of its worst case each comes to."""
    purse = budget(cap_usd, [])
    out: list[tuple[float, float]] = []
    for body_bytes, max_tokens, share, settles in calls:
        try:
            most_usd = purse.reserve(asked(max_tokens=max_tokens), body_bytes)
        except Refused:
            pass
        else:
            out.append((most_usd, most_usd * share))
        if settles and out:
            purse.settle(*out.pop(0))
        assert purse.spent_usd + purse.reserved_usd <= cap_usd * (1 + 1e-9)
