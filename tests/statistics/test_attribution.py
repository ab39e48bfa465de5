"""Who carries a change: the part whose time grew most, beyond the noise between pairs."""

from __future__ import annotations

import msgspec
import pytest

from harness.statistics.attribution import attribution
from harness.statistics.reading import AgentReading, Reading
from tests.verdict.readings import reading


def with_parts(seed: int, *, data_s: float = 0.03, wait_s: float = 0.0, own_s: float = 0.001) -> Reading:
    """A run in which agent data and the orchestrator took so long."""
    whole = reading(seed=seed)
    agents = {**whole.agents, "data": AgentReading(busy_s=data_s, wait_s=wait_s)}
    return msgspec.structs.replace(whole, agents=agents, values={**whole.values, "orchestration_p50": own_s})


def test_the_largest_change_comes_first() -> None:
    """With its interval over the pairs."""
    pairs = [(with_parts(n), with_parts(n, data_s=0.036 + 0.0001 * n, own_s=0.003)) for n in range(5)]
    found = attribution(pairs)
    assert [part.part for part in found] == ["agent data", "the orchestrator"]
    assert found[0].change_s == pytest.approx(0.0062)
    assert found[0].is_certain
    assert found[0].lower_s is not None
    assert found[0].upper_s is not None
    assert found[0].lower_s < 0.0062 < found[0].upper_s


def test_waiting_for_an_agent_is_a_part_of_its_own() -> None:
    """A pool that became too small is not a slower step."""
    pairs = [(with_parts(n), with_parts(n, wait_s=0.01)) for n in range(3)]
    assert [part.part for part in attribution(pairs)] == ["waiting for data"]


def test_noise_is_not_certain() -> None:
    """What goes up and down carries nothing."""
    pairs = [(with_parts(n), with_parts(n, data_s=0.03 + 0.02 * (-1) ** n + 0.001)) for n in range(6)]
    assert not any(part.is_certain for part in attribution(pairs))


def test_hairs_are_left_out() -> None:
    """Half a percent of a workflow's time is not worth a row."""
    pairs = [(with_parts(n), with_parts(n, data_s=0.0301)) for n in range(3)]
    assert attribution(pairs) == ()


def test_one_pair_has_no_interval() -> None:
    """Then it is information, not a claim."""
    [part] = attribution([(with_parts(1), with_parts(1, data_s=0.05))])
    assert part.lower_s is None
    assert not part.is_certain
