"""Which workflows arrive: decks, ids and seeds."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.load.arrivals import Deck, Part, Poisson, Requests, seed_of
from harness.scenario.scenario import Workflow


@given(st.lists(st.integers(0, 5), min_size=1, max_size=5).filter(any), st.integers(1, 5), st.integers())
def test_every_deck_holds_each_kind_as_often_as_its_weight(weights: list[int], decks: int, seed: int) -> None:
    """Exact shares after every whole deck, not only in the long run."""
    workflows = [Workflow(kind=str(n), weight=weight) for n, weight in enumerate(weights)]
    deck = Deck(workflows, Random(seed))
    for _ in range(decks):
        drawn = Counter(deck.draw().kind for _ in range(sum(weights)))
        assert drawn == Counter({str(n): weight for n, weight in enumerate(weights) if weight})


def test_decks_are_shuffled() -> None:
    """Otherwise all of one kind would come first."""
    deck = Deck([Workflow(kind="a", weight=50), Workflow(kind="b", weight=50)], Random(1))
    assert {deck.draw().kind for _ in range(20)} == {"a", "b"}


def test_a_scenario_without_weights_is_refused() -> None:
    """There would be nothing to send."""
    with pytest.raises(UsageError, match="no workflow has a weight"):
        Deck([Workflow(kind="a", weight=0)], Random(1))


def test_seeds_differ_by_run_purpose_and_ordinal_and_fit_in_a_json_number() -> None:
    """53 bits, which every JSON reader keeps exactly."""
    seeds = [seed_of(run, purpose, n) for run in (1, 2) for purpose in ("a", "b") for n in range(100)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**53 for seed in seeds)
    assert max(seeds) > 2**52


def test_requests_are_replayed_by_the_seed_and_differ_between_levels() -> None:
    """Ids are unique in the run and safe in a URL; the seed of a request is `seed_of` its level and place."""
    kinds = [Workflow(kind="a", input={"x": 1}), Workflow(kind="b", deadline=7.0)]
    first, again = Requests(5, "6/s", kinds), Requests(5, "6/s", kinds)
    drawn = [first.draw() for _ in range(50)]
    assert drawn == [again.draw() for _ in range(50)]
    assert [request.id for request in drawn[:2]] == ["6_s-0", "6_s-1"]
    assert drawn[3].seed == seed_of(5, "workflow/6/s", 3)
    other = Requests(5, "12/s", kinds)
    assert not {request.seed for request in drawn} & {other.draw().seed for _ in range(50)}
    by_kind = {request.kind: request for request in drawn}
    assert by_kind["a"].input == {"x": 1}
    assert by_kind["b"].input is None
    assert by_kind["b"].deadline_s == 7.0


@given(st.integers(1, 7), st.integers(0, 60))
def test_the_parts_of_a_level_are_the_level(count: int, total: int) -> None:
    """Together they send what one process would: the same starts, the same workflows, each once."""
    workflows = (Workflow(kind="a", shape="sequential", weight=2), Workflow(kind="b", shape="sequential"))
    parts = [Part(index, count) for index in range(count)]
    assert sum(part.share(total) for part in parts) == total
    offsets = list(Poisson(20.0, 3.0).arrivals(Random(1)))
    cut = [list(part.cut(Poisson(20.0, 3.0).arrivals(Random(1)))) for part in parts]
    assert sorted(each for some in cut for each in some) == offsets
    whole = Requests(5, "20/s", workflows)
    asked = [whole.draw() for _ in range(count * 8)]
    drawn = [Requests(5, "20/s", workflows, part) for part in parts]
    assert [each.draw() for _ in range(8) for each in drawn] == asked
