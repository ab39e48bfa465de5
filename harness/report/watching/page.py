"""The live page: one file, the same for every run. What it shows of a run comes later, and is set as text."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files

FILE = "live.html"


@dataclass(frozen=True, slots=True)
class Page:
    """The page, and what it may do: run its own script, and read from the server that it came from."""

    html: bytes
    policy: str


@cache
def live_page() -> Page:
    """The page as it is served."""
    html = files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    script = html.partition("<script>")[2].partition("</script>")[0]
    digest = b64encode(sha256(script.encode()).digest()).decode()
    allowed = f"script-src 'sha256-{digest}'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:"
    refused = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return Page(html.encode(), f"{refused}; {allowed}")
