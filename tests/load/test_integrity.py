"""The expected digest of an embedded workflow."""

from __future__ import annotations

from hashlib import blake2b

import pytest
from msgspec.structs import replace

from harness.load.integrity import Integrity
from harness.scenario.scenario import Workflow
from harness.scenario.shapes import SHAPES, Step
from harness.target.target import WorkflowRequest


def hashed(text: str) -> str:
    """BLAKE2b with 128 bits, in hex."""
    return blake2b(text.encode(), digest_size=16).hexdigest()


def test_the_digest_is_the_formula_of_the_contract() -> None:
    """Written out for a workflow with a join: needs in declared order, fields joined by a bar."""
    steps = (
        Step(name="plan", agent="boss"),
        Step(name="left", agent="worker", needs=("plan",)),
        Step(name="join", agent="boss", needs=("left", "plan")),
    )
    plan = hashed("7|10-1|k|plan|boss")
    left = hashed(f"7|10-1|k|left|worker|{plan}")
    join = hashed(f"7|10-1|k|join|boss|{left}|{plan}")
    expected = hashed(f"plan={plan}|left={left}|join={join}")
    request = WorkflowRequest("10-1", "k", 7, 5.0)
    assert Integrity([Workflow(kind="k", steps=steps)]).expected(request) == expected


@pytest.mark.parametrize("change", [{"id": "10-2"}, {"seed": 8}, {"kind": "other"}])
def test_no_two_workflows_share_a_digest(change: dict[str, object]) -> None:
    """Another id, seed or kind is another result: this is what finds cross-talk."""
    integrity = Integrity([Workflow(kind="k"), Workflow(kind="other")])
    request = WorkflowRequest("10-1", "k", 7, 5.0)
    assert integrity.expected(request) != integrity.expected(replace(request, **change))


def test_every_shape_has_a_digest_of_its_own() -> None:
    """All shipped shapes can be computed and none is another's."""
    integrity = Integrity([Workflow(kind=shape, shape=shape) for shape in SHAPES])
    request = WorkflowRequest("10-1", "", 7, 5.0)
    assert len({integrity.expected(replace(request, kind=shape)) for shape in SHAPES}) == len(SHAPES)
