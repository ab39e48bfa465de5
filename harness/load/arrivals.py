"""When workflows should start, and which ones: pure arithmetic on seeds, blind to every reply.

Each purpose has a random stream of its own, so that drawing one thing more never moves another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from random import Random
from typing import Protocol

import msgspec

from harness.errors import UsageError, unknown_name
from harness.observation.ids import level_prefix
from harness.scenario.scenario import Level, Load, Workflow
from harness.target.target import WorkflowRequest

SEED_BITS = 53  # exact in every JSON reader


def seed_of(run_seed: int, purpose: str, ordinal: int = 0) -> int:
    """A seed for one thing: the first 53 bits of BLAKE2b over run seed, purpose and ordinal."""
    return _int53(blake2b(f"{run_seed}|{purpose}|{ordinal}".encode(), digest_size=8).digest())


def _int53(digest: bytes) -> int:
    return int.from_bytes(digest, "big") >> (64 - SEED_BITS)


class Part(msgspec.Struct, frozen=True):
    """The part of a level that one of `count` load processes drives: each computes its own, and together they send
    what a single one would."""

    index: int = 0
    count: int = 1

    def share(self, total: int) -> int:
        """Of so many users."""
        return total // self.count + (self.index < total % self.count)

    def cut(self, offsets: Iterator[float]) -> Iterator[float]:
        """Of these arrivals: every `count`-th."""
        return islice(offsets, self.index, None, self.count)


WHOLE = Part()


class LoadProfile(Protocol):
    """Open load: intended start offsets in seconds from the level's start, ascending, finite."""

    def arrivals(self, rng: Random) -> Iterator[float]:
        """The offsets; the same `rng` state gives the same offsets."""


@dataclass(frozen=True, slots=True)
class Closed:
    """Closed load: `users` that each submit, wait for the end and submit again. It has no schedule."""

    users: int


@dataclass(frozen=True, slots=True)
class Constant:
    """Evenly spaced arrivals. Each offset is computed from the start, so errors do not add up."""

    rate: float  # per second
    duration_s: float

    def arrivals(self, rng: Random) -> Iterator[float]:
        """0, 1/rate, 2/rate, …"""
        n = 0
        while (at := n / self.rate) < self.duration_s:
            yield at
            n += 1


@dataclass(frozen=True, slots=True)
class Poisson:
    """Independent arrivals: exponential gaps of mean 1/rate."""

    rate: float  # per second
    duration_s: float

    def arrivals(self, rng: Random) -> Iterator[float]:
        """Drawn gap by gap."""
        at = rng.expovariate(self.rate)
        while at < self.duration_s:
            yield at
            at += rng.expovariate(self.rate)


@dataclass(frozen=True, slots=True)
class Steps:
    """Poisson arrivals at one rate after the other; the process has no memory, so each step starts afresh."""

    rates: Sequence[float]  # per second
    each_s: float
    lead_s: float = 0.0  # before the steps, at the first rate: warm-up

    def arrivals(self, rng: Random) -> Iterator[float]:
        """Step by step."""
        start = 0.0
        spans = [(self.rates[0], self.lead_s), *((rate, self.each_s) for rate in self.rates)]
        for rate, span_s in spans:
            for at in Poisson(rate, span_s).arrivals(rng):
                yield start + at
            start += span_s


@dataclass(frozen=True, slots=True)
class Bursts:
    """`total` workflows, `size` at once, every `every_s`."""

    total: int
    size: int
    every_s: float
    lead_s: float = 0.0  # before the first burst

    def arrivals(self, rng: Random) -> Iterator[float]:
        """The last burst may be smaller."""
        for n in range(self.total):
            yield self.lead_s + n // self.size * self.every_s


def _steps(load: Load, level: Level) -> LoadProfile:
    rates = [share * level.amount for share in load.step_shares]
    return Steps(rates, load.measure / len(rates), lead_s=load.warmup)


def _bursts(load: Load, level: Level) -> LoadProfile:
    total = round(level.amount)
    return Bursts(total, load.burst_size or total, load.burst_every, lead_s=load.warmup)


PROFILES: Mapping[str, Callable[[Load, Level], Closed | LoadProfile]] = {
    "closed": lambda load, level: Closed(round(level.amount)),
    "burst": _bursts,
    "constant": lambda load, level: Constant(level.amount, load.warmup + load.measure),
    "poisson": lambda load, level: Poisson(level.amount, load.warmup + load.measure),
    "steps": _steps,
}


def profile_of(load: Load, level: Level) -> Closed | LoadProfile:
    """How the workflows of a level arrive, its warm-up included. Bursts begin when warm-up ends."""
    kind = load.arrivals if level.mode == "open" else level.mode
    if kind not in PROFILES:
        raise UsageError(unknown_name("arrivals", kind, PROFILES))
    return PROFILES[kind](load, level)


def part_offsets(profile: LoadProfile, run_seed: int, label: str, part: Part) -> Iterator[float]:
    """The arrivals of a part of an open level, in seconds from the level's start."""
    return part.cut(profile.arrivals(Random(seed_of(run_seed, f"arrivals/{label}"))))


class Deck:
    """Workflow kinds in shuffled decks that hold each kind `weight` times, so that shares are exact early on."""

    def __init__(self, workflows: Sequence[Workflow], rng: Random) -> None:
        self._full = [workflow for workflow in workflows for _ in range(workflow.weight)]
        if not self._full:
            raise UsageError("no workflow has a weight: there is nothing to send")
        self._rng = rng
        self._left: list[Workflow] = []

    def draw(self) -> Workflow:
        """The next workflow's kind."""
        if not self._left:
            self._left = self._full.copy()
            self._rng.shuffle(self._left)
        return self._left.pop()


class Requests:
    """The workflows of one level, one after the other, each with an id unique in the run and a seed of its own.

    Of a `part`, those that fall to it.
    """

    def __init__(self, run_seed: int, label: str, workflows: Sequence[Workflow], part: Part = WHOLE) -> None:
        self._prefix = level_prefix(label)
        self._purpose = blake2b(f"{run_seed}|workflow/{label}|".encode(), digest_size=8)
        self._deck = Deck(workflows, Random(seed_of(run_seed, f"kinds/{label}")))
        self._ordinal = part.index
        self._step = part.count
        self._others = part.index  # drawn by other parts before the next of this one

    def draw(self) -> WorkflowRequest:
        """The next workflow to ask for."""
        n = self._ordinal
        self._ordinal = n + self._step
        for _ in range(self._others):
            self._deck.draw()
        self._others = self._step - 1
        workflow = self._deck.draw()
        seed = self._purpose.copy()  # seed_of(run_seed, purpose, n), at a third of its cost
        seed.update(b"%d" % n)
        return WorkflowRequest(
            f"{self._prefix}-{n}",
            workflow.kind,
            _int53(seed.digest()),
            workflow.deadline,
            workflow.input or None,
        )
