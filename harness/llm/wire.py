"""What a provider's parts hand to each other: a request read, an answer written, a refusal; and the seams.

    bytes ─ Dialect.read ─▶ Asked ─ Source.respond ─▶ Scripted ─ Dialect.whole / stream ─▶ bytes ─▶ Reply
                 └── raises Refused ──▶ Dialect.refusal ─▶ status, headers, body

A `Dialect` is one endpoint's form (openai_chat, openai_responses, anthropic_messages) and knows no time and no chance.
A `Source` decides what is answered and when: the simulator, a replay, a relay to the real API.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from harness.errors import HarnessError
from harness.llm.canary import Canary
from harness.scenario.models import Api

Headers = list[tuple[bytes, bytes]]

RefusalKind = Literal[
    "bad_request",  # 400: not JSON, a field missing or of a wrong kind; `param` names it
    "authentication",  # 401: no key
    "unknown_model",  # 404
    "unknown_path",  # 404
    "wrong_method",  # 405
    "too_slow",  # 408: the request did not come within our time
    "too_large",  # 413
    "context_overflow",  # 400
    "rate_limit",  # 429, retry-after; `bucket` names which one
    "slow_down",  # 429: demand grows too fast
    "spend_limit",  # 429 and final: no retry-after
    "overloaded",  # 503 openai, 529 anthropic
    "server_error",  # 500, or `status`
    "timeout",  # 504, or 408/409 by `status`
]

Bucket = Literal["requests", "tokens", "input-tokens", "output-tokens"]


class Allowance(msgspec.Struct, frozen=True):
    """One bucket of a quota as headers tell of it: `remaining` of `limit` a minute, full again after `reset_s`."""

    limit: float
    remaining: float
    reset_s: float


class Refused(HarnessError):
    """A request that gets an error instead of an answer. The dialect gives it the provider's shape."""

    def __init__(
        self,
        kind: RefusalKind,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
        bucket: Bucket = "requests",
    ) -> None:
        super().__init__(message)
        self.kind: RefusalKind = kind
        self.message = message
        self.param = param
        self.code = code  # openai's word, where the kind alone does not tell it
        self.status = status
        self.retry_after_s = retry_after_s
        self.bucket: Bucket = bucket


class Tool(msgspec.Struct, frozen=True):
    """A tool that the caller offers; `parameters` is the JSON Schema of its arguments."""

    name: str
    parameters: Mapping[str, Any]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request, whatever the endpoint."""

    api: Api
    model: str
    text: str  # everything that is prompt, joined: instructions and turns
    input_tokens: int  # an estimate: a token is about four characters
    max_tokens: int | None = None
    stream: bool = False
    include_usage: bool = False  # chat only: usage as a last piece of the stream
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"  # auto | none | required | the name of one
    answer_schema: Mapping[str, Any] | None = None  # the answer is to be JSON of this schema; {}: any JSON object
    after_tool: bool = False  # the last turn is a tool's result
    canary: Canary | None = None
    attempt: int = 0  # x-stainless-retry-count
    digest: str = ""  # hex of blake2b-128 of the body without what differs between two sendings: for chance, replay


class ToolCall(msgspec.Struct, frozen=True):
    """The answer calls a tool. `arguments` is JSON text, as the model wrote it: it may be broken."""

    id: str  # without the provider's prefix
    name: str
    arguments: str


class Scripted(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, whatever the endpoint. `pieces` joined are the text, or the tool call's arguments; a token each."""

    id: str  # unique, without the provider's prefix
    created: int  # s since 1970, as the wire has it
    pieces: tuple[str, ...]
    tool: ToolCall | None = None
    finish: Literal["stop", "length", "tool"] = "stop"
    input_tokens: int = 0

    @property
    def text(self) -> str:
        """The whole answer."""
        return "".join(self.pieces)


class Stream(msgspec.Struct, frozen=True):
    """A streamed answer, ready to be sent: server-sent events as bytes, in this order."""

    opening: bytes  # with the first chunk, not before it
    chunks: tuple[bytes, ...]  # as many as were asked for
    finishing: bytes  # carries the finish reason
    closing: bytes  # what ends a whole stream: [DONE], message_stop, response.completed


class Dialect(Protocol):
    """The form of one endpoint."""

    api: Api
    path: str

    def read(self, body: bytes, headers: Mapping[bytes, bytes]) -> Asked:
        """The request. Raises `Refused` (authentication, bad_request), never anything else."""

    def whole(self, asked: Asked, scripted: Scripted) -> bytes:
        """The body of an answer that is not streamed."""

    def stream(self, asked: Asked, scripted: Scripted, chunks: Sequence[str]) -> Stream:
        """The events of a streamed answer whose text comes in these chunks."""

    def refusal(self, refused: Refused, request_id: str = "") -> tuple[int, Headers, bytes]:
        """Status, headers (retry-after, x-should-retry; not the content type) and body of an error."""

    def error_event(self, refused: Refused, request_id: str = "") -> bytes:
        """An error in the middle of a stream that had begun with status 200."""

    def headers(self, allowances: Mapping[Bucket, Allowance], request_id: str, spent_ms: float) -> Headers:
        """What the provider's answers carry beside their content: request id, rate limits, time it took."""


class Reply(Protocol):
    """Where an answer goes: one HTTP response."""

    @property
    def gone_at(self) -> float | None:
        """When the client hung up, on the event loop's clock; None while it is there."""

    async def start(self, status: int, headers: Headers, *, stream: bool) -> None:
        """Send the head. `stream`: server-sent events; otherwise JSON in one piece."""

    async def send(self, payload: bytes) -> None:
        """Send a part of the body. Nothing is sent to a client that has gone."""

    async def finish(self, payload: bytes = b"") -> None:
        """Send the last part of the body: it is whole."""

    def reset(self) -> None:
        """Tear the connection down, at any time, head or no head."""


class Source(Protocol):
    """What stands behind the endpoints: it answers, records the call, and never lets an exception out."""

    async def respond(self, dialect: Dialect, asked: Asked, body: bytes, reply: Reply) -> None:
        """Answer to the end."""
