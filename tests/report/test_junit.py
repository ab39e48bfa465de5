"""JUnit XML that any CI server can read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree

import msgspec
import pytest

from harness.verdict.judge import JudgedRun


@pytest.mark.parametrize("verdict", ["passed", "failed", "recovered"])
def test_every_check_is_a_test_case_with_its_result(
    verdict: str, request: pytest.FixtureRequest, report: Callable[[JudgedRun, str], str]
) -> None:
    """Broken limits fail, open questions are errors, and the sums agree."""
    judged: JudgedRun = request.getfixturevalue(verdict)
    root = ElementTree.fromstring(report(judged, "junit"))
    cases = {case.get("name"): [child.tag for child in case] for case in root.iter("testcase")}
    wanted = {"held": [], "breached": ["failure"], "unsure": ["error"], "cut": ["error"]}
    assert cases == {check.name: wanted[check.result] for check in judged.verdict.checks}
    for key, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
        total = len(list(root.iter(tag)))
        assert int(root.get(key, "-1")) == total
        assert sum(int(suite.get(key, "-1")) for suite in root.iter("testsuite")) == total


def test_there_is_a_suite_for_each_level_and_one_for_the_run(
    failed: JudgedRun, report: Callable[[JudgedRun, str], str]
) -> None:
    """The run's own checks have no level."""
    root = ElementTree.fromstring(report(failed, "junit"))
    names = [suite.get("name") for suite in root.iter("testsuite")]
    assert names == ["hand_written", "hand_written 10", "hand_written 25"]


def test_control_characters_are_left_out(failed: JudgedRun, report: Callable[[JudgedRun, str], str]) -> None:
    """No XML document may hold them, and what a target says may."""
    first = msgspec.structs.replace(
        failed.verdict.checks[0], sentence="bell \x07, nul \x00, escape \x1b[31m, \ud800 end"
    )
    verdict = msgspec.structs.replace(failed.verdict, checks=(first,))
    root = ElementTree.fromstring(report(replace(failed, verdict=verdict), "junit").encode())
    [case] = root.iter("testcase")
    assert case[0].text == "bell , nul , escape [31m,  end"
