"""Queues with a known answer: what more or fewer servers would do, from measured service times.

Times are in seconds, rates a second. All of them take service times to be exponential and independent of each other;
means of closed networks hold up well where they are not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Station(NamedTuple):
    """Servers with one queue before them. `demand_s`: what a workflow keeps one of them busy for, in all."""

    demand_s: float
    servers: int


def erlang_c(servers: int, offered: float) -> float:
    """The probability that an arrival has to wait at an M/M/c queue; `offered` is the load in servers. Erlang (1917).

    By the recursion of Erlang's B formula, which never overflows; 1.0 for a queue that grows without end. Raises
    ValueError below one server or below no load.
    """
    if servers < 1 or offered < 0:
        raise ValueError(f"{servers} servers for a load of {offered}")
    if offered >= servers:
        return 1.0
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = offered * blocked / (count + offered * blocked)
    return servers * blocked / (servers - offered * (1 - blocked))


def mmc_wait_s(servers: int, rate: float, service_s: float) -> float:
    """The mean time that an arrival waits before an M/M/c queue; infinite for one that grows without end."""
    offered = rate * service_s
    if offered >= servers:
        return math.inf
    return erlang_c(servers, offered) * service_s / (servers - offered)


def open_response_s(rate: float, stations: Sequence[Station], delay_s: float) -> float:
    """The mean time of a workflow that visits all stations, of arrivals at `rate`. Jackson (1957)."""
    served = sum(station.demand_s + mmc_wait_s(station.servers, rate, station.demand_s) for station in stations)
    return delay_s + served


def closed_throughput(at_once: int, stations: Sequence[Station], delay_s: float) -> float:
    """Workflows a second when so many are always at once, each of which also waits `delay_s` where nothing is shared.

    The convolution algorithm of Buzen (1973) over stations of several servers; in long doubles, with demands taken in
    units of the bottleneck's, so that constants neither vanish nor overflow. Raises ValueError for nobody at once, and
    where there is neither a station nor a delay.
    """
    busiest = max((station.demand_s / station.servers for station in stations), default=0.0)
    unit_s = busiest or delay_s
    if at_once < 1 or unit_s <= 0:
        raise ValueError(f"{at_once} at once over {len(stations)} stations and a delay of {delay_s} s")
    constants = np.zeros(at_once + 1, dtype=np.longdouble)
    constants[0] = 1.0
    for demand, servers in ((delay_s, at_once), *((each.demand_s, each.servers) for each in stations)):
        factors = np.ones(at_once + 1, dtype=np.longdouble)
        steps = np.arange(1, at_once + 1)
        factors[1:] = np.cumprod((demand / unit_s) / np.minimum(steps, servers).astype(np.longdouble))
        constants = np.convolve(constants, factors)[: at_once + 1]
        constants /= constants.max()
    return float(constants[-2] / constants[-1] / unit_s)


def closed_response_s(at_once: int, stations: Sequence[Station], delay_s: float) -> float:
    """The mean time of a workflow then, by Little's law."""
    return at_once / closed_throughput(at_once, stations, delay_s)
