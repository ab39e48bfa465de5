"""The console report in pipes, in terminals, and where colour is not wanted."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from harness.report.console import PLAIN_WIDTH, ConsoleReporter
from harness.verdict.judge import JudgedRun

ESCAPE = "\x1b"


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_plain_text(passed: JudgedRun, report: Callable[[JudgedRun, str], str]) -> None:
    """No colour; the table within 80 columns."""
    text = report(passed, "console")
    assert ESCAPE not in text
    assert max(len(line) for line in text.splitlines()) <= PLAIN_WIDTH


def test_a_sentence_is_one_line_however_long(failed: JudgedRun, report: Callable[[JudgedRun, str], str]) -> None:
    """So that grep finds it."""
    lines = [line.strip() for line in report(failed, "console").splitlines()]
    assert [line for line in lines if "% bound" in line] == [
        sentence for sentence in failed.verdict.sentences if "% bound" in sentence
    ]


def test_what_a_target_says_cannot_steer_the_terminal(
    failed: JudgedRun, report: Callable[[JudgedRun, str], str]
) -> None:
    """Escape sequences and line ends in error classes and messages are only text."""
    text = report(failed, "console")
    assert [character for character in text if not character.isprintable() and character != "\n"] == []
    assert "left behind: ]0;pid 7" in text


@pytest.mark.parametrize(("no_color", "coloured"), [(None, True), ("1", False)])
def test_a_terminal_gets_colour_unless_unwanted(
    passed: JudgedRun, monkeypatch: pytest.MonkeyPatch, no_color: str | None, coloured: bool
) -> None:
    """NO_COLOR is obeyed."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", no_color)
    out = Terminal()
    ConsoleReporter().write(passed, out)
    assert ("\x1b[1;32m" in out.getvalue()) is coloured
    assert "32m" in out.getvalue() or not coloured
