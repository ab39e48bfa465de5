"""Drawing in SVG: a few shapes, text that is escaped, and colours for a light and a dark page.

No script and no `style=`: every colour is a presentation attribute, which holds wherever the picture is shown, also
under a content policy that forbids styles. The only style sheet swaps them on a dark page. Classes begin with `hp-`, so
that a picture set into a page does not colour what is around it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

Ink = Literal["page", "text", "faint", "grid", "dot", "worse", "better", "same", "margin", "bad", "violet", "rose"]
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

COLOURS: Mapping[Ink, tuple[str, str]] = {
    "page": ("#ffffff", "#0d1117"),
    "text": ("#1f2328", "#e6edf3"),
    "faint": ("#59636e", "#9198a1"),
    "grid": ("#d8dee4", "#30363d"),
    "dot": ("#57606a", "#b1bac4"),
    "worse": ("#c2410c", "#fb923c"),
    "better": ("#0f766e", "#2dd4bf"),
    "same": ("#0969da", "#58a6ff"),
    "margin": ("#946200", "#e3b341"),
    "bad": ("#cf222e", "#ff7b72"),
    "violet": ("#8250df", "#bc8cff"),
    "rose": ("#bf3989", "#f778ba"),
}
"""On a light page, on a dark one; each is told from its neighbours by people who do not see red or green as well."""

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(slots=True)
class Drawing:
    """Collects shapes, in pixels from the upper left; `text()` is the picture."""

    width: int
    height: int
    title: str
    description: str
    _parts: list[str] = field(default_factory=list)

    def line(self, x1: float, y1: float, x2: float, y2: float, ink: Ink, *, width: float = 1, dash: str = "") -> None:
        """A straight line."""
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self._parts.append(
            f'<line x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}" {_stroke(ink)} '
            f'stroke-width="{_n(width)}"{dashed}/>'
        )

    def polyline(self, points: Sequence[tuple[float, float]], ink: Ink, *, width: float = 1.5) -> None:
        """Straight lines from point to point."""
        way = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
        self._parts.append(
            f'<polyline points="{way}" fill="none" {_stroke(ink)} stroke-width="{_n(width)}" stroke-linejoin="round"/>'
        )

    def dot(self, x: float, y: float, ink: Ink, *, radius: float = 4, says: str = "") -> None:
        """A filled circle, which `says` something when it is pointed at."""
        said = f"<title>{_escaped(says)}</title>" if says else ""
        self._parts.append(f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}" {_fill(ink)}>{said}</circle>')

    def band(self, x: float, y: float, width: float, height: float, ink: Ink, *, opacity: float = 1.0) -> None:
        """A filled rectangle."""
        self._parts.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" {_fill(ink)} '
            f'fill-opacity="{_n(opacity)}"/>'
        )

    def write(
        self,
        x: float,
        y: float,
        text: str,
        *,
        ink: Ink = "text",
        size: float = 13,
        anchor: Literal["start", "middle", "end"] = "start",
        bold: bool = False,
    ) -> None:
        """A line of text; y is its base line."""
        weight = ' font-weight="600"' if bold else ""
        self._parts.append(
            f'<text x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}" text-anchor="{anchor}"{weight} {_fill(ink)}>'
            f"{_escaped(text)}</text>"
        )

    def text(self) -> str:
        """The whole picture."""
        page = f'<rect width="{self.width}" height="{self.height}" {_fill("page")}/>'
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
            f'height="{self.height}" role="img" aria-label={quoteattr(_legal(self.title))} font-family="{FONT}">'
        )
        names = f"<title>{_escaped(self.title)}</title>\n<desc>{_escaped(self.description)}</desc>"
        return "\n".join([head, names, f"<style>{dark_sheet()}</style>", page, *self._parts, "</svg>", ""])


def wrapped(text: str, width: int, lines: int) -> list[str]:
    """The text in at most so many lines of so many characters; what is cut off ends in an ellipsis."""
    found = [""]
    for word in text.split():
        longer = f"{found[-1]} {word}".lstrip()
        if len(longer) <= width or not found[-1]:
            found[-1] = longer
        else:
            found.append(word)
    kept = [line if len(line) <= width else f"{line[: width - 1]}…" for line in found[:lines]]
    if len(found) > lines:
        last = kept[-1].rstrip("…")
        kept[-1] = f"{last if len(last) <= width - 2 else last[: width - 2].rsplit(' ', 1)[0]} …"
    return kept


def dark_sheet() -> str:
    """The rules that swap the colours of classes on a dark page."""
    rules = "".join(f".hp-f-{ink}{{fill:{dark}}}.hp-s-{ink}{{stroke:{dark}}}" for ink, (_, dark) in COLOURS.items())
    return f"@media (prefers-color-scheme:dark){{{rules}}}"


def _fill(ink: Ink) -> str:
    return f'class="hp-f-{ink}" fill="{COLOURS[ink][0]}"'


def _stroke(ink: Ink) -> str:
    return f'class="hp-s-{ink}" stroke="{COLOURS[ink][0]}"'


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _escaped(text: str) -> str:
    return escape(_legal(text))


def _legal(text: str) -> str:
    """Without the characters that no XML document may hold."""
    return _NOT_IN_XML.sub("", text)
