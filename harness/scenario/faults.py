"""`[[fault]]`: what a scenario breaks while it runs, from its table in the file to a typed fault.

Each kind of fault has parameters of its own, which are the fields of its type. The types are named by a registry that
the caller hands over, as an extension may bring kinds of its own; so a scenario keeps its faults as they were written.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any

from harness.errors import unknown_name
from harness.scenario.mistakes import KeyPath, Mistake, unknown_key
from harness.scenario.units import Seconds

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Written = Mapping[str, Any]
"""One `[[fault]]` table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultWindow:
    """When a fault acts."""

    kind: str
    at: Seconds = 0.0  # after the measure phase began
    lasts: Seconds  # written `for`


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """A fault with its window, ready to be injected: `fault` is of the type that its kind names."""

    window: FaultWindow
    fault: Any


NO_BOUNDS = (float("-inf"), float("inf"), "")
_SHARE = "should be more than 0 % and at most 100 %"
_COUNT = "should be from 1 to 1000000000"
BOUNDS: Mapping[str, tuple[float, float, str]] = {
    "share": (1e-9, 1.0, _SHARE),
    "loss": (1e-9, 1.0, _SHARE),
    "every": (0.001, float("inf"), "should be at least 1 ms"),
    "nth": (0, 1e9, "should be from 0 to 1000000000"),
    "most": (1, 1e9, _COUNT),
    "cores": (0, 256, "should be from 0 to 256"),
    "times": (1.0, 1e6, "should be from 1 to 1000000"),
}
"""What a parameter of that name may be, in any kind of fault: lowest, highest, and what is said of others."""

WINDOW_KEYS = ("kind", "at", "for")
SERVICE = "service"
"""A field that is no parameter: of `redis.latency` it is `redis`."""


def planned_faults(written: tuple[Written, ...], kinds: Mapping[str, str]) -> tuple[PlannedFault, ...]:
    """The typed faults of a scenario that was checked, in the file's order. `kinds`: kind -> "module:attribute"."""
    return tuple(_planned(each, kinds) for each in written)


def fault_mistakes(written: tuple[Written, ...], kinds: Mapping[str, str], *, measure_s: float) -> Iterator[Mistake]:
    """Everything wrong with the faults of a scenario whose measure phase lasts `measure_s`."""
    for position, table in enumerate(written):
        path: KeyPath = ("fault", position)
        kind = table.get("kind")
        if not isinstance(kind, str) or kind not in kinds:
            text = "is required and missing" if kind is None else unknown_name("kind of fault", str(kind), kinds)
            yield Mistake((*path, "kind"), f"{text}; `harness faults` lists them all")
            continue
        found = list(_form(path, table, kinds[kind]))
        yield from found
        if not found:
            window = _planned(table, kinds).window
            if window.lasts <= 0:
                yield Mistake((*path, "for"), "should be more than nothing")
            if window.at + window.lasts > measure_s:
                end = f"ends {window.at + window.lasts:g} s into a measure of {measure_s:g} s"
                yield Mistake((*path, "for"), f"{end}: end it within, or measure for longer")
            yield from _out_of_bounds(path, _planned(table, kinds).fault)


def _out_of_bounds(path: KeyPath, fault: Any) -> Iterator[Mistake]:
    for field in fields(fault):
        low, high, words = BOUNDS.get(field.name, NO_BOUNDS)
        value = getattr(fault, field.name)
        if isinstance(value, int | float) and not low <= value <= high:
            yield Mistake((*path, field.name), words)


def fault_type(kind: str, kinds: Mapping[str, str]) -> Any:
    """The type of that kind: a frozen dataclass whose fields are the parameters."""
    module, _, attribute = kinds[kind].partition(":")
    return getattr(importlib.import_module(module), attribute)


def _form(path: KeyPath, table: Written, declared: str) -> Iterator[Mistake]:
    from pydantic import ValidationError

    kind = fault_type("this", {"this": declared})
    known = [field.name for field in fields(kind) if field.name != SERVICE]
    if SERVICE in table:
        yield Mistake((*path, SERVICE), unknown_key(SERVICE, [*WINDOW_KEYS, *known]))
    for checked, given, names in (
        (_adapter(FaultWindow), _window(table), {"lasts": "for"}),
        (_adapter(kind), _parameters(table, kind), {}),
    ):
        try:
            checked.validate_python([given])
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_context=False):
                place = tuple(names.get(part, part) if isinstance(part, str) else part for part in detail["loc"][1:])
                if detail["type"] == "unexpected_keyword_argument":
                    text = unknown_key(str(place[-1]), [*WINDOW_KEYS, *known])
                elif detail["type"] == "missing":
                    text = "is required and missing"
                else:
                    text = detail["msg"].removeprefix("Value error, ")
                yield Mistake((*path, *place), text)


def _planned(table: Written, kinds: Mapping[str, str]) -> PlannedFault:
    kind = fault_type(table["kind"], kinds)
    [window] = _adapter(FaultWindow).validate_python([_window(table)])
    [fault] = _adapter(kind).validate_python([_parameters(table, kind)])
    return PlannedFault(window, fault)


def _parameters(table: Written, kind: Any) -> dict[str, Any]:
    """What the table says beside its window; and whom the kind's first word names, where its type asks for that."""
    said = {key: value for key, value in table.items() if key not in (*WINDOW_KEYS, SERVICE)}
    named = any(field.name == SERVICE for field in fields(kind))
    return said | ({SERVICE: str(table["kind"]).partition(".")[0]} if named else {})


def _window(table: Written) -> dict[str, Any]:
    named = {"kind": "kind", "at": "at", "for": "lasts"}
    return {named[key]: table[key] for key in WINDOW_KEYS if key in table}


@cache
def _adapter(table: Any) -> TypeAdapter[Any]:
    """Closed validation; not strict, as a table read back from JSON has lists where TOML had them, too."""
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(tuple[table], config=ConfigDict(extra="forbid"))
