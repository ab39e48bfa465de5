"""The live page: one file, the same for every run. What it shows of a run comes later, and is set as text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from harness.report.script import policy, with_units

FILE = "live.html"
UNITS_PLACE = "/* units */"


@dataclass(frozen=True, slots=True)
class Page:
    """The page, and what it may do: run its own script, and read from the server that it came from."""

    html: bytes
    policy: str


@cache
def live_page() -> Page:
    """The page as it is served."""
    before, _, rest = files(__package__).joinpath(FILE).read_text(encoding="utf-8").partition(UNITS_PLACE)
    script, _, after = rest.partition("</script>")
    script = with_units(script)
    further = ("connect-src 'self'", "img-src data:", "frame-ancestors 'none'")
    return Page(f"{before}{script}</script>{after}".encode(), policy(script, *further))
