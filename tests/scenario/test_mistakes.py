"""Where a mistake lies, and what follows from another one."""

from __future__ import annotations

from harness.scenario.mistakes import Mistake, dotted, nearest, unknown_key


def test_paths_read_like_toml() -> None:
    """Bare keys are joined by dots, positions stand in brackets, other keys are quoted."""
    assert dotted(("workflow", 1, "weight")) == "workflow[1].weight"
    assert dotted(("http", "expect", "/a b")) == 'http.expect."/a b"'
    assert dotted(("",)) == '""'


def test_a_mistake_rests_on_what_it_reads() -> None:
    """A broken value in, at or around what a conclusion was drawn from makes it void; a neighbour does not."""
    mistake = Mistake(("load",), "…", reads=(("load", "closed"), ("load", "open")))
    assert mistake.rests_on([("load", "open", 3)])
    assert mistake.rests_on([("load",)])
    assert not mistake.rests_on([("load", "measure"), ("workflow",)])
    assert Mistake(("load",), "…").rests_on([("load", "measure")])


def test_a_near_name_is_offered_and_a_far_one_is_not() -> None:
    """A suggestion that is a guess would mislead."""
    known = ["weight", "kind"]
    assert nearest("wieght", known) == "weight"
    assert nearest("colour", known) is None
    assert unknown_key("colour", known) == "unknown key (known: kind, weight)"
    assert unknown_key("wieght", known) == "unknown key; did you mean 'weight'? (known: kind, weight)"
