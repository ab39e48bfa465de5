"""The kinds of values that options of the command line take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

FOLDER = click.Path(file_okay=False, path_type=Path)
EXISTING_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
STORES = click.Choice(["memory", "redis", "postgres", "both"])


class Unit(click.ParamType[float]):
    """An option written with a unit, like "5 s"."""

    def __init__(self, kind: Any) -> None:
        self.name = kind
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from harness.scenario.units import parse

        try:
            return parse(value, self._kind)
        except ValueError as error:
            self.fail(str(error), param, ctx)
