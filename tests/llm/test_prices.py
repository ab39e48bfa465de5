"""What calls cost: the shipped list, a person's own file, and every mistake in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.llm.models import SERVED
from harness.llm.prices import Price, load_prices, price_of


def test_every_model_that_is_served_has_a_price() -> None:
    """Output costs more than input with all of them, and a million tokens cost cents to dollars."""
    prices = load_prices(SERVED, None)
    assert prices.keys() == SERVED.keys()
    assert all(0.01 < price.input_usd < price.output_usd < 1000 for price in prices.values())


def test_a_known_price_is_that_of_a_million_tokens() -> None:
    """gpt-4o-mini has cost 0.15 and 0.60 USD since it came out."""
    assert load_prices(["gpt-4o-mini"], None) == {"gpt-4o-mini": Price(pytest.approx(0.15), pytest.approx(0.60))}


def test_a_model_that_nobody_lists_has_none() -> None:
    """It is absent, not free."""
    assert load_prices(["a-model-of-ones-own"], None) == {}


def test_the_file_wins_and_adds(tmp_path: Path) -> None:
    """Its price stands instead of the list's; models that nobody named are taken from it, too."""
    path = tmp_path / "prices.toml"
    path.write_text(
        '[model."gpt-4o-mini"]\ninput_usd = 1\noutput_usd = 2.5\n[model.mine]\ninput_usd = 0\noutput_usd = 0'
    )
    prices = load_prices(["gpt-4o-mini", "gpt-4o"], path)
    assert prices["gpt-4o-mini"] == Price(1.0, 2.5)
    assert prices["mine"] == Price(0.0, 0.0)
    assert prices["gpt-4o"].output_usd == pytest.approx(10.0)


def test_every_mistake_is_told_with_its_place(tmp_path: Path) -> None:
    """File, line, key and the way out, all at once."""
    path = tmp_path / "prices.toml"
    path.write_text(
        'modle = 1\n[model."a.b"]\ninput_usd = -0.1\noutput_usd = nan\n[model.b]\ninput_usd = true\n'
        'outptu_usd = 1\n[model.c]\ninput_usd = "1"\noutput_usd = inf\n[model]\nd = 3\n'
    )
    with pytest.raises(UsageError) as caught:
        load_prices([], path)
    told = "\n".join(caught.value.mistakes)
    assert f"{path}:1: modle: unknown key; did you mean 'model'?" in told
    assert f'{path}:3: model."a.b".input_usd: must be US dollars for a million tokens, a number from 0 on' in told
    assert f'{path}:4: model."a.b".output_usd: must be' in told
    assert f"{path}:6: model.b.input_usd: must be" in told
    assert "model.b: output_usd is missing" in told
    assert "model.b.outptu_usd: unknown key; did you mean 'output_usd'?" in told
    assert "model.c.input_usd: must be" in told
    assert "model.c.output_usd: must be" in told
    assert "model.d: must be a table" in told
    assert len(caught.value.mistakes) == 9


def test_an_endless_number_is_a_mistake_like_any_other(tmp_path: Path) -> None:
    """A thousand digits are more than a float holds."""
    path = tmp_path / "prices.toml"
    path.write_text(f"[model.a]\ninput_usd = 1{'0' * 1000}\noutput_usd = 1")
    with pytest.raises(UsageError, match="input_usd: must be"):
        load_prices([], path)


@pytest.mark.parametrize("text", ["", "model = 3", "[model]"])
def test_a_file_without_prices_is_a_mistake(tmp_path: Path, text: str) -> None:
    """Nobody writes one on purpose."""
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match="holds no prices"):
        load_prices([], path)


def test_a_call_costs_its_tokens() -> None:
    """Dollars for a million, of each kind."""
    assert Price(0.15, 0.60).of(1000, 500) == pytest.approx(0.00045)


def test_a_dated_model_has_the_price_of_its_name() -> None:
    """Unless it has one itself."""
    prices = {"m": Price(1, 2), "n-2025-01-02": Price(3, 4)}
    assert price_of(prices, "m-20250102") == Price(1, 2)
    assert price_of(prices, "n-2025-01-02") == Price(3, 4)
    assert price_of(prices, "n") is None


def test_without_the_extra_the_way_out_is_named() -> None:
    """But a file that prices all that is asked for needs no list."""
    program = (
        "import sys; sys.modules['genai_prices'] = None\n"
        "from harness.errors import UsageError\n"
        "from harness.llm.prices import load_prices\n"
        "assert load_prices([], None) == {}\n"
        "try: load_prices(['gpt-4o'], None)\n"
        "except UsageError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'orchestration-harness[llm]'" in done.stdout
