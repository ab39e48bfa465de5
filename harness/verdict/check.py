"""One thing that was looked at and what came of it: the parts that a verdict consists of."""

from __future__ import annotations

from typing import Literal

import msgspec

from harness.statistics.metrics import Metric

Kind = Literal["limit", "invariant", "validity", "run", "gate"]
Result = Literal["held", "breached", "unsure", "cut"]
"""`unsure`: the numbers do not decide it. `cut`: the harness failed or was stopped, so there is nothing to judge."""


class Check(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`name` is stable over runs and versions, like `limits."10".p95`, so that CI can demand it."""

    name: str
    kind: Kind
    result: Result
    sentence: str
    level: str = ""  # empty: of the run as a whole
    metric: str = ""
    limit: str = ""  # as written
    section: str = ""  # of the limits file: limits or ours
    measured: Metric | None = None
    by_value: bool = False  # held by the value alone: its 95 % bound lies beyond the limit, or there is none yet
