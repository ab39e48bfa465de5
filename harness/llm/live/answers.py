"""Reading a provider's answer as it goes by: its text, usage, end and error, from bytes in the form of any endpoint.

What cannot be read is passed over: the bytes are the client's to judge, and an answer without a readable end is not
complete.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

from harness.llm.prices import Price
from harness.scenario.models import Api

_CACHE_WRITE_5M, _CACHE_WRITE_1H = 1.25, 2.0
"""What writing into Anthropic's cache costs, in prices of an input token. Reading from one is counted in full."""


class AnswerReader:
    """One answer. Feed it every byte in order, then `end` it."""

    def __init__(self, api: Api, *, stream: bool) -> None:
        readers = {
            "openai.chat": self._chat,
            "openai.responses": self._response,
            "anthropic.messages": self._message,
        }
        self._read = readers[api]
        self._stream = stream
        self._rest = bytearray()
        self._pieces: list[str] = []
        self._input_billed = 0.0
        self.input_tokens: int | None = None  # as the provider counts; None while it has not said
        self.output_tokens: int | None = None
        self.finished = False  # it said why it ended
        self.error = ""  # the provider's word

    @property
    def text(self) -> str:
        """The text and the arguments of tool calls so far, in the order they came."""
        return "".join(self._pieces)

    @property
    def began(self) -> bool:
        """Whether a token has come."""
        return bool(self._pieces)

    @property
    def digest(self) -> str:
        """Of the text; empty without any."""
        return blake2b(self.text.encode("utf-8", "replace"), digest_size=16).hexdigest() if self._pieces else ""

    @property
    def tokens(self) -> int:
        """Output tokens: the provider's count, or one for each piece, which is a lower bound."""
        return len(self._pieces) if self.output_tokens is None else self.output_tokens

    def cost_usd(self, price: Price) -> float | None:
        """What it costs by the provider's own count; None when it ended without one."""
        if self.input_tokens is None or self.output_tokens is None or not self.finished:
            return None
        return (self._input_billed * price.input_usd + self.output_tokens * price.output_usd) / 1e6

    def feed(self, payload: bytes) -> None:
        """The next bytes of the body."""
        self._rest += payload
        if not self._stream or b"\n" not in payload:
            return
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        for line in lines:
            if line.startswith(b"data:"):
                self._take(line[5:])

    def end(self) -> None:
        """The body is whole, or will never be."""
        if not self._stream:
            self._take(bytes(self._rest))
        self._rest.clear()

    def _take(self, payload: bytes) -> None:
        try:
            said = msgspec.json.decode(payload)
            if isinstance(said, dict):
                error = said.get("error")
                if isinstance(error, dict):
                    self._failed(error)
                elif said.get("type") == "error":  # Responses: flat
                    self._failed(said | {"type": "server_error"})
                else:
                    self._read(said)
        except (ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError):
            return  # [DONE], or nothing that we know

    def _failed(self, error: dict[str, Any]) -> None:
        details = error.get("details")
        code = details.get("error_code") if isinstance(details, dict) else None
        self.error = str(code or error.get("code") or error.get("type") or "error")[:200]

    def _add(self, piece: object) -> None:
        if isinstance(piece, str) and piece:
            self._pieces.append(piece)

    def _count(self, input_tokens: int, output_tokens: int, input_billed: float | None = None) -> None:
        self.input_tokens, self.output_tokens = int(input_tokens), int(output_tokens)
        self._input_billed = input_tokens if input_billed is None else input_billed

    def _chat(self, said: dict[str, Any]) -> None:
        if said.get("usage"):
            self._count(said["usage"]["prompt_tokens"], said["usage"]["completion_tokens"])
        for choice in said.get("choices", ()):
            part = choice.get("delta") or choice.get("message") or {}
            self._add(part.get("content"))
            self._add(part.get("refusal"))
            for call in part.get("tool_calls") or ():
                self._add(call["function"].get("arguments"))
            self.finished |= choice.get("finish_reason") is not None

    def _response(self, said: dict[str, Any]) -> None:
        kind = said.get("type", "")
        if kind.endswith(".delta"):
            self._add(said.get("delta"))
            return
        response = said.get("response") if self._stream else said
        if not isinstance(response, dict) or response.get("status") not in ("completed", "incomplete", "failed"):
            return
        if response["status"] == "failed":
            self._failed(response.get("error") or {})
        self.finished = response["status"] != "failed"
        if response.get("usage"):
            self._count(response["usage"]["input_tokens"], response["usage"]["output_tokens"])
        if not self._stream:
            for item in response["output"]:
                self._add(item.get("arguments"))
                for part in item.get("content") or ():
                    self._add(part.get("text"))

    def _message(self, said: dict[str, Any]) -> None:
        kind = said.get("type")
        if kind == "message_start":
            self._bill(said["message"]["usage"])
        elif kind == "content_block_delta":
            delta = said["delta"]
            self._add(delta.get("text") or delta.get("partial_json") or delta.get("thinking"))
        elif kind == "message_delta":
            self._bill(said["usage"])
        elif kind == "message_stop":
            self.finished = True
        elif kind == "message":
            self._bill(said["usage"])
            self.finished = said.get("stop_reason") is not None
            for block in said["content"]:
                self._add(block.get("text") or block.get("thinking"))
                if "input" in block:
                    self._add(msgspec.json.encode(block["input"]).decode())

    def _bill(self, usage: dict[str, Any]) -> None:
        """Anthropic counts what went to and came from its cache apart; a stream says so when it starts."""
        if usage.get("input_tokens") is None:
            self.output_tokens = int(usage["output_tokens"])
            return
        written = usage.get("cache_creation_input_tokens") or 0
        hour = (usage.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") or 0
        read = usage.get("cache_read_input_tokens") or 0
        whole = usage["input_tokens"] + written + read
        extra = (written - hour) * (_CACHE_WRITE_5M - 1) + hour * (_CACHE_WRITE_1H - 1)
        self._count(whole, usage["output_tokens"], max(whole + extra, self._input_billed))
