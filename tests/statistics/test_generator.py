"""The generator self-check: when the numbers may be the load process's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.observation.observation import Outcome
from harness.scenario.scenario import Load
from harness.statistics.summary import summarise

if TYPE_CHECKING:
    from tests.conftest import RunBuilder


def reasons(run: RunBuilder) -> tuple[str, ...]:
    """Why the run's only level is contaminated."""
    [level] = summarise(run.write()).levels
    return level.contaminated


def test_a_quiet_generator_contaminates_nothing(run: RunBuilder) -> None:
    """The usual case."""
    run.sound()
    run.check(lag_s=0.01)
    assert reasons(run) == ()


def test_a_busy_load_process_contaminates(run: RunBuilder) -> None:
    """Replies then wait for it."""
    run.workflows(100)
    run.phases()
    run.resources(load_cpu=0.95)
    [reason] = reasons(run)
    assert "95% of a core" in reason


@pytest.mark.parametrize(("at", "count"), [(20.0, 1), (5.0, 0), (31.0, 0)])
def test_a_stalled_hub_contaminates_what_is_measured(run: RunBuilder, at: float, count: int) -> None:
    """A stall before or after measure does not matter."""
    run.sound()
    run.check(lag_s=0.9, at=at)
    assert len(reasons(run)) == count


def test_a_stall_that_is_small_beside_the_latency_is_harmless(run: RunBuilder) -> None:
    """0.9 s of a 10 s p95."""
    run.sound(latency_s=10.0)
    run.check(lag_s=0.9)
    assert reasons(run) == ()


def test_late_starts_contaminate_and_a_cap_on_users_is_named(run: RunBuilder) -> None:
    """With every user waiting, the way out is to allow more of them."""
    run.load = Load(open=(10.0,), in_flight_max=50, measure=20.0)
    for number in range(100):
        run.workflow(intended=10.0 + number / 10, started=10.5 + number / 10, ended=11.0 + number / 10)
    run.phases()
    run.resources()
    run.check(lag_s=0.0, in_flight=10)
    [reason] = reasons(run)
    assert "late" in reason
    assert "in_flight_max" not in reason
    run.check(lag_s=0.0, in_flight=50)
    [reason] = reasons(run)
    assert "in_flight_max" in reason


def test_arrivals_that_were_never_sent_contaminate(run: RunBuilder) -> None:
    """They fail the success limit; that they were shed by us is said beside it."""
    run.load = Load(open=(10.0,), in_flight_max=50, measure=20.0)
    run.workflows(100)
    run.workflow(outcome=Outcome.NOT_STARTED, error_class="shed")
    run.phases()
    run.resources()
    [reason] = reasons(run)
    assert reason.startswith("1 arrivals were never sent")
    assert "in_flight_max" in reason


def test_a_busy_provider_of_models_contaminates(run: RunBuilder) -> None:
    """Its answers come late then, and the orchestrator waits for them."""
    run.workflows(100)
    run.phases()
    run.resources(llm_cpu=0.93)
    run.call()
    [reason] = reasons(run)
    assert "provider of models used 93% of a core" in reason


@pytest.mark.parametrize(
    ("late_s", "took_s", "count"), [(0.015, 0.1, 0), (0.03, 0.1, 1), (0.03, 1.0, 0), (0.06, 1.0, 1)]
)
def test_a_late_simulator_contaminates(run: RunBuilder, late_s: float, took_s: float, count: int) -> None:
    """By more than 20 ms and more than 5 % of a usual call."""
    run.sound()
    run.call(took_s=took_s, ended_planned_s=took_s - late_s)
    found = reasons(run)
    assert len(found) == count
    assert all("the simulator itself was late" in reason for reason in found)
