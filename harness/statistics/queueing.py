"""Queues with a known answer: what more or fewer servers would do, from measured service times.

Times are in seconds, rates a second. All of them take service times to be exponential and independent of each other;
means of closed networks hold up well where they are not.

A system that lets only so many workflows in at once is replaced by one queue whose rate depends on how many are in it:
the throughput of the closed network with so many (Chandy, Herzog & Woo 1975).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harness.statistics.quantile import Floats


class Station(NamedTuple):
    """Servers with one queue before them. `demand_s`: what a workflow keeps one of them busy for, in all."""

    demand_s: float
    servers: int


def closed_throughputs(most: int, stations: Sequence[Station], delay_s: float) -> Floats:
    """Workflows a second when 1, 2, … `most` are always at once, each of which also waits `delay_s` where nothing is
    shared.

    The convolution algorithm of Buzen (1973) over stations of several servers; in long doubles, with demands taken in
    units of the bottleneck's, so that constants neither vanish nor overflow. Raises ValueError for nobody at once, and
    where there is neither a station nor a delay.
    """
    busiest = max((station.demand_s / station.servers for station in stations), default=0.0)
    unit_s = busiest or delay_s
    if most < 1 or unit_s <= 0:
        raise ValueError(f"{most} at once over {len(stations)} stations and a delay of {delay_s} s")
    constants = np.zeros(most + 1, dtype=np.longdouble)
    constants[0] = 1.0
    for demand, servers in ((delay_s, most), *((each.demand_s, each.servers) for each in stations)):
        factors = np.ones(most + 1, dtype=np.longdouble)
        steps = np.arange(1, most + 1)
        factors[1:] = np.cumprod((demand / unit_s) / np.minimum(steps, servers).astype(np.longdouble))
        constants = np.convolve(constants, factors)[: most + 1]
        constants /= constants.max()
    return np.asarray(constants[:-1] / constants[1:] / unit_s, dtype=np.float64)


class Held(NamedTuple):
    """What becomes of arrivals at a system with so many places."""

    response_s: float  # mean, of those that are let in
    refused: float  # share that finds no place


def held(rate: float, throughputs: Floats, waiting: int) -> Held:
    """Of arrivals at `rate`, with a slot for each of `throughputs` (of 1, 2, … in them) and room for `waiting` more.

    The birth-death chain of how many are in it (Kleinrock 1975, section 3.1), in logarithms; the mean by Little's law.
    """
    rates = np.concatenate((throughputs, np.full(waiting, throughputs[-1])))
    logs = np.concatenate(([0.0], np.cumsum(np.log(rate) - np.log(rates))))
    shares = np.exp(logs - logs.max())
    shares /= shares.sum()
    refused = float(shares[-1])
    inside = float(shares @ np.arange(len(shares)))
    return Held(inside / (rate * (1.0 - refused)), refused)
