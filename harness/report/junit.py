"""The report as JUnit XML: one test case a level and limit, for CI servers that show tests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TextIO
from xml.etree import ElementTree

from harness.verdict.check import Check
from harness.verdict.judge import JudgedRun

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class JunitReporter:
    """Writes a suite a level and one for the run as a whole.

    A broken limit is a failure. What is not decided is an error, not a skip: CI servers show skipped tests as green.
    """

    def write(self, judged: JudgedRun, out: TextIO) -> None:
        """Write the report."""
        checks, scenario = judged.verdict.checks, judged.manifest.scenario
        root = ElementTree.Element("testsuites", _counts(checks, scenario))
        measured_s = {level.level: level.measure_s for level in judged.summary.levels}
        for level in ("", *measured_s):
            of_level = [check for check in checks if check.level == level]
            if not of_level and level == "":
                continue
            suite = ElementTree.SubElement(root, "testsuite", _counts(of_level, f"{scenario} {level}".strip()))
            suite.set("time", f"{measured_s.get(level) or 0.0:.3f}")
            properties = ElementTree.SubElement(suite, "properties")
            for name, value in (("seed", str(judged.manifest.seed)), ("command", judged.manifest.command)):
                ElementTree.SubElement(properties, "property", {"name": name, "value": _legal(value)})
            for check in of_level:
                _case(suite, check, scenario)
        ElementTree.indent(root)
        out.write('<?xml version="1.0" encoding="utf-8"?>\n')
        out.write(ElementTree.tostring(root, encoding="unicode") + "\n")


def _counts(checks: Sequence[Check], name: str) -> dict[str, str]:
    return {
        "name": _legal(name),
        "tests": str(len(checks)),
        "failures": str(sum(check.result == "breached" for check in checks)),
        "errors": str(sum(check.result in ("unsure", "cut") for check in checks)),
    }


def _case(suite: ElementTree.Element, check: Check, scenario: str) -> None:
    classname = f"{scenario}.{check.level}" if check.level else scenario
    case = ElementTree.SubElement(suite, "testcase", {"classname": _legal(classname), "name": _legal(check.name)})
    if check.result != "held":
        kind = "failure" if check.result == "breached" else "error"
        sentence = _legal(check.sentence)
        ElementTree.SubElement(case, kind, {"type": check.result, "message": sentence}).text = sentence


def _legal(text: str) -> str:
    """Without the control characters that no XML document may hold."""
    return _NOT_XML.sub("", text)
