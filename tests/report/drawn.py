"""What a duet's pictures are made of, for the tests of pictures."""

from __future__ import annotations

from harness.statistics.change import Change
from harness.statistics.shift import QUANTILES, Shift

DOTS = (0.10, 0.12, 0.09, 0.14, 0.11, 0.08, 0.13, 0.10, 0.12, 0.11)


def change(metric: str = "p95", mean: float = 0.11, half: float = 0.04) -> Change:
    """A change with bounds `half` about its mean."""
    ends = {"lower": mean - half, "upper": mean + half, "lower95": mean - half, "upper95": mean + half}
    return Change(metric=metric, basis="duet", change=mean, **ends, alpha=0.01, n=10, mde=0.04)


def shifts(*means: float) -> list[Shift]:
    """The shift function; the last of `means` stands for all higher quantiles."""
    padded = [*means, *[means[-1]] * (len(QUANTILES) - len(means))]
    return [
        Shift(quantile=name, change=mean, lower=mean - 0.02, upper=mean + 0.02, alpha=0.01, n=10)
        for name, mean in zip(QUANTILES, padded, strict=True)
    ]
