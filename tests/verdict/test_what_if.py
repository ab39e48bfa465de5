"""What another size would hold, from made-up sweeps of systems whose answer is known."""

from __future__ import annotations

from typing import Any

import pytest

from harness.statistics.capacity import Capacity
from harness.statistics.point import Point
from harness.statistics.queueing import Station, closed_response_s, closed_throughput, open_response_s
from harness.verdict.what_if import Measured, Prediction, measured_system, predict

POOLS = {"triage": 50, "data": 8}
STATIONS = [Station(0.05, 50), Station(0.1, 8)]
DELAY_S = 0.02


def closed_sweep(loads: tuple[int, ...] = (1, 4, 8, 12, 16, 24)) -> list[Point]:
    """Levels of a network that is just what the model thinks it is."""
    points = list[Point]()
    for load in loads:
        rate = closed_throughput(load, STATIONS, DELAY_S)
        pools = {"triage": rate * 0.05 / 50, "data": rate * 0.1 / 8}
        mean_s = closed_response_s(load, STATIONS, DELAY_S)
        points.append(
            Point(load=load, sitting=1, run="r", ended=500, rate=rate, mean_s=mean_s, metrics={}, pools=pools)
        )
    return points


def system(found: Capacity | None = None, points: list[Point] | None = None, **fields: Any) -> Measured | str:
    found = found or Capacity(load=14.0, limited_by="p95")
    return measured_system(points or closed_sweep(), POOLS, found, **{"closed": True} | fields)


def test_service_times_come_from_the_use_of_instances() -> None:
    """The agent whose instances were hardly used has one, too; what is left is spent elsewhere."""
    found = system()
    assert isinstance(found, Measured)
    assert found.demands_s["data"] == pytest.approx(0.1)
    assert "triage" not in found.demands_s or found.demands_s["triage"] == pytest.approx(0.05)
    alone_s = closed_response_s(1, STATIONS, DELAY_S)
    assert found.delay_s + sum(found.demands_s.values()) == pytest.approx(alone_s)


def test_more_instances_of_what_gave_out_hold_as_much_more_as_the_network_says() -> None:
    """The load at which the other network is as slow as this one was at its limit; as many hold as much as they did."""
    found = system()
    assert isinstance(found, Measured)
    assert predict(found, found.pools, "same").load == pytest.approx(14.0)
    twice = predict(found, {**found.pools, "data": 16}, "agent.data.pool = 16")
    assert twice.load is not None
    wanted_s = found.mean_at_limit_s
    below, above = (
        closed_response_s(load, [Station(0.05, 50), Station(0.1, 16)], DELAY_S)
        for load in (int(twice.load) - 1, int(twice.load) + 2)
    )
    assert below < wanted_s < above


def test_arrivals_are_predicted_by_queues_before_each_agent() -> None:
    """Jackson's network: the rate at which the mean response is what it was."""
    open_system = Measured(
        closed=False,
        pools={"data": 8},
        demands_s={"data": 0.1},
        delay_s=0.0,
        limit=72.0,
        mean_at_limit_s=open_response_s(72.0, [Station(0.1, 8)], 0.0),
    )
    more = predict(open_system, {"data": 12}, "agent.data.pool = 12")
    assert more.load is not None
    assert open_response_s(more.load, [Station(0.1, 12)], 0.0) == pytest.approx(open_system.mean_at_limit_s, rel=1e-6)
    assert more.load > 72.0 * 1.5, "larger pools lose less to waiting"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (system(Capacity(load=20.0, at_least=True)), "the sweep found no limit"),
        (system(Capacity(load=None)), "the sweep found no limit"),
        (system(points=[Point(load=n, sitting=1, run="r", ended=9, rate=9.0, mean_s=1.0, metrics={}) for n in (1, 2)]),
         "no agent's service time could be told"),
        (system(points=[Point(load=n, sitting=1, run="r", ended=9, rate=9.0, mean_s=0.01, metrics={},
                              pools={"data": 0.5}) for n in (1, 2)]), "work side by side"),
    ],
)  # fmt: skip
def test_where_the_model_does_not_apply_it_says_why(found: Measured | str, said: str) -> None:
    """Instead of a number."""
    assert isinstance(found, str)
    assert said in found


def test_a_model_that_is_off_for_what_was_measured_predicts_nothing() -> None:
    """A limit at 40 that the network would have at 14."""
    found = system()
    assert isinstance(found, Measured)
    import msgspec

    other = msgspec.structs.replace(found, limit=40.0)
    said = predict(other, {**found.pools, "data": 16}, "agent.data.pool = 16")
    assert said.load is None
    assert "the model is off for what was measured" in said.why_not


def test_how_far_a_prediction_was_off() -> None:
    """As a share of the measurement; of nothing that has no single value."""
    measured = Capacity(load=50.0, limited_by="p95")
    assert Prediction(change="x", load=55.0, measured=measured).off == pytest.approx(0.1)
    assert Prediction(change="x", load=55.0, measured=Capacity(load=50.0, at_least=True)).off is None
    assert Prediction(change="x", measured=measured).off is None
