"""What holds of every form of report, and how a form is found."""

from __future__ import annotations

from collections.abc import Callable
from html import unescape

import pytest

from harness.errors import UsageError
from harness.report import REPORTERS, reporter
from harness.verdict.judge import JudgedRun


@pytest.mark.parametrize("name", REPORTERS)
def test_every_report_names_seed_verdict_and_command(
    name: str, failed: JudgedRun, report: Callable[[JudgedRun, str], str]
) -> None:
    """What is needed to repeat the run, and what broke."""
    text = unescape(report(failed, name)).replace('\\"', '"')
    assert "harness run hand_written" in text
    assert "seed" in text.lower()
    for broken in failed.verdict.failed:
        assert broken in text


@pytest.mark.parametrize("name", ["console", "markdown"])
def test_the_seed_is_in_the_first_line(name: str, passed: JudgedRun, report: Callable[[JudgedRun, str], str]) -> None:
    """A person looks for it there."""
    assert "seed 7" in report(passed, name).splitlines()[0].lower()


@pytest.mark.parametrize("name", REPORTERS)
def test_a_report_is_the_same_each_time(name: str, failed: JudgedRun, report: Callable[[JudgedRun, str], str]) -> None:
    """Nothing of it depends on when it is written."""
    assert report(failed, name) == report(failed, name)


def test_an_unknown_form_lists_the_known_ones() -> None:
    """With the nearest first."""
    with pytest.raises(UsageError, match=r"did you mean 'console'\? \(known: console, html, json, junit, markdown\)"):
        reporter("consol")
