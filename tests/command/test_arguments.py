"""Options on models: what they mean together, and every mistake in them at once."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from harness.command.arguments import Factor, GateWords, LlmWords, chosen_margin
from harness.errors import UsageError


def words(llm: str, **rest: object) -> LlmWords:
    """The options as given on a command line; those left out as click leaves them."""
    given = {"spend_max": None, "concurrency": None, "upstream": (), "record": None, "prices": None, "confirmed": False}
    return LlmWords(llm, **(given | rest))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["nan", "inf", "0", "-1", "much"])
def test_a_factor_is_a_finite_number_above_zero(text: str) -> None:
    """Everything else would be found out only where it is used."""
    with pytest.raises(click.BadParameter):
        Factor().convert(text, None, None)
    assert Factor().convert("0.5", None, None) == 0.5


@pytest.mark.parametrize("margin", [0.0, 1.0, 5.0])
def test_a_margin_is_a_share_that_can_be_missed(margin: float) -> None:
    """None at all could never be excluded, and was once taken for the usual one."""
    with pytest.raises(UsageError, match="more than 0 % and less than 100 %"):
        chosen_margin(margin, strict=False)
    with pytest.raises(UsageError, match="--margin: is for --gate"):
        GateWords(gate=False, strict=False, margin=margin, no_duet=False, pairs=None).options()
    assert [chosen_margin(None, strict=strict) for strict in (False, True)] == [0.10, 0.05]


def test_the_simulator_answers_unless_told_otherwise() -> None:
    """Nothing is spent by default."""
    choice = words("simulated").choice()
    assert (choice.mode, choice.caps, choice.words()) == ("simulated", None, [])


def test_live_names_all_that_is_missing_at_once() -> None:
    """Both caps and the confirmation are asked for in one go."""
    with pytest.raises(UsageError) as caught:
        words("live").choice()
    assert [mistake.split()[-1] for mistake in caught.value.mistakes[:2]] == ["too", "too"]
    assert "--spend-max" in caught.value.mistakes[0]
    assert "--llm-concurrency" in caught.value.mistakes[1]
    assert "--yes" in caught.value.mistakes[2]


def test_live_with_caps_is_what_the_repeat_line_says() -> None:
    """The same command line leads to the same choice; the confirmation has to be given again."""
    choice = words(
        "live", spend_max=2.5, concurrency=4, upstream=("openai=http://127.0.0.1:1",), confirmed=True
    ).choice()
    assert choice.caps is not None
    assert (choice.caps.cost_usd, choice.caps.concurrency) == (2.5, 4)
    assert choice.words() == [
        "--llm", "live", "--spend-max", "2.5 USD", "--llm-concurrency", "4",
        "--llm-upstream", "openai=http://127.0.0.1:1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "url", ["openai=ftp://x", "gemini=https://x", "openai=https://user:secret@x", "openai=https://x/path", "https://x"]
)
def test_an_upstream_is_a_host_of_a_known_provider(url: str) -> None:
    """Without a path, which the SDKs add, and without a password, which would be written down."""
    with pytest.raises(UsageError, match="--llm-upstream"):
        words("live", spend_max=1.0, concurrency=1, upstream=(url,), confirmed=True).choice()


@pytest.mark.parametrize("llm", ["fast", "replay", "replay:", "live:x", "simulated:x"])
def test_anything_else_is_refused(llm: str) -> None:
    """With the words that are known."""
    with pytest.raises(UsageError, match="simulated, live or replay:FILE"):
        words(llm).choice()


def test_a_replay_needs_its_file(tmp_path: Path) -> None:
    """One that is not there is said before anything starts."""
    with pytest.raises(UsageError, match="no such file"):
        words(f"replay:{tmp_path / 'gone.jsonl'}").choice()
    there = tmp_path / "calls.jsonl"
    there.touch()
    assert words(f"replay:{there}").choice().replay == there


def test_what_only_live_reads_is_refused_elsewhere() -> None:
    """A cap that caps nothing would be believed."""
    with pytest.raises(UsageError) as caught:
        words("simulated", spend_max=1.0, concurrency=2, record=Path("x"), upstream=("openai=http://x",)).choice()
    assert len(caught.value.mistakes) == 4
