"""The mark in a prompt: it comes back as it was, from anywhere in a text, and from nothing that only looks like it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.llm.canary import Canary, find_canary

TEXT = st.text(max_size=40).filter(lambda text: not any(0xD800 <= ord(character) <= 0xDFFF for character in text))


@given(
    workflow=TEXT.filter(bool), agent=TEXT, step=TEXT, finding=TEXT, tokens=st.none() | st.integers(0, 10**8 - 1),
    before=TEXT, after=TEXT,
)  # fmt: skip
def test_a_canary_is_read_as_it_was_written(
    workflow: str, agent: str, step: str, finding: str, tokens: int | None, before: str, after: str
) -> None:
    """Whatever its parts hold, spaces and brackets included, and whatever stands around it."""
    canary = Canary(workflow=workflow, agent=agent, step=step, finding=finding, tokens=tokens)
    assert find_canary(f"{before.replace('[', '')} {canary} {after.replace('[', '')}") == canary


def test_the_last_canary_counts() -> None:
    """In a conversation the newest turn is the one that is asked."""
    first, last = Canary(workflow="10-1", step="triage"), Canary(workflow="10-1", step="data")
    assert find_canary(f"{first}\n{last}") == last


@given(TEXT)
def test_any_text_is_searched_without_trouble(text: str) -> None:
    """A prompt without a canary has none."""
    assert find_canary(text.replace("[harness", "")) is None


def test_what_only_looks_like_one_is_none() -> None:
    """Without a workflow, or with line breaks inside, it names no call; a bad length is left out."""
    assert find_canary("[harness step=data]") is None
    assert find_canary("[harness workflow=10-1\nstep=data]") is None
    found = find_canary("[harness workflow=10-1 tokens=-5]")
    assert found is not None
    assert found.tokens is None
