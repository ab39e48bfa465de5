"""What surrounds Anthropic's messages: errors, headers, the words for mistakes in a request."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from harness.llm.dialect.openai_wire import request_id_of
from harness.llm.wire import Allowance, Bucket, Headers, RefusalKind, Refused

# kind -> status, type
_ERRORS: Mapping[RefusalKind, tuple[int, str]] = {
    "bad_request": (400, "invalid_request_error"),
    "authentication": (401, "authentication_error"),
    "unknown_model": (404, "not_found_error"),
    "unknown_path": (404, "not_found_error"),
    "wrong_method": (405, "invalid_request_error"),
    "too_slow": (408, "timeout_error"),
    "too_large": (413, "request_too_large"),
    "context_overflow": (400, "invalid_request_error"),
    "rate_limit": (429, "rate_limit_error"),
    "slow_down": (429, "rate_limit_error"),
    "spend_limit": (429, "rate_limit_error"),
    "overloaded": (529, "overloaded_error"),
    "server_error": (500, "api_error"),
    "timeout": (504, "timeout_error"),
}
_TYPE_OF_STATUS = {408: "timeout_error", 409: "conflict_error", 429: "rate_limit_error", 529: "overloaded_error"}
_ORGANIZATION = b"00000000-0000-4000-8000-000000000000"
_RESET_S_MAX = 1e9  # a date has four digits for its year


class AnthropicVoice:
    """Mistakes in a request as Anthropic words them."""

    def path(self, at: str, part: str | int) -> str:
        """`messages.0.role`."""
        return f"{at}.{part}" if at else str(part)

    def missing(self, param: str) -> Refused:
        """It must be given."""
        return Refused("bad_request", f"{param}: Field required", param=param)

    def wrong(self, param: str, expected: str, got: str) -> Refused:
        """It is of another kind, or out of range."""
        return Refused("bad_request", f"{param}: Input should be {expected}, not {got}", param=param)

    def unreadable(self, why: str) -> Refused:
        """The body is not JSON, or not an object."""
        return Refused("bad_request", f"The request body is not valid JSON: {why}")


VOICE = AnthropicVoice()


class AnthropicWire:
    """The half of a `Dialect` that knows no messages. `now` is s since 1970: a bucket is full at a time of day."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now

    def refusal(self, refused: Refused, request_id: str = "") -> tuple[int, Headers, bytes]:
        """Status, headers and body of an error."""
        status = refused.status or _ERRORS[refused.kind][0]
        headers: Headers = []
        if refused.retry_after_s is not None and refused.kind != "spend_limit":
            headers.append((b"retry-after", b"%d" % math.ceil(refused.retry_after_s)))
        if refused.kind == "wrong_method":
            headers.append((b"allow", b"POST"))
        if refused.kind != "spend_limit":  # of which only the missing retry-after says that it is final
            again = status in (408, 409, 429) or status >= 500
            headers.append((b"x-should-retry", b"true" if again else b"false"))
        return status, headers, msgspec.json.encode(_error_of(refused, request_id))

    def error_event(self, refused: Refused, request_id: str = "") -> bytes:
        """`event: error`."""
        return event("error", _error_of(refused, request_id))

    def headers(self, allowances: Mapping[Bucket, Allowance], request_id: str, spent_ms: float) -> Headers:
        """What answers carry beside their content. The time it took is not among it."""
        headers: Headers = [
            (b"request-id", request_id_of(request_id)),
            (b"anthropic-organization-id", _ORGANIZATION),
        ]
        for bucket, allowance in allowances.items():
            name = b"anthropic-ratelimit-" + bucket.encode()
            full_at = datetime.fromtimestamp(math.ceil(self._now() + min(allowance.reset_s, _RESET_S_MAX)), UTC)
            headers.append((name + b"-limit", b"%d" % allowance.limit))
            headers.append((name + b"-remaining", b"%d" % max(0.0, allowance.remaining)))
            headers.append((name + b"-reset", full_at.strftime("%Y-%m-%dT%H:%M:%SZ").encode()))
        return headers


def event(kind: str, fields: Mapping[str, Any]) -> bytes:
    """A named server-sent event."""
    return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(fields) + b"\n\n"


def _error_of(refused: Refused, request_id: str) -> dict[str, Any]:
    kind = _ERRORS[refused.kind][1]
    if refused.kind in ("server_error", "timeout") and refused.status is not None:
        kind = _TYPE_OF_STATUS.get(refused.status, kind)
    error: dict[str, Any] = {"type": kind, "message": refused.message}
    if refused.kind == "spend_limit":
        error["details"] = {"error_code": "enforced_spend_limit_reached"}
    return {"type": "error", "error": error, "request_id": request_id_of(request_id).decode() if request_id else None}
