"""The reports as they look, byte for byte; a wanted change is made by `make golden` and read in the diff."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.verdict.judge import JudgedRun


@pytest.mark.parametrize("verdict", ["passed", "failed", "recovered", "asking"])
@pytest.mark.parametrize(("name", "suffix"), [("console", "txt"), ("markdown", "md"), ("junit", "xml")])
def test_a_report_looks_as_agreed(
    verdict: str,
    name: str,
    suffix: str,
    request: pytest.FixtureRequest,
    report: Callable[[JudgedRun, str], str],
    golden: Callable[[str, str], None],
) -> None:
    """Console, Markdown and JUnit; of a run that passed, one that could hardly be worse, a recovery, and models."""
    judged = request.getfixturevalue(verdict)
    golden(f"report_{verdict}.{suffix}", report(judged, name))
