"""How far a worker's monotonic clock is ahead of the master's, from questions that went there and back."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

PINGS = 16
"""Of so many questions, the quickest bounds the error."""


class Offset(msgspec.Struct, frozen=True):
    """Their clock minus ours, within `error_s` of it."""

    offset_s: float
    error_s: float


def offset_of(asked: Iterable[tuple[float, float, float]]) -> Offset:
    """From (sent, theirs, received) of each question: whatever the way there took, their answer was given between the
    two, so the quickest one says most (RFC 5905, section 10: the clock filter). Raises ValueError without any.
    """
    sent, theirs, received = min(asked, key=lambda each: each[2] - each[0])
    return Offset(theirs - (sent + received) / 2, (received - sent) / 2)
