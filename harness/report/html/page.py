"""From a template and what it shows to a page: everything in one file, every text escaped."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from harness.report.rows import ROWS_MAX, plain
from harness.report.script import policy, with_units
from harness.report.svg import COLOURS, dark_sheet
from harness.scenario.units import render

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = "templates"
SCRIPT, STYLE = "report.js", "report.css"


def page(template: str, **shown: object) -> str:
    """Render a template of this package. What it may not execute stands as text."""
    from markupsafe import Markup

    script = with_units(_text(SCRIPT))
    # Style and script are our own as they stand: they hold no text of a run.
    own = {"style": Markup(_text(STYLE) + dark_sheet()), "script": Markup(script), "policy": policy(script)}
    return _environment().get_template(template).render(**own, **shown)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("harness.report.html", TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {"plain": plain, "duration": lambda value: render(value, "duration")}
    made.globals |= {"rows_max": ROWS_MAX, "colours": COLOURS}
    return made


def _text(name: str) -> str:
    return files(__package__).joinpath(TEMPLATES, name).read_text(encoding="utf-8")
