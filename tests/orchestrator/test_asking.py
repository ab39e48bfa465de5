"""Agents that ask models: what they tell them, how strictly they read the answer, and what it cost."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from virtual_time import RecordingWatch, simulate

from harness.errors import TargetError, UsageError
from harness.llm.canary import Canary, find_canary
from harness.llm.client.client import Answer, LlmFailed, Prompt
from harness.load.integrity import Integrity
from harness.orchestrator.asking import Asking, Metered, open_asking, prompt_of, report_of
from harness.orchestrator.breaker import BreakerOpen, WindowedBreaker
from harness.orchestrator.call import AgentFailed, Call
from harness.orchestrator.durable import DurableOrchestrator
from harness.orchestrator.embedded import Embedded
from harness.orchestrator.options import read_options
from harness.scenario.models import Ask, FallbackModel, Llm, LlmFault, LlmFaultKind
from harness.scenario.scenario import Breaker
from harness.scenario.shapes import Step
from harness.store.memory import MemoryStore
from harness.store.store import StateStore, Versioned
from harness.target.target import Services, WorkflowRequest
from tests.llm.conftest import Serve, _serving
from tests.orchestrator.test_durable import crash, submitted

ASK = Ask(model="gpt-4.1-mini")
FINDING = "0f" * 16
OPTIONS: dict[str, Any] = {
    "workflow": [{"kind": "job", "shape": "sequential"}],
    "agent": {
        "triage": {"work": {"llm": {"model": "gpt-4.1-mini", "stream": True}}},
        "data": {"attempts": 3, "work": {"llm": {"model": "claude-haiku-4-5", "api": "anthropic.messages"}}},
        "optimization": {"work": {"llm": {"model": "gpt-4.1-mini", "api": "openai.responses", "tool": True}}},
    },
    "orchestrator": {"retry_wait": 0.01},
}
REQUEST = WorkflowRequest("10-1", "job", 7, 30.0)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts providers; all are ended after the test."""
    yield from _serving(tmp_path)


def clock() -> float:
    return asyncio.get_running_loop().time()


def call_of(*findings: bytes, needs: tuple[str, ...] = ()) -> Call:
    call = Call(REQUEST, Step(name="data", agent="data", needs=needs), findings)
    call.attempt = 1
    return call


def test_the_prompt_holds_what_is_known() -> None:
    """The mark that names the call, and every finding by its step's name; about as long as was asked for."""
    ask = Ask(model="m", input_tokens=500, output_tokens=70)
    prompt = prompt_of(ask, call_of(b"aa", b"bb", needs=("one", "two")), FINDING.encode())
    assert find_canary(prompt.user) == Canary(workflow="10-1", agent="data", step="data", finding=FINDING, tokens=70)
    assert "- one: aa\n- two: bb\n" in prompt.user
    assert len(prompt.system) + len(prompt.user) == 4 * 500
    assert prompt.max_tokens >= 70


def test_a_prompt_longer_than_asked_for_keeps_what_is_known() -> None:
    """Only the filler is left out."""
    prompt = prompt_of(Ask(model="m", input_tokens=1), call_of(b"aa", needs=("one",)), FINDING.encode())
    assert "- one: aa\n" in prompt.user


GOOD = f'{{"finding": "{FINDING}", "summary": "s"}}'


def test_the_finding_is_that_of_the_answer() -> None:
    """As text or as the arguments of the tool."""
    assert report_of(ASK, Answer(text=GOOD)).finding == FINDING
    assert report_of(Ask(model="m", tool=True), Answer(text=GOOD, tool="report")).finding == FINDING


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "[]", FINDING, f"```json\n{GOOD}\n```", f"Here: {GOOD}", f"{GOOD} so it is", GOOD + GOOD, GOOD[:-1],
        GOOD.replace(FINDING, FINDING.upper()), GOOD.replace(FINDING, FINDING[1:]), GOOD.replace(FINDING, "g" * 32),
        GOOD.replace(FINDING, FINDING + "\\n"), f'{{"finding": "{FINDING}"}}', '{"summary": "s"}',
        f'{{"finding": "{FINDING}", "summary": 1}}', '{"finding": null, "summary": "s"}', GOOD + "\ud800",
    ],
)  # fmt: skip
def test_anything_else_is_no_answer(text: str) -> None:
    """Nothing is mended or searched for: what is not as it was asked for fails the attempt."""
    with pytest.raises(LlmFailed) as caught:
        report_of(ASK, Answer(text=text))
    assert (caught.value.error_class, caught.value.final) == ("llm_invalid_answer", False)


@pytest.mark.parametrize(("asked", "called"), [(True, None), (True, "launch_rocket"), (False, "report")])
def test_the_tool_has_to_be_the_one(asked: bool, called: str | None) -> None:
    """No tool where one was asked for, another, or one where text was."""
    with pytest.raises(LlmFailed) as caught:
        report_of(Ask(model="m", tool=asked), Answer(text=GOOD, tool=called))
    assert caught.value.error_class == "llm_invalid_answer"


def test_cpu_is_counted_inside_and_waiting_is_not() -> None:
    """A coroutine that burns and waits: the burning counts, and nothing that others do meanwhile."""

    async def busy() -> Answer:
        burn(0.05)
        await asyncio.sleep(0.2)
        burn(0.05)
        return Answer(text="done")

    async def main() -> None:
        metered = Metered(busy())
        other = asyncio.create_task(asyncio.to_thread(burn, 0.01))
        asyncio.get_running_loop().call_later(0.05, burn, 0.3)
        assert (await metered).text == "done"
        await other
        assert 0.1 <= metered.cpu_s < 0.3

    asyncio.run(main())


def burn(cpu_s: float) -> None:
    """Use so much CPU time of this thread."""
    until = time.thread_time() + cpu_s
    while time.thread_time() < until:
        pass


def test_what_is_metered_ends_as_it_would_alone() -> None:
    """Exceptions come out, cancellations go in and may be answered, and one that is dropped is closed."""
    closed = []

    async def failing() -> Answer:
        await asyncio.sleep(0)
        raise LlmFailed("no", error_class="llm_refused")

    async def stubborn() -> Answer:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            return Answer(text="anyway")
        raise AssertionError

    async def waiting() -> Answer:
        try:
            await asyncio.Event().wait()
        finally:
            closed.append(True)
        raise AssertionError

    async def awaited(metered: Metered) -> Answer:
        return await metered

    async def main() -> None:
        with pytest.raises(LlmFailed, match="no"):
            await Metered(failing())
        task = asyncio.create_task(awaited(Metered(stubborn())))
        await asyncio.sleep(0)
        task.cancel()
        assert (await task).text == "anyway"
        cancelled = asyncio.create_task(awaited(Metered(waiting())))
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert closed == [True]
        dropped = Metered(waiting()).__await__()
        next(dropped)
        dropped.close()
        assert closed == [True, True]

    asyncio.run(main())


class Scripted:
    """A `Model` whose every attempt a test decides: an exception is raised, a number is waited for in seconds."""

    def __init__(self, *script: LlmFailed | float | None) -> None:
        self.script = list(script)
        self.asked_at: list[float] = []

    async def ask(self, ask: Ask, prompt: Prompt, attempt: int) -> Answer:
        self.asked_at.append(clock())
        what = self.script.pop(0) if self.script else None
        if isinstance(what, LlmFailed):
            raise what
        if what is not None:
            await asyncio.sleep(what)
        canary = find_canary(prompt.user)
        assert canary is not None
        return Answer(text=f'{{"finding": "{canary.finding}", "summary": "s"}}', output_tokens=60)

    async def close(self) -> None:
        pass


def limited(retry_after_s: float = 0.0, *, final: bool = False) -> LlmFailed:
    return LlmFailed("not now", error_class="llm_rate_limited", retry_after_s=retry_after_s, final=final)


def one_step(model: Scripted, **bounds: Any) -> Embedded:
    """A workflow of one step that asks this model."""
    target = Embedded(
        {
            "workflow": [{"kind": "job", "steps": [{"name": "a", "agent": "data"}]}],
            "agent": {"data": {"attempts": 3, "pool": 500, "work": {"llm": {"model": "gpt-4.1-mini"}}}},
            "orchestrator": {"retry_wait": 0.1, "slots": 500, **bounds},
        },
        clock=clock,
    )
    target._means.asking = Asking({"openai": model}, clock=clock)
    return target


def test_the_provider_says_when_to_come_again() -> None:
    """Not before that, and not all at once."""

    async def main() -> None:
        model = Scripted(limited(4.0), limited())
        result = await one_step(model).run(REQUEST, RecordingWatch())
        assert (result.attempts, result.tokens) == (3, 60)
        first, second, third = model.asked_at
        assert 4.05 <= second - first <= 4.15
        assert 0.1 <= third - second <= 0.3

    simulate(main)


@pytest.mark.parametrize(
    ("failure", "words"), [(limited(60.0), "the deadline is before that"), (limited(final=True), "attempt 1 of 3")]
)
def test_what_cannot_succeed_fails_at_once(failure: LlmFailed, words: str) -> None:
    """Nobody waits for a deadline, and the failure keeps its class."""

    async def main() -> None:
        model = Scripted(failure)
        with pytest.raises(TargetError, match=words) as caught:
            await one_step(model).run(REQUEST, RecordingWatch())
        assert caught.value.error_class == "llm_rate_limited"
        assert clock() == 0.0
        assert len(model.asked_at) == 1

    simulate(main)


def test_retries_of_all_workflows_have_one_budget() -> None:
    """A provider that refuses everybody is asked little more often than there are steps."""

    async def main() -> None:
        model = Scripted(*[limited() for _ in range(1000)])
        target = one_step(model, retry_budget=0.1)
        runs = [target.run(WorkflowRequest(f"10-{n}", "job", n, 30.0), RecordingWatch()) for n in range(200)]
        ended = await asyncio.gather(*runs, return_exceptions=True)
        assert all(isinstance(end, TargetError) for end in ended)
        assert 200 + 20 <= len(model.asked_at) <= 200 + 20 + 10 + 2

    simulate(main)


def test_a_deadline_ends_the_call_and_counts_it() -> None:
    """Nothing is in flight afterwards."""

    async def main() -> None:
        target = one_step(Scripted(100.0))
        with pytest.raises(TargetError) as caught:
            await target.run(WorkflowRequest("10-1", "job", 7, 5.0), RecordingWatch())
        assert "deadline" in caught.value.error_class
        use = target.use().llm
        assert use is not None
        assert (use.in_flight, use.calls) == (0, 1)
        assert clock() == pytest.approx(5.0, abs=0.1)
        await target.stop()

    simulate(main)


def test_without_the_extra_a_sentence_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start, and how to get it."""
    monkeypatch.setitem(sys.modules, "openai", None)
    monkeypatch.delitem(sys.modules, "harness.llm.client.openai_sdk", raising=False)
    with pytest.raises(UsageError, match=r"pip install 'orchestration-harness\[llm\]'"):
        open_asking(read_options(OPTIONS), "http://127.0.0.1:9", clock=time.monotonic)


def test_without_a_provider_there_is_nothing_to_ask() -> None:
    """An orchestrator whose agents ask does not start; one whose agents do not needs none."""
    with pytest.raises(UsageError, match="no llm_url"):
        open_asking(read_options(OPTIONS), None, clock=time.monotonic)
    silent = read_options({"workflow": OPTIONS["workflow"]})
    assert open_asking(silent, None, clock=time.monotonic) is None


async def run_over(url: str, options: dict[str, Any], store: MemoryStore, request: WorkflowRequest) -> tuple[Any, Any]:
    """How a workflow ended, and what the orchestrator told of its calls."""
    target = Embedded(options, store=store)
    await target.start(Services(llm_url=url))
    try:
        [end] = await asyncio.gather(target.run(request, RecordingWatch()), return_exceptions=True)
        return end, target.use().llm
    finally:
        await target.stop()


def right_digest(request: WorkflowRequest) -> str:
    return Integrity(read_options(OPTIONS).workflow).expected(request)


def test_a_workflow_of_all_three_apis_ends_right(serve: Serve) -> None:
    """Its digest is made of findings that went through real HTTP and both SDKs."""
    url = serve().url

    async def main() -> None:
        end, use = await run_over(url, OPTIONS, MemoryStore(clock=time.monotonic), REQUEST)
        assert end.digest == right_digest(REQUEST)
        assert end.tokens == 180
        assert (use.in_flight, use.calls, use.streamed) == (0, 3, 1)
        assert use.sdk_cpu_s > 0
        assert use.ttft_s > 0

    asyncio.run(main())


@pytest.mark.parametrize("fault", ["truncated", "cut_finished", "broken_json", "wrong_tool", "malformed_chunk"])
def test_a_broken_answer_never_enters_the_shared_context(serve: Serve, fault: LlmFaultKind) -> None:
    """The step is tried again and fails; what is stored is what came before it."""
    url = serve(llm=Llm(fault=(LlmFault(fault=fault, agent="data"),))).url

    async def main() -> None:
        store = MemoryStore(clock=time.monotonic)
        end, use = await run_over(url, OPTIONS, store, REQUEST)
        assert isinstance(end, TargetError)
        assert end.error_class.startswith("llm_")
        assert use.calls == 1 + 3
        stored = await store.read(REQUEST.id)
        assert isinstance(stored, Versioned)
        assert "triage" in stored.fields
        assert "data" not in stored.fields

    asyncio.run(main())


def test_garbage_shows_in_the_digest(serve: Serve) -> None:
    """An answer of the right form with a wrong finding: nobody on the way can tell."""
    url = serve(llm=Llm(fault=(LlmFault(fault="garbage", agent="data"),))).url

    async def main() -> None:
        end, _ = await run_over(url, OPTIONS, MemoryStore(clock=time.monotonic), REQUEST)
        assert len(end.digest) == 32
        assert end.digest != right_digest(REQUEST)

    asyncio.run(main())


def test_retries_of_the_sdk_multiply(serve: Serve) -> None:
    """One beneath each of three attempts makes six requests, counted by the SDK."""
    served = serve(llm=Llm(fault=(LlmFault(fault="error", status=503, agent="data", retry_after=0.001),)))

    async def main() -> None:
        end, use = await run_over(
            served.url, OPTIONS | {"llm": {"sdk_retries": 1}}, MemoryStore(clock=time.monotonic), REQUEST
        )
        assert end.error_class == "llm_overloaded"
        assert use.calls == 1 + 3

    asyncio.run(main())
    assert [call.attempt for call in served.calls() if call.agent == "data"] == [0, 1] * 3


def test_a_deadline_hangs_up(serve: Serve) -> None:
    """The provider sees it, and nothing is left here."""
    served = serve(llm=Llm(fault=(LlmFault(fault="stall", agent="triage", delay=1.5),)))

    async def main() -> None:
        asked = WorkflowRequest("10-2", "job", 7, 0.8)
        end, use = await run_over(served.url, OPTIONS, MemoryStore(clock=time.monotonic), asked)
        assert isinstance(end, TargetError)
        assert "deadline" in end.error_class
        assert use.in_flight == 0
        await asyncio.wait_for(asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}), 5.0)

    asyncio.run(main())
    [call] = served.calls_of("10-2", 1)
    assert call.gone


def test_a_step_that_runs_again_after_a_crash_asks_again() -> None:
    """What was not stored is asked for once more, what was is not; and the workflow ends right."""

    async def main() -> None:
        store, models = MemoryStore(clock=clock), [Scripted(None, 50.0), Scripted()]
        options = {
            "workflow": OPTIONS["workflow"],
            "agent": {name: {"work": {"llm": {"model": "gpt-4.1-mini"}}} for name in OPTIONS["agent"]},
            "state": {"store": "redis", "lease": 1.0, "kept": 60.0},
        }

        class OverMemory(DurableOrchestrator):
            async def open(self, services: Services) -> StateStore:
                return store

        async def started(model: Scripted) -> DurableOrchestrator:
            one = OverMemory(read_options(options), clock=clock)
            await one.start(Services(llm_url="http://127.0.0.1:9"))
            assert one._engine._means.asking is not None
            one._engine._means.asking._models["openai"] = model
            return one

        one = await started(models[0])
        run = await submitted(one, REQUEST)
        await asyncio.sleep(2.0)
        await crash(one, run)
        two = await started(models[1])
        two.admit(REQUEST)
        await two.accept(REQUEST)
        result = await two.run(REQUEST, RecordingWatch())
        assert result.digest == right_digest(REQUEST)
        assert [len(model.asked_at) for model in models] == [2, 2]
        await two.stop()

    simulate(main)


def test_whom_the_breaker_keeps_off_asks_the_second_model_a_few_at_once() -> None:
    """Marked as degraded; beyond `at_once` nobody is asked, so that the second is not driven over."""
    second_ask = FallbackModel(model="claude-haiku-4-5", at_once=2)
    ask = Ask(model="gpt-4.1-mini", fallback=second_ask)

    async def attempt(asking: Asking, number: int) -> tuple[object, set[str]]:
        call = Call(WorkflowRequest(f"10-{number}", "job", 7, 30.0), Step(name="a", agent="data"))
        try:
            return await asking.finding(ask, call, FINDING.encode()), call.degraded
        except (BreakerOpen, AgentFailed) as failure:
            return type(failure), call.degraded

    async def main() -> None:
        breaker = WindowedBreaker(Breaker(failures=0.5, calls_min=2, window=4, open=60.0), clock=clock)
        failing = LlmFailed("away", error_class="llm_server_error")
        first, second = Scripted(failing, failing), Scripted(5.0, 5.0, LlmFailed("no", error_class="llm_server_error"))
        asking = Asking({"openai": first, "anthropic": second}, clock=clock, breaker=breaker)
        assert [await attempt(asking, number) for number in range(2)] == [(AgentFailed, set())] * 2
        right = (FINDING.encode(), {"llm_fallback"})
        assert await asyncio.gather(*(attempt(asking, number) for number in range(2, 5))) == [
            right,
            right,
            (BreakerOpen, set()),
        ]
        assert await attempt(asking, 5) == (AgentFailed, set()), "a second that fails is no answer"
        assert await attempt(asking, 6) == right, "and has its place again"
        assert (len(first.asked_at), len(second.asked_at)) == (2, 4)

    simulate(main)


def test_a_workflow_that_rests_on_the_second_model_is_degraded() -> None:
    """Once, however many of its steps did."""

    async def main() -> None:
        target = Embedded(
            {
                "workflow": [{"kind": "job", "shape": "sequential"}],
                "agent": {
                    name: {"work": {"llm": {"model": "gpt-4.1-mini", "fallback": {"model": "claude-haiku-4-5"}}}}
                    for name in ("triage", "data", "optimization")
                },
            },
            clock=clock,
        )
        breaker = WindowedBreaker(Breaker(failures=0.5, calls_min=1, window=4, open=60.0), clock=clock)
        permit = breaker.admit()
        assert permit is not None
        breaker.record(permit, failed=True)
        target._means.asking = Asking({"openai": Scripted(), "anthropic": Scripted()}, clock=clock, breaker=breaker)
        result = await target.run(REQUEST, RecordingWatch())
        assert result.degraded == ("llm_fallback",)

    simulate(main)
