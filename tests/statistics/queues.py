"""Queues by their textbook formulas: what the product's own, which are bounded, have to agree with."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.statistics.queueing import Station, closed_throughputs


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


def closed_response_s(at_once: int, stations: Sequence[Station], delay_s: float) -> float:
    """The mean time of a workflow when so many are always at once, by Little's law."""
    return at_once / float(closed_throughputs(at_once, stations, delay_s)[-1])
