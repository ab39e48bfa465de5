"""Which of a target's several instances a workflow is sent to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Protocol

from harness.load.client import Client, Reply
from harness.target.target import WorkflowRequest


class Balance(Protocol):
    """Chooses for all users of one load process."""

    def take(self) -> int:
        """The instance for the next workflow, which is in flight there from now on."""

    def give_back(self, instance: int) -> None:
        """That workflow has ended."""


class RoundRobin:
    """One after the other, from `first`: load processes that begin at the same time do not all begin at the same."""

    def __init__(self, size: int, first: int = 0) -> None:
        self._size = size
        self._turns = count(first)

    def take(self) -> int:
        return next(self._turns) % self._size

    def give_back(self, instance: int) -> None:
        """Nothing is counted."""


class LeastLoaded:
    """Where the fewest of this load process's workflows are in flight; of several such, the one that waited longest."""

    def __init__(self, size: int, first: int = 0) -> None:
        self._in_flight = [0] * size
        self._turns = count(first)
        self._last = [-1] * size

    def take(self) -> int:
        turn = next(self._turns)
        size = len(self._in_flight)
        chosen = min(range(size), key=lambda n: (self._in_flight[n], self._last[n], (n - turn) % size))
        self._in_flight[chosen] += 1
        self._last[chosen] = turn
        return chosen

    def give_back(self, instance: int) -> None:
        self._in_flight[instance] -= 1


BALANCES: Mapping[str, type[RoundRobin] | type[LeastLoaded]] = {
    "round_robin": RoundRobin,
    "least_loaded": LeastLoaded,
}


class FleetClient:
    """One user's way to several instances: a connection to each. A workflow stays with the one it was sent to."""

    def __init__(self, clients: Sequence[Client], balance: Balance) -> None:
        self._clients = clients
        self._balance = balance

    def run(self, request: WorkflowRequest) -> Reply:
        """Run a workflow to its end at one of them."""
        instance = self._balance.take()
        try:
            return self._clients[instance].run(request)
        finally:
            self._balance.give_back(instance)

    def close(self) -> None:
        """Release all connections."""
        for client in self._clients:
            client.close()
