"""`breakers.jsonl`: what every circuit breaker of the embedded orchestrator went through, a line at a time.

A line is written before the call that caused it goes on, so that it survives the death of the orchestrator. Each
breaker has a `begins` line, so that one which never moved is told from one that was not there, and an `ends` line,
which closes the count of the state it was in; a process that was killed wrote none.
"""

from __future__ import annotations

from typing import Literal

import msgspec

FILE = "breakers.jsonl"

BreakerState = Literal["closed", "open", "half_open"]

Why = Literal["begins", "failures", "slow", "waited", "recovered", "ends"]
"""failures, slow: that share of the calls reached its threshold, so it opened. waited: it was open for as long as it
should be, and a call came. recovered: as many probes as are permitted were answered, and well enough."""


class BreakerEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A breaker changed from `before` to `after`; in a `begins` and an `ends` line the two are the same.

    `calls`, `failures` and `slow` are what was decided on: the window when it was closed, the answered probes when it
    was half-open. `refused`, `probes` and `returned` count since the change before, which was `lasted_s` ago. So time
    in open is the sum of `lasted_s` over lines with before = open, probes that were admitted are the sum of `probes`
    over lines with before = half_open, and at no moment were more than `permitted` of them under way or answered.
    """

    level: str
    at: float  # s from t0
    process: int  # pid of the orchestrator
    of: Literal["agent", "dependency"]
    name: str  # of the agent type, or redis | postgres | llm
    before: BreakerState
    after: BreakerState
    why: Why
    permitted: int  # probes while half-open
    lasted_s: float = 0.0  # in `before`
    calls: int = 0
    failures: int = 0
    slow: int = 0
    refused: int = 0  # calls that were not made
    probes: int = 0  # calls admitted while half-open
    returned: int = 0  # of those, ones that ended without saying anything (cancelled) and gave their permit back
