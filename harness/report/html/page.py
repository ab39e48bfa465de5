"""From a template and what it shows to a page: everything in one file, every text escaped."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from harness.report.rows import ROWS_MAX, plain
from harness.report.svg import COLOURS, dark_sheet
from harness.scenario.units import render

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = "templates"
SCRIPT = "report.js"


def page(template: str, **shown: object) -> str:
    """Render a template of this package. What it may not execute stands as text."""
    return _environment().get_template(template).render(policy=_policy(), **shown)


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
    made.filters |= {
        "plain": plain,
        "duration": lambda value: render(value, "duration"),
        "size": lambda v: render(v, "size"),
    }
    made.globals |= {"source": _source, "rows_max": ROWS_MAX, "dark_sheet": dark_sheet(), "colours": COLOURS}
    return made


def _text(name: str) -> str:
    return files(__package__).joinpath(TEMPLATES, name).read_text(encoding="utf-8")


def _source(name: str) -> object:
    """A style sheet or script of our own, as it stands: it holds no text of a run."""
    from markupsafe import Markup

    return Markup(_text(name))


def _policy() -> str:
    """What the page may do: run this very script and use its own styles; load nothing, send nothing."""
    digest = b64encode(sha256(_text(SCRIPT).encode()).digest()).decode()
    own = f"style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return f"default-src 'none'; {own}; base-uri 'none'; form-action 'none'"
