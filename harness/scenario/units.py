"""Numbers as people write them: `"5 s"`, `"512 MiB"`, `"80 %"`, `"6/s"`.

A bare number is refused for durations and sizes: a file that says `5` does not say five of what.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema

Kind = Literal["duration", "size", "share", "rate", "count", "cost"]

SCALES: dict[Kind, dict[str, float]] = {
    "duration": {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0},
    "size": {
        "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
        "kB": 10**3, "MB": 10**6, "GB": 10**9,
    },
    "share": {"%": 0.01},
    "rate": {"/s": 1.0, "/min": 1 / 60, "/h": 1 / 3600},
    "count": {"": 1.0},
    "cost": {"USD": 1.0},
}  # fmt: skip
EXAMPLES: dict[Kind, str] = {
    "duration": '"5 s" or "200 ms"', "size": '"512 MiB"', "share": '"80 %"', "rate": '"6/s"', "count": '"50"',
    "cost": '"0.02 USD"',
}  # fmt: skip
_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)\s*(\S*)\s*\Z")


def parse(text: object, kind: Kind) -> float:
    """The number `text` stands for, in seconds, bytes, fractions of one, per second or plain.

    Raises ValueError, with an example of the right form, for anything else; negative numbers included.
    """
    if isinstance(text, str) and (match := _NUMBER.match(text)):
        scale = SCALES[kind].get(match[2])
        if scale is not None and math.isfinite(value := float(match[1]) * scale):
            return value
    units = ", ".join(unit for unit in SCALES[kind] if unit)
    raise ValueError(f"{text!r} is not a {kind}: write {EXAMPLES[kind]}" + (f" (units: {units})" if units else ""))


def render(value: float, kind: Kind) -> str:
    """`value` for a table: three significant digits and the unit a person would pick."""
    if kind == "duration":
        return f"{_three_digits(value * 1e3)} ms" if value < 1 else f"{_three_digits(value)} s"
    if kind == "size":
        return f"{_three_digits(value / 2**30)} GiB" if value >= 2**30 else f"{_three_digits(value / 2**20)} MiB"
    if kind == "share":
        return f"{value * 100:.4g} %"
    if kind == "cost":
        return f"{_three_digits(value)} USD"
    if kind == "rate":
        return f"{_three_digits(value)}/s"
    return f"{value:.10g}" if value == round(value) or value >= 1000 else f"{value:.4g}"  # a mean of counts


def _three_digits(value: float) -> str:
    """Never 1.23e+03, which nobody reads at a glance."""
    return f"{value:.0f}" if round(value) >= 1000 else f"{value:.3g}"


@dataclass(frozen=True, slots=True)
class Unit:
    """Marks a field as written with a unit; only the loader, which has pydantic loaded, acts on it."""

    kind: Kind

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        def convert(written: object) -> float:
            value = parse(written, self.kind)
            return round(value) if self.kind == "size" else value

        return core_schema.no_info_plain_validator_function(convert)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        units = "|".join(re.escape(unit) for unit in SCALES[self.kind])
        pattern = rf"^\s*[0-9]+(\.[0-9]+)?\s*({units})\s*$"
        return {"type": "string", "pattern": pattern, "description": f"a {self.kind}, like {EXAMPLES[self.kind]}"}


Seconds = Annotated[float, Unit("duration")]
Bytes = Annotated[int, Unit("size")]
Share = Annotated[float, Unit("share")]
PerSecond = Annotated[float, Unit("rate")]
Dollars = Annotated[float, Unit("cost")]
