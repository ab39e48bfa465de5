"""`calls.jsonl`: one line for every attempt to call a model, written by the provider that was asked.

The provider is a process of its own: the simulator, a replay, or a relay in front of the real API. What it knows is
the truth of a call: what was asked, what was put in its way, what was sent and when.
"""

from __future__ import annotations

import msgspec

FILE = "calls.jsonl"


class LlmCall(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """One attempt. `at` is s from t0; all other times are s from `at`, when its request had been read whole.

    `workflow`, `agent` and `step` come from the canary in the prompt and are empty without one. `attempt` is what
    the SDK says of it: 0 is the first. `*_planned_s` are what was drawn and injected, scaled; None where nothing
    was. A call is *answered* when its status is 200 and it was `complete`.
    """

    level: str
    at: float
    api: str  # scenario.models.Api
    model: str
    workflow: str = ""
    agent: str = ""
    step: str = ""
    attempt: int = 0
    stream: bool = False
    status: int = 200  # 0: the connection was reset before any
    error: str = ""  # the provider's word for why it was refused
    fault: str = ""  # what was injected
    retry_after_s: float | None = None  # as said in the answer's header
    queued_s: float = 0.0  # waited here for its turn, before it went to the real API
    ttft_planned_s: float | None = None
    ended_planned_s: float | None = None
    ttft_s: float | None = None  # the first token was handed over; None when none was
    ended_s: float = 0.0  # the last byte was handed over, or the client had gone
    complete: bool = False  # all of the answer was handed over, as it should be: nothing cut, nothing broken
    gone: bool = False  # the client hung up before the end
    input_tokens: int = 0
    output_tokens: int = 0  # handed over
    unread_tokens: int = 0  # generated (and paid) for a client that had gone, or behind a cut
    cost_usd: float | None = 0.0  # None: the model has no price that is known
    digest: str = ""  # hex of blake2b-128 of the answer's text as it was handed over
