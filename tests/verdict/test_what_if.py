"""What another size would hold, from made-up sweeps of systems whose answer is known."""

from __future__ import annotations

from typing import Any

import pytest

from harness.statistics.capacity import Capacity, Condition
from harness.statistics.point import Point
from harness.statistics.queueing import Station, closed_throughputs, held
from harness.verdict.what_if import Measured, Prediction, Sizes, measured_system, predict
from tests.statistics.queues import closed_response_s, open_response_s

POOLS = {"triage": 50, "data": 8}
SIZES = Sizes(POOLS, slots=1000, queue=1000)
STATIONS = [Station(0.05, 50), Station(0.1, 8)]
DELAY_S = 0.02
SLO = (Condition("p95", "<", 1.0), Condition("success", ">=", 0.99))


def with_data(pool: int) -> Sizes:
    """Another number of its instances."""
    return SIZES._replace(pools={**POOLS, "data": pool})


def closed_sweep(loads: tuple[int, ...] = (1, 4, 8, 12, 16, 24)) -> list[Point]:
    """Levels of a network that is just what the model thinks it is."""
    points = list[Point]()
    for load in loads:
        rate = float(closed_throughputs(load, STATIONS, DELAY_S)[-1])
        pools = {"triage": rate * 0.05 / 50, "data": rate * 0.1 / 8}
        mean_s = closed_response_s(load, STATIONS, DELAY_S)
        points.append(
            Point(load=load, sitting=1, run="r", ended=500, rate=rate, mean_s=mean_s, metrics={}, pools=pools)
        )
    return points


def system(found: Capacity | None = None, points: list[Point] | None = None, **fields: Any) -> Measured | str:
    found = found or Capacity(load=14.0, limited_by="p95")
    return measured_system(points or closed_sweep(), SIZES, found, **{"closed": True, "objective": SLO} | fields)


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
    assert predict(found, SIZES, "same").load == pytest.approx(14.0)
    twice = predict(found, with_data(16), "agent.data.pool = 16")
    assert twice.load is not None
    wanted_s = found.mean_at_limit_s
    assert wanted_s is not None
    below, above = (
        closed_response_s(load, [Station(0.05, 50), Station(0.1, 16)], DELAY_S)
        for load in (int(twice.load) - 1, int(twice.load) + 2)
    )
    assert below < wanted_s < above


def test_arrivals_are_predicted_by_queues_before_each_agent() -> None:
    """Jackson's network: the rate at which the mean response is what it was."""
    open_system = Measured(
        closed=False,
        sizes=SIZES,
        demands_s={"data": 0.1},
        delay_s=0.0,
        limit=72.0,
        mean_at_limit_s=open_response_s(72.0, [Station(0.1, 8)], 0.0),
    )
    more = predict(open_system, with_data(12), "agent.data.pool = 12")
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
    said = predict(other, with_data(16), "agent.data.pool = 16")
    assert said.load is None
    assert "the model is off for what was measured" in said.why_not


def bounded(slots: int, queue: int, **fields: Any) -> Measured:
    """Eight instances of a tenth of a second behind these bounds."""
    sizes = Sizes({"data": 8}, slots, queue)
    fields = {"closed": True, "mean_at_limit_s": None, "refused_max": 0.01} | fields
    return Measured(sizes=sizes, demands_s={"data": 0.1}, delay_s=0.0, **{"limit": float(slots + queue)} | fields)


def test_a_longer_queue_holds_as_many_more_at_once() -> None:
    """Closed load: nobody is refused until every place is taken."""
    system = bounded(4, 8)
    longer = system.sizes._replace(queue=20)
    assert predict(system, longer, "orchestrator.queue = 20").load == pytest.approx(24.0)


def test_fewer_slots_hold_less_although_the_agents_are_the_same() -> None:
    """Four slots keep four of eight instances busy, so half as many at once take as long."""
    taken_s = 20 / closed_throughputs(20, [Station(0.1, 8)], 0.0)[7]
    system = bounded(1000, 1000, mean_at_limit_s=float(taken_s), limit=20.0)
    fewer = predict(system, system.sizes._replace(slots=4), "orchestrator.slots = 4")
    assert fewer.load == pytest.approx(10.0, rel=0.05)


def test_arrivals_find_a_place_as_often_as_before() -> None:
    """Open load: the rate at which one in a hundred is refused, with another queue."""
    throughputs = closed_throughputs(8, [Station(0.1, 8)], 0.0)
    limit = max(rate for rate in range(1, 90) if held(rate, throughputs, 4).refused <= 0.01)
    system = bounded(8, 4, closed=False, limit=float(limit))
    more = predict(system, system.sizes._replace(queue=40), "orchestrator.queue = 40").load
    assert more is not None
    assert limit < more < 80.0 * 1.01
    assert held(more * 0.98, throughputs, 40).refused < 0.01 < held(more * 1.05, throughputs, 40).refused


def test_arrivals_of_whom_none_may_be_refused_are_limited_by_time_alone() -> None:
    """`success >= 100 %`: some always find it full, so the model has no rate for it, and says what it knows."""
    throughputs = closed_throughputs(1000, [Station(0.1, 8)], 0.0)
    wanted_s = held(72.0, throughputs, 1000).response_s
    system = bounded(1000, 1000, closed=False, limit=72.0, mean_at_limit_s=wanted_s, refused_max=0.0)
    assert predict(system, system.sizes._replace(pools={"data": 16}), "agent.data.pool = 16").load is not None
    assert predict(system, system.sizes, "same").load == pytest.approx(72.0)


def test_what_refuses_and_what_is_slow_are_told_apart() -> None:
    """A limit by success says nothing of how slow is too slow."""
    by_time, by_success = system(), system(Capacity(load=14.0, limited_by="success"))
    assert isinstance(by_time, Measured)
    assert isinstance(by_success, Measured)
    assert by_time.mean_at_limit_s is not None
    assert by_success.mean_at_limit_s is None
    assert by_time.refused_max == pytest.approx(0.01)
    unbounded = system(objective=(Condition("p95", "<", 1.0),))
    assert isinstance(unbounded, Measured)
    assert unbounded.refused_max is None


def test_how_far_a_prediction_was_off() -> None:
    """As a share of the measurement; of nothing that has no single value."""
    measured = Capacity(load=50.0, limited_by="p95")
    assert Prediction(change="x", load=55.0, measured=measured).off == pytest.approx(0.1)
    assert Prediction(change="x", load=55.0, measured=Capacity(load=50.0, at_least=True)).off is None
    assert Prediction(change="x", measured=measured).off is None
