"""Agents that ask a model: the prompt is made of the shared context, the finding is taken out of the answer.

What an agent knew when it asked is never used in place of what came back: an answer that was cut, mixed up or made up
has to show, here when its form is wrong, and in the workflow's digest when only its content is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from harness.errors import UsageError
from harness.llm.canary import Canary
from harness.llm.client.client import TOOL, Answer, LlmFailed, Model, Prompt
from harness.llm.script import prose
from harness.observation.observation import LlmUse
from harness.orchestrator.breaker import Breaker, BreakerOpen, Permit
from harness.orchestrator.call import AgentFailed, Call
from harness.scenario.models import Ask, Llm

if TYPE_CHECKING:
    from harness.orchestrator.options import Options

KEY = "none"
"""The simulator takes any; in live mode the relay puts the real one in its place."""
CHARACTERS_A_TOKEN = 4
LLM_FALLBACK = "llm_fallback"
"""Why a workflow is degraded: the second model answered."""


class Report(msgspec.Struct, frozen=True):
    """What an agent wants to be answered."""

    finding: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
    summary: str


_read_report = msgspec.json.Decoder(Report).decode


class Metered:
    """Awaits a coroutine and counts the thread's CPU time inside it, which its waiting is not."""

    __slots__ = ("_awaited", "cpu_s")

    def __init__(self, awaited: Awaitable[Answer]) -> None:
        self._awaited = awaited
        self.cpu_s = 0.0

    def __await__(self) -> Generator[Any, Any, Answer]:
        steps = self._awaited.__await__()
        resume: Callable[[], Any] = lambda: next(steps)  # noqa: E731 - rebound at every turn
        while True:
            began = time.thread_time()
            try:
                waiting_for = resume()
            except StopIteration as done:
                answer: Answer = done.value
                return answer
            finally:
                self.cpu_s += time.thread_time() - began
            try:
                sent = yield waiting_for
            except BaseException as error:  # noqa: BLE001 - a cancellation, or whatever else is thrown in, is handed on
                resume = _thrown(steps, error)
            else:
                resume = _sent(steps, sent)


def _sent(steps: Generator[Any, Any, Answer], value: Any) -> Callable[[], Any]:
    return lambda: steps.send(value)


def _thrown(steps: Generator[Any, Any, Answer], error: BaseException) -> Callable[[], Any]:
    return lambda: steps.throw(error)


class Asking:
    """Asks models for findings, and counts what that took. `clock` gives seconds.

    With a `breaker`, calls go through it: one that raises counts as failed, except where asking again would change
    nothing, because then it is the question that was wrong. What an answer is worth is no matter of the breaker's.
    Whom it keeps off may ask the second model, a few at once: a herd that moved on would take that one down, too.
    """

    def __init__(self, models: dict[str, Model], *, clock: Callable[[], float], breaker: Breaker | None = None) -> None:
        self._models = models
        self._breaker = breaker
        self._clock = clock
        self._in_flight = 0
        self._at_second = 0
        self._calls = 0
        self._sdk_cpu_s = 0.0
        self._ttft_s = 0.0
        self._streamed = 0

    async def finding(self, ask: Ask, call: Call, right: bytes) -> bytes:
        """The finding that a model answered with; `right` is what it is asked for.

        Raises `AgentFailed`, or `BreakerOpen` when no model was asked.
        """
        permit = self._breaker.admit() if self._breaker is not None else None
        if self._breaker is None or permit is not None:
            return await self._asked(ask, call, right, permit)
        second = ask.fallback
        if second is None or self._at_second >= second.at_once:
            raise BreakerOpen(f"step {call.step.name!r}", "llm")
        self._at_second += 1
        try:
            found = await self._asked(replace(ask, model=second.model, api=second.api), call, right, None)
        finally:
            self._at_second -= 1
        call.degraded.add(LLM_FALLBACK)
        return found

    async def _asked(self, ask: Ask, call: Call, right: bytes, permit: Permit | None) -> bytes:
        model, breaker = self._models[ask.api.partition(".")[0]], self._breaker
        asked = model.ask(ask, prompt_of(ask, call, right), call.attempt)
        metered = Metered(asked if breaker is None or permit is None else _behind(breaker, permit, asked, call))
        began = self._clock()
        self._in_flight += 1
        try:
            answer = await metered
            call.tokens += answer.output_tokens
            if answer.ttft_s is not None:
                self._ttft_s += answer.ttft_s
                self._streamed += 1
            return report_of(ask, answer).finding.encode()
        except LlmFailed as failed:
            what = f"{ask.model}: {failed}"
            raise AgentFailed(
                what, error_class=failed.error_class, retry_after_s=failed.retry_after_s, final=failed.final
            ) from failed
        finally:
            self._in_flight -= 1
            self._calls += 1
            self._sdk_cpu_s += metered.cpu_s
            call.llm_wait_s += self._clock() - began

    def use(self) -> LlmUse:
        """What was asked so far, and what it took."""
        return LlmUse(
            in_flight=self._in_flight,
            calls=self._calls,
            sdk_cpu_s=self._sdk_cpu_s,
            process_cpu_s=time.process_time(),
            ttft_s=self._ttft_s,
            streamed=self._streamed,
        )

    async def close(self) -> None:
        """Let go of all connections."""
        for model in self._models.values():
            await model.close()


async def _behind(breaker: Breaker, permit: Permit, asked: Awaitable[Answer], call: Call) -> Answer:
    """The answer; the breaker is told how the call went. A deadline of the step's own ends it as a failure."""
    try:
        answer = await asked
    except asyncio.CancelledError:
        if call.alarm is not None and call.alarm.step_is_late:
            breaker.record(permit, failed=True)
        else:
            breaker.give_back(permit)
        raise
    except LlmFailed as failed:
        breaker.record(permit, failed=not failed.final)
        raise
    except BaseException:
        breaker.give_back(permit)
        raise
    breaker.record(permit, failed=False)
    return answer


def open_asking(
    options: Options, url: str | None, *, clock: Callable[[], float], breaker: Breaker | None = None
) -> Asking | None:
    """What the declared works ask with; None when none asks. Raises UsageError."""
    asks = [work.llm for _, work in options.works if work.llm is not None]
    providers = {api.partition(".")[0] for ask in asks for api in ask.apis}
    if not providers:
        return None
    if url is None:
        raise UsageError("agents ask models, and there is nothing that answers: no llm_url was given")
    retries = (options.llm or Llm()).sdk_retries
    models: dict[str, Model] = {}
    try:
        if "openai" in providers:
            from harness.llm.client.openai_sdk import OpenAIModels

            models["openai"] = OpenAIModels(url, key=KEY, sdk_retries=retries)
        if "anthropic" in providers:
            from harness.llm.client.anthropic_sdk import AnthropicModels

            models["anthropic"] = AnthropicModels(url, key=KEY, sdk_retries=retries)
    except ImportError as error:
        raise UsageError(
            f"agents ask models by SDKs, and {error.name} is missing: pip install 'orchestration-harness[llm]'"
        ) from None
    return Asking(models, clock=clock, breaker=breaker)


def prompt_of(ask: Ask, call: Call, right: bytes) -> Prompt:
    """What the model is told: who it is, what is known so far, and what it is to hand on."""
    request, step = call.request, call.step
    code = right.decode()
    canary = Canary(workflow=request.id, agent=step.agent, step=step.name, finding=code, tokens=ask.output_tokens)
    known = [f"- {need}: {found.decode()}" for need, found in zip(step.needs, call.findings, strict=True)]
    form = f"Call the tool {TOOL}" if ask.tool else "Answer with one JSON object and nothing else"
    system = (
        f"You are the {step.agent} agent of a workflow of several agents. {form}: finding is the reference code of "
        f"your task, copied exactly; summary is about {ask.output_tokens} tokens on the notes."
    )
    lines = [str(canary), f"Reference code: {code}", "Findings so far:", *(known or ["- none"]), "Notes:"]
    head = "\n".join(lines) + "\n"
    room = ask.input_tokens * CHARACTERS_A_TOKEN - len(system) - len(head)
    # Some room beyond what is asked for: a real model counts its tokens differently.
    return Prompt(system, head + prose(room, request.seed), 2 * ask.output_tokens + 100)


def report_of(ask: Ask, answer: Answer) -> Report:
    """The answer, read strictly. Raises `LlmFailed`."""
    if answer.tool != (TOOL if ask.tool else None):
        what = f"the model called the tool {answer.tool!r}" if answer.tool else "the model called no tool"
        raise LlmFailed(f"{what}, and was asked for {TOOL if ask.tool else 'text'!r}", error_class="llm_invalid_answer")
    try:
        return _read_report(answer.text)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise LlmFailed(f"the answer is not what was asked for: {error}", error_class="llm_invalid_answer") from error
