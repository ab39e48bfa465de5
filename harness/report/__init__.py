"""Reports of a judged run. `REPORTERS` names the forms that a person can ask for; importing this loads none."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from harness.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from harness.report.report import Reporter

REPORTERS: Mapping[str, str] = {
    "console": "harness.report.console:ConsoleReporter",
    "markdown": "harness.report.markdown:MarkdownReporter",
    "json": "harness.report.json_report:JsonReporter",
    "junit": "harness.report.junit:JunitReporter",
    "html": "harness.report.html.reporter:HtmlReporter",
}
ENTRY_POINTS = "harness.reporters"
"""Where other packages register reporters of their own."""


def reporter(name: str) -> Reporter:
    """The reporter of that name. Raises UsageError that lists the known ones."""
    known = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)} | dict(REPORTERS)
    if name not in known:
        raise UsageError(unknown_name("report format", name, known))
    module, _, attribute = known[name].partition(":")
    made: Reporter = getattr(import_module(module), attribute)()
    return made
