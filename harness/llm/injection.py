"""Which of a scenario's faults concerns a request, and what it does to an answer.

| fault | streamed | whole |
|---|---|---|
| slow_first_token | `delay` more before the first piece | `delay` more before the answer |
| stall | stands still for `delay` half-way | as slow_first_token |
| truncated | ends half-way, cleanly, no finish reason | half of the body, cleanly |
| cut_finished | half of the text, or less, then a finish reason that says it is whole | the same in one piece |
| dropped | connection reset half-way | connection reset after half of the body |
| refused_connection | connection reset instead of an answer | the same |
| malformed_chunk | half-way a piece that is not JSON, then the rest | a body that is not JSON |
| error_event | half-way an error event, and the end | as error with status 500 |
| wrong_tool | a call of a tool that nobody offered | the same |
| broken_json | text, or a tool's arguments, that are not JSON | the same |
| context_overflow | 400 | 400 |
| garbage | another `finding` of the same form, if the answer holds one | the same |
| error | `status` | `status` |
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate, count, pairwise

import msgspec

from harness.llm.draws import uniforms
from harness.llm.models import undated
from harness.llm.wire import Asked, RefusalKind, Refused, Scripted, ToolCall
from harness.scenario.models import LlmFault

_FINDING = re.compile(r'("finding"\s*:\s*")([0-9a-f]{32})(")')
TOOL_NAME_CHARACTERS = 56  # of at most 64, so that a number has room
_KINDS: dict[int, RefusalKind] = {
    408: "timeout", 409: "timeout", 429: "rate_limit", 503: "overloaded", 504: "timeout", 529: "overloaded",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults of one provider. `began` is when the measure phase began, on the clock that `now` is read from."""

    faults: Sequence[LlmFault]
    seed: int

    def concerning(self, asked: Asked, now: float, began: float | None) -> LlmFault | None:
        """The first that concerns this request, if any."""
        for index, fault in enumerate(self.faults):
            if _addressed(fault, asked) and _in_time(fault, now, began) and self._drawn(fault, index, asked):
                return fault
        return None

    def _drawn(self, fault: LlmFault, index: int, asked: Asked) -> bool:
        if fault.first is not None and asked.attempt >= fault.first:
            return False
        if fault.share >= 1.0:
            return True
        canary = asked.canary
        named = (canary.workflow, canary.agent, canary.step) if canary else (asked.digest, "", "")
        return uniforms("llm fault", self.seed, index, *named, asked.attempt)[0] < fault.share


def _addressed(fault: LlmFault, asked: Asked) -> bool:
    if fault.agent is not None and (asked.canary is None or asked.canary.agent != fault.agent):
        return False
    return fault.model is None or fault.model in (asked.model, undated(asked.model))


def _in_time(fault: LlmFault, now: float, began: float | None) -> bool:
    if fault.at is None:
        return True
    if began is None or (since := now - began - fault.at) < 0:
        return False
    if fault.every is not None:
        since %= fault.every
    return fault.lasts is None or since < fault.lasts


def refusal_of(fault: LlmFault, *, stream: bool) -> Refused | None:
    """The error that is sent instead of an answer, if the fault is one."""
    if fault.fault == "context_overflow":
        return Refused("context_overflow", "prompt is too long: this request exceeds the context window.")
    if fault.fault == "error" or (fault.fault == "error_event" and not stream):
        status = fault.status if fault.fault == "error" else 500
        kind = _KINDS.get(status, "server_error")
        words = "Rate limit reached." if status == 429 else "The server had an error while processing your request."
        return Refused(kind, words, status=status, retry_after_s=fault.retry_after)
    return None


def altered(fault: LlmFault, scripted: Scripted, offered: Iterable[str] = ()) -> Scripted:
    """The answer that a model gives which is wrong, rather than badly delivered. `offered` are the tools' names."""
    match fault.fault:
        case "cut_finished":
            cut = _with_pieces(scripted, _half(scripted.pieces))
            return msgspec.structs.replace(cut, finish="stop" if scripted.tool is None else "tool")
        case "broken_json":
            # No JSON ends with a comma, whatever stands before it.
            return _with_pieces(scripted, (*scripted.pieces[:-1], scripted.pieces[-1].rstrip('"}') + ","))
        case "wrong_tool":
            tool = scripted.tool or ToolCall(id=scripted.id[:24], name="launch_rocket", arguments=scripted.text)
            wrong = msgspec.structs.replace(tool, name=_unoffered(tool.name, {tool.name, *offered}))
            return msgspec.structs.replace(scripted, tool=wrong, finish="tool")
        case "garbage":
            text = _FINDING.sub(lambda found: found[1] + _other(found[2]) + found[3], scripted.text)
            ends = list(accumulate(map(len, scripted.pieces), initial=0))
            return _with_pieces(scripted, tuple([text[start:end] for start, end in pairwise(ends)]))
        case _:
            return scripted


def _half(pieces: tuple[str, ...]) -> tuple[str, ...]:
    """Less than all of it: of a single piece half of its characters."""
    return pieces[: len(pieces) // 2] if len(pieces) > 1 else (pieces[0][: len(pieces[0]) // 2],)


def _unoffered(name: str, offered: Set[str]) -> str:
    """A name like this one, that providers would take for a tool's, but that is not among these."""
    names = (f"{name[:TOOL_NAME_CHARACTERS]}_{number}" for number in count(2))
    return next(each for each in names if each not in offered)


def _other(finding: str) -> str:
    return blake2b(finding.encode(), digest_size=16).hexdigest()


def _with_pieces(scripted: Scripted, pieces: tuple[str, ...]) -> Scripted:
    """Both forms of the text: a whole answer is written from the call's arguments, a streamed one from the pieces."""
    tool = scripted.tool
    if tool is not None:
        tool = msgspec.structs.replace(tool, arguments="".join(pieces))
    return msgspec.structs.replace(scripted, pieces=pieces, tool=tool)
