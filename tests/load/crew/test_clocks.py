"""How far another clock is ahead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.load.crew.clocks import offset_of

WAY = st.floats(min_value=1e-6, max_value=0.5)


@given(st.floats(min_value=-1e6, max_value=1e6), st.lists(st.tuples(WAY, WAY), min_size=1, max_size=20))
def test_the_true_offset_is_within_the_error(offset: float, ways: list[tuple[float, float]]) -> None:
    """However unlike the ways there and back are."""
    asked = [(n * 2.0, n * 2.0 + there + offset, n * 2.0 + there + back) for n, (there, back) in enumerate(ways)]
    found = offset_of(asked)
    assert abs(found.offset_s - offset) <= found.error_s + 1e-9
    assert found.error_s == pytest.approx(min(there + back for there, back in ways) / 2, abs=1e-6)


def test_without_an_answer_nothing_is_claimed() -> None:
    """There is no offset to tell."""
    with pytest.raises(ValueError, match="empty"):
        offset_of([])
