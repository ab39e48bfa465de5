"""Queues with a known answer."""

from __future__ import annotations

import heapq
import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.statistics.queueing import Station, closed_throughputs, held
from tests.statistics.queues import closed_response_s, erlang_c, mmc_wait_s, open_response_s


def closed_throughput(at_once: int, stations: list[Station], delay_s: float) -> float:
    """The last of them."""
    return float(closed_throughputs(at_once, stations, delay_s)[-1])


@pytest.mark.parametrize(
    ("servers", "offered", "waits"),
    [
        (1, 0.5, 0.5),  # M/M/1: the utilisation itself
        (2, 1.0, 1 / 3),  # 2 rho^2 / (1 + rho) with rho = 1/2
        (3, 2.0, 4 / 9),
        (10, 8.0, 0.40918015),  # Gross, Shortle, Thompson & Harris, Fundamentals of Queueing Theory, table of Erlang C
        (5, 5.0, 1.0),
        (4, 0.0, 0.0),
    ],
)
def test_the_share_that_waits(servers: int, offered: float, waits: float) -> None:
    """As published, or by hand."""
    assert erlang_c(servers, offered) == pytest.approx(waits, abs=1e-6)


def test_the_wait_before_one_server_is_that_of_the_textbook() -> None:
    """M/M/1: rho / (mu - lambda); without end where arrivals outrun it."""
    assert mmc_wait_s(1, 8.0, 0.1) == pytest.approx(0.8 / (10 - 8))
    assert mmc_wait_s(2, 20.0, 0.1) == math.inf
    assert open_response_s(8.0, [Station(0.1, 1), Station(0.05, 1)], 1.0) == pytest.approx(
        1.0 + 1 / (10 - 8) + 1 / (20 - 8)
    )


def test_closed_networks_as_by_hand() -> None:
    """One at once never waits; two over one server of 1 s take turns; a machine repairman by its formula."""
    assert closed_throughput(1, [Station(0.2, 3), Station(0.3, 1)], 0.5) == pytest.approx(1.0)
    assert closed_response_s(2, [Station(1.0, 1)], 0.0) == pytest.approx(2.0)
    # M/M/1 repairman: three machines, 4 s up, 1 s of repair: p0 = 1 / sum 3!/(3-n)! (1/4)^n
    idle = 1 / sum(math.perm(3, n) * 0.25**n for n in range(4))
    assert closed_throughput(3, [Station(1.0, 1)], 4.0) == pytest.approx(1 - idle)


@given(
    st.integers(1, 300),
    st.lists(st.tuples(st.floats(0.001, 5.0), st.integers(1, 80)), min_size=1, max_size=5),
    st.floats(0.0, 20.0),
)
def test_throughput_lies_within_its_asymptotic_bounds(
    at_once: int, drawn: list[tuple[float, int]], delay_s: float
) -> None:
    """Denning and Buzen (1978): at most N / (D + Z), and at most the slowest station's; and it never falls with N."""
    stations = [Station(demand, servers) for demand, servers in drawn]
    found = closed_throughput(at_once, stations, delay_s)
    alone = sum(station.demand_s for station in stations) + delay_s
    bound = min(at_once / alone, min(station.servers / station.demand_s for station in stations))
    assert 0 < found <= bound * (1 + 1e-9)
    assert closed_throughput(at_once + 1, stations, delay_s) >= found * (1 - 1e-9)


def test_a_simulated_network_agrees() -> None:
    """24 at once over 4 servers of 0.1 s and a delay of 0.3 s, both exponential: 200,000 visits, one seed."""
    rng, at_once, servers = Random(5), 24, 4
    events = [(rng.expovariate(1 / 0.3), 1) for _ in range(at_once)]
    heapq.heapify(events)
    waiting = busy = ended = 0
    now = 0.0
    while ended < 200_000:
        now, arrives = heapq.heappop(events)
        if arrives:
            waiting += 1
        else:
            ended, busy = ended + 1, busy - 1
            heapq.heappush(events, (now + rng.expovariate(1 / 0.3), 1))
        while waiting and busy < servers:
            waiting, busy = waiting - 1, busy + 1
            heapq.heappush(events, (now + rng.expovariate(1 / 0.1), 0))
    assert closed_throughput(at_once, [Station(0.1, servers)], 0.3) == pytest.approx(ended / now, rel=0.01)


@pytest.mark.parametrize(("at_once", "stations", "delay_s"), [(0, [Station(1.0, 1)], 0.0), (3, [], 0.0)])
def test_what_is_no_network_is_refused(at_once: int, stations: list[Station], delay_s: float) -> None:
    """Rather than answered with a zero."""
    with pytest.raises(ValueError, match="at once over"):
        closed_throughput(at_once, stations, delay_s)
    with pytest.raises(ValueError, match="servers for a load"):
        erlang_c(0, 1.0)


@given(st.floats(0.5, 60.0), st.lists(st.tuples(st.floats(0.01, 0.1), st.integers(1, 20)), min_size=1, max_size=3))
def test_with_room_for_everybody_it_is_jackson_s_network(rate: float, drawn: list[tuple[float, int]]) -> None:
    """Open queues, each by the formula for M/M/c, while none is near its limit."""
    stations = [Station(demand, servers) for demand, servers in drawn]
    if any(rate * each.demand_s > 0.8 * each.servers for each in stations):
        return
    found = held(rate, closed_throughputs(600, stations, 0.05), 600)
    assert found.response_s == pytest.approx(open_response_s(rate, stations, 0.05), rel=1e-3)
    assert found.refused < 1e-6


@pytest.mark.parametrize("rate", [2.0, 10.0, 30.0])
def test_with_few_places_it_is_the_textbook_s_queue(rate: float) -> None:
    """M/M/1/K, K = 1 + 4: (1 - r) r^K / (1 - r^(K + 1)) are refused; where r is 1, one in K + 1."""
    found, r = held(rate, closed_throughputs(1, [Station(0.1, 1)], 0.0), 4), rate * 0.1
    refused = 1 / 6 if r == 1 else (1 - r) * r**5 / (1 - r**6)
    assert found.refused == pytest.approx(refused)
    inside = sum(n * r**n for n in range(6)) / sum(r**n for n in range(6))
    assert found.response_s == pytest.approx(inside / (rate * (1 - refused)))


def test_slots_without_a_queue_are_erlang_s_loss() -> None:
    """M/M/c/c with c = 5 and 4 erlangs: 0.199 are refused (Erlang 1917), and nobody waits."""
    found = held(40.0, closed_throughputs(5, [Station(0.1, 5)], 0.0), 0)
    assert found.refused == pytest.approx(0.19907, abs=1e-5)
    assert found.response_s == pytest.approx(0.1)
