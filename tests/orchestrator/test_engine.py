"""Any declared graph of steps runs in its order, over shared state that is written and read back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from virtual_time import RecordingWatch, simulate

from harness.errors import Rejected, TargetError, UsageError, VersionConflict
from harness.orchestrator.call import Call
from harness.orchestrator.embedded import Embedded, embedded_options
from harness.scenario.scenario import Agent, Load, Scenario, Think, Work, Workflow
from harness.scenario.shapes import SHAPES
from harness.store.memory import MemoryStore
from harness.store.store import Expired, StoreUnavailable, Versioned, WriteResult
from harness.target.target import WorkflowRequest

AGENTS = ("triage", "data", "optimization", "actions", "reporting", "supervisor")


def clock() -> float:
    return asyncio.get_running_loop().time()


def shaped(shape: str, **options: Any) -> dict[str, Any]:
    """A workflow of that shape, each step of which waits a second."""
    return {
        "workflow": [{"kind": "job", "shape": shape}],
        "agent": {name: {"work": {"wait": 1.0}} for name in AGENTS},
        **options,
    }


REQUEST = WorkflowRequest("w", "job", 7, 30.0)


@pytest.mark.parametrize(
    ("shape", "seconds"), [("sequential", 3), ("supervisor", 3), ("enterprise", 5), ("fan-out", 3)]
)
def test_a_shape_takes_as_long_as_its_longest_path(shape: str, seconds: int) -> None:
    """Steps of 1 s: side by side where the needs allow it, one after the other where not."""

    async def main() -> None:
        watch = RecordingWatch()
        await Embedded(shaped(shape), clock=clock).run(REQUEST, watch)
        assert clock() == pytest.approx(seconds)
        assert sorted(step[0] for step in watch.steps) == sorted(step.name for step in SHAPES[shape])
        ends = {name: ended for name, _, _, _, ended, _, _, _ in watch.steps}
        starts = {name: queued for name, _, queued, _, _, _, _, _ in watch.steps}
        for step in SHAPES[shape]:
            assert all(ends[need] <= starts[step.name] for need in step.needs)

    simulate(main)


def test_a_step_starts_when_its_own_needs_are_done_not_a_whole_wave() -> None:
    """A slow branch holds up only what needs it."""
    steps = [
        {"name": "slow", "agent": "slow"},
        {"name": "quick", "agent": "quick"},
        {"name": "after quick", "agent": "quick", "needs": ["quick"]},
        {"name": "after both", "agent": "quick", "needs": ["slow", "after quick"]},
    ]

    async def main() -> None:
        agents = {"slow": {"work": {"wait": 5.0}}, "quick": {"work": {"wait": 1.0}}}
        watch = RecordingWatch()
        await Embedded({"workflow": [{"kind": "job", "steps": steps}], "agent": agents}, clock=clock).run(
            REQUEST, watch
        )
        queued = {name: at for name, _, at, _, _, _, _, _ in watch.steps}
        assert queued == pytest.approx({"slow": 0.0, "quick": 0.0, "after quick": 1.0, "after both": 5.0})

    simulate(main)


def test_a_chain_makes_no_task() -> None:
    """Its steps are awaited in the caller's own."""
    tasks = set()

    async def agent(call: Call) -> bytes:
        tasks.add(asyncio.current_task())
        return b"done"

    async def main() -> None:
        target = Embedded(shaped("enterprise"), clock=clock, agents=dict.fromkeys(AGENTS, agent))
        await target.run(REQUEST, RecordingWatch())
        assert tasks == {asyncio.current_task()}

    simulate(main)


def test_a_failing_branch_stops_the_others_and_waits_for_their_end() -> None:
    """The first failure is the workflow's; nothing runs on behind its back."""

    async def agent(call: Call) -> bytes:
        if call.step.name == "data-2":
            await asyncio.sleep(1.0)
            raise TargetError("no", definite=True, error_class="mine")
        await asyncio.sleep(5.0)
        return b"done"

    async def main() -> None:
        target = Embedded(shaped("fan-out"), clock=clock, agents={"data": agent})
        watch = RecordingWatch()
        with pytest.raises(TargetError) as raised:
            await target.run(REQUEST, watch)
        assert raised.value.error_class == "mine"
        assert clock() == pytest.approx(2.0)
        assert [step[5] for step in watch.steps] == ["ok"] + ["failed"] * 4
        assert target.use().pools["data"].busy == 0

    simulate(main)


class Faulty(MemoryStore):
    """A store that really works, and goes wrong in one way."""

    def __init__(self, fault: str) -> None:
        super().__init__(clock=clock)
        self.fault = fault

    async def read(self, key: str) -> Versioned | Expired | None:
        found = await super().read(key)
        if self.fault == "unreachable":
            raise StoreUnavailable("connection refused")
        if self.fault == "gone":
            return None
        if self.fault == "expired":
            return Expired(2)
        if self.fault == "field lost" and isinstance(found, Versioned):
            fields = {name: value for name, value in found.fields.items() if name != "triage"}
            return Versioned(found.version, found.value, fields)
        return found

    async def merge(
        self, key: str, fields: Mapping[str, bytes], *, op_id: str, ttl_s: float | None = None
    ) -> WriteResult:
        if self.fault == "conflict":
            raise VersionConflict(key, expected=1, actual=2)
        if self.fault == "intruder":
            await super().merge(key, {"other": b"x"}, op_id=f"{op_id}/intruder")
        if self.fault == "write lost":
            return WriteResult(True, 1)
        if self.fault == "refused":
            return WriteResult(False, 1)
        return await super().merge(key, fields, op_id=op_id, ttl_s=ttl_s)


@pytest.mark.parametrize(
    ("fault", "error_class", "says"),
    [
        ("unreachable", "state_unavailable", "connection refused"),
        ("gone", "state_lost", "is gone"),
        ("expired", "state_expired", "expired at version 2"),
        ("field lost", "missing_dependency", "step 'data' needs 'triage'"),
        ("conflict", "version_conflict", "version 2, not 1"),
        ("intruder", "cross_talk", "version 3 where the workflow's own writes make 2"),
        ("write lost", "state_lost", "version 1 where the workflow's own writes make 2"),
        ("refused", "state_expired", "expired at version 1"),
    ],
)
def test_what_a_store_does_wrong_is_a_typed_failure(fault: str, error_class: str, says: str) -> None:
    """Never a KeyError, never a wrong result."""

    async def main() -> None:
        target = Embedded(shaped("sequential"), clock=clock, store=Faulty(fault))
        with pytest.raises(TargetError, match=says) as raised:
            await target.run(REQUEST, RecordingWatch())
        assert raised.value.error_class == error_class
        assert raised.value.definite
        assert target.use().running == 0

    simulate(main)


def test_side_by_side_an_intruder_is_found_at_the_end() -> None:
    """Between parallel steps any order of versions is right, their number is not."""

    async def main() -> None:
        target = Embedded(shaped("supervisor"), clock=clock, store=Faulty("intruder"))
        with pytest.raises(TargetError) as raised:
            await target.run(REQUEST, RecordingWatch())
        assert raised.value.error_class == "cross_talk"

    simulate(main)


def test_a_workflow_id_that_is_in_use_is_a_conflict() -> None:
    """Two workflows never share a document."""

    async def main() -> None:
        store = MemoryStore(clock=clock)
        await store.write("w", b"", if_version=0, op_id="somebody else's")
        with pytest.raises(TargetError) as raised:
            await Embedded(shaped("sequential"), clock=clock, store=store).run(REQUEST, RecordingWatch())
        assert raised.value.error_class == "version_conflict"

    simulate(main)


def test_documents_of_ended_workflows_go_away() -> None:
    """Of those that failed too: memory follows the load, not its history."""

    async def main() -> None:
        store = MemoryStore(clock=clock)
        agents = {name: {"work": {"wait": 0.1}} for name in AGENTS}
        target = Embedded(shaped("sequential", agent=agents), clock=clock, store=store)
        most = 0
        for number in range(3000):
            request = WorkflowRequest(f"w{number}", "job", 1, 0.25 if number % 10 == 0 else 30.0)
            watch = RecordingWatch()
            await asyncio.gather(target.run(request, watch), return_exceptions=True)
            most = max(most, len(store))
        assert most < 1000
        assert isinstance(await store.read("w2000"), Expired)

    simulate(main)


def test_the_queue_is_bounded_and_an_unknown_kind_frees_its_slot() -> None:
    """Admission through the target: slots, queue, rejection, use."""

    async def main() -> None:
        target = Embedded(shaped("sequential", orchestrator={"slots": 1, "queue": 1}), clock=clock)
        requests = [WorkflowRequest(f"w{number}", "job", 1, 30.0) for number in range(2)]
        for request in requests:
            target.admit(request)
        with pytest.raises(Rejected):
            target.admit(REQUEST)
        assert (target.use().running, target.use().queue_depth, target.use().rejected) == (1, 1, 1)
        await asyncio.gather(*[target.run(request, RecordingWatch()) for request in requests])
        assert clock() == pytest.approx(6.0)
        with pytest.raises(TargetError, match="'jib' is unknown; did you mean 'job'") as raised:
            await target.run(WorkflowRequest("x", "jib", 1, 30.0), RecordingWatch())
        assert raised.value.error_class == "unknown_kind"
        assert (target.use().running, target.use().queue_peak) == (0, 1)

    simulate(main)


def test_options_survive_json_and_name_every_mistake() -> None:
    """`embedded_options` is what `Embedded` reads; what cannot run is refused with all its places."""
    scenario = Scenario(
        name="x",
        description="",
        load=Load(closed=(1,)),
        workflow=(Workflow(kind="job", work={"data": Work(cpu=0.1)}),),
        agent={"triage": Agent(work=Work(think=Think(model="haiku-4.5")))},
    )
    options = json.loads(json.dumps(embedded_options(scenario)))
    Embedded(options)
    options["agent"]["triage"]["work"]["think"]["model"] = "haiku-4.6"
    options["agent"]["triage"]["pool"] = 0
    options["workflow"] += [{"kind": "job", "steps": [{"name": "a", "agent": "data", "needs": ["b"]}]}]
    with pytest.raises(UsageError) as raised:
        Embedded(options)
    told = "\n".join(raised.value.mistakes)
    assert len(raised.value.mistakes) == 4
    assert "did you mean 'haiku-4.5'" in told
    assert "agent.triage.pool: 0 is less than 1" in told
    assert "declared twice" in told
    assert "'a' needs 'b', which is no step before it" in told
    with pytest.raises(UsageError, match="workflow"):
        Embedded({"workflow": "job"})
