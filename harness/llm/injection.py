"""Which of a scenario's faults concerns a request, and what it does to an answer.

| fault | streamed | whole |
|---|---|---|
| slow_first_token | `delay` more before the first piece | `delay` more before the answer |
| stall | stands still for `delay` half-way | as slow_first_token |
| truncated | ends half-way, cleanly, no finish reason | half of the body, cleanly |
| cut_finished | half of the text, then a finish reason that says it is whole | the same in one piece |
| dropped | connection reset half-way | connection reset after half of the body |
| refused_connection | connection reset instead of an answer | the same |
| malformed_chunk | half-way a piece that is not JSON, then the rest | a body that is not JSON |
| error_event | half-way an error event, and the end | as error with status 500 |
| wrong_tool | a call of a tool that nobody offered | the same |
| broken_json | text, or a tool's arguments, that are not JSON | the same |
| context_overflow | 400 | 400 |
| garbage | another `finding` of the same form | the same |
| error | `status` | `status` |
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import msgspec

from harness.llm.draws import uniforms
from harness.llm.models import undated
from harness.llm.wire import Asked, RefusalKind, Refused, Scripted, ToolCall
from harness.scenario.models import LlmFault

_FINDING = re.compile(r'("finding":\s*")([0-9a-f]{32})(")')
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


def altered(fault: LlmFault, scripted: Scripted) -> Scripted:
    """The answer that a model gives which is wrong, rather than badly delivered."""
    match fault.fault:
        case "cut_finished":
            return _with_pieces(scripted, scripted.pieces[: max(1, len(scripted.pieces) // 2)])
        case "broken_json":
            return _with_pieces(scripted, (*scripted.pieces[:-1], scripted.pieces[-1].rstrip('"}'), ","))
        case "wrong_tool":
            if scripted.tool is None:
                called = ToolCall(id=scripted.id[:24], name="launch_rocket", arguments=scripted.text)
                return msgspec.structs.replace(scripted, tool=called, finish="tool")
            return msgspec.structs.replace(
                scripted, tool=msgspec.structs.replace(scripted.tool, name=f"{scripted.tool.name}_now")
            )
        case "garbage":
            text = _FINDING.sub(lambda found: found[1] + _other(found[2]) + found[3], scripted.text)
            sizes = [len(piece) for piece in scripted.pieces]
            at, pieces = 0, []
            for size in sizes:
                pieces.append(text[at : at + size])
                at += size
            return _with_pieces(scripted, tuple(pieces))
        case _:
            return scripted


def _other(finding: str) -> str:
    return blake2b(finding.encode(), digest_size=16).hexdigest()


def _with_pieces(scripted: Scripted, pieces: tuple[str, ...]) -> Scripted:
    """Both forms of the text: a whole answer is written from the call's arguments, a streamed one from the pieces."""
    tool = scripted.tool
    if tool is not None:
        tool = msgspec.structs.replace(tool, arguments="".join(pieces))
    return msgspec.structs.replace(scripted, pieces=pieces, tool=tool)
