"""Which instance a workflow is sent to."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.load.balance import BALANCES, FleetClient, LeastLoaded, RoundRobin
from harness.load.client import Reply
from harness.observation.observation import Outcome
from harness.target.target import WorkflowRequest


@given(st.integers(1, 8), st.integers(0, 20), st.integers(0, 100))
def test_round_robin_gives_each_its_turn(size: int, first: int, total: int) -> None:
    """Whoever is slow: no two are ever more than one apart."""
    balance = RoundRobin(size, first)
    taken = [balance.take() for _ in range(total)]
    assert taken == [(first + n) % size for n in range(total)]


@given(st.integers(1, 6), st.integers(0, 6), st.lists(st.integers(0, 5), max_size=60))
def test_least_loaded_never_chooses_one_that_has_more_than_another(size: int, first: int, ends: list[int]) -> None:
    """In any order in which workflows end."""
    balance, flying = LeastLoaded(size, first), Counter[int]()
    for end in ends:
        chosen = balance.take()
        assert flying[chosen] == min(flying[n] for n in range(size))
        flying[chosen] += 1
        if flying[end % size]:
            flying[end % size] -= 1
            balance.give_back(end % size)


def test_least_loaded_takes_turns_while_nothing_is_in_flight() -> None:
    """Else a quick target's first instance would get everything."""
    balance = LeastLoaded(3)
    taken = []
    for _ in range(9):
        taken.append(balance.take())
        balance.give_back(taken[-1])
    assert Counter(taken) == {0: 3, 1: 3, 2: 3}


class Instance:
    """Answers with its own number, or breaks."""

    def __init__(self, number: int, *, broken: bool = False) -> None:
        self.number = number
        self.broken = broken
        self.closed = False

    def run(self, request: WorkflowRequest) -> Reply:
        if self.broken:
            raise RuntimeError("broken")
        return Reply(outcome=Outcome.OK, message=str(self.number))

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("balance", list(BALANCES))
def test_a_user_of_a_fleet_has_a_connection_to_each(balance: str) -> None:
    """One that fails is given back, too; closing closes all."""
    instances = [Instance(0), Instance(1, broken=True), Instance(2)]
    client = FleetClient(instances, BALANCES[balance](3))
    request = WorkflowRequest("1-0", "job", 1, 1.0)
    said = []
    for _ in range(6):
        try:
            said.append(client.run(request).message)
        except RuntimeError:
            said.append("broken")
    assert said == ["0", "broken", "2"] * 2
    client.close()
    assert all(instance.closed for instance in instances)
