"""What OpenAI's endpoints have in common: errors, headers, the words for mistakes in a request."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from harness.llm.dialect.reading import Fields, bearer
from harness.llm.wire import Allowance, Bucket, Headers, RefusalKind, Refused, Tool

# kind -> status, type, code. Statuses and codes as the API's documentation has them; a `Refused` may say otherwise.
_ERRORS: Mapping[RefusalKind, tuple[int, str, str | None]] = {
    "bad_request": (400, "invalid_request_error", None),
    "authentication": (401, "invalid_request_error", None),
    "unknown_model": (404, "invalid_request_error", "model_not_found"),
    "unknown_path": (404, "invalid_request_error", None),
    "wrong_method": (405, "invalid_request_error", "method_not_supported"),
    "too_slow": (408, "invalid_request_error", "request_timeout"),
    "too_large": (413, "invalid_request_error", "request_too_large"),
    "context_overflow": (400, "invalid_request_error", "context_length_exceeded"),
    "rate_limit": (429, "", "rate_limit_exceeded"),  # its type is the bucket
    "slow_down": (429, "rate_limit_error", "slow_down"),
    "spend_limit": (429, "insufficient_quota", "organization_spend_limit_exceeded"),
    "overloaded": (503, "service_unavailable_error", "server_is_overloaded"),
    "server_error": (500, "server_error", None),
    "timeout": (504, "server_error", "timeout"),
}


class OpenAIVoice:
    """Mistakes in a request as OpenAI words them."""

    def path(self, at: str, part: str | int) -> str:
        """`messages[0].role`."""
        if isinstance(part, int):
            return f"{at}[{part}]"
        return f"{at}.{part}" if at else part

    def missing(self, param: str) -> Refused:
        """It must be given."""
        return Refused(
            "bad_request", f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
        )

    def wrong(self, param: str, expected: str, got: str) -> Refused:
        """It is of another kind, or out of range."""
        message = f"Invalid value for '{param}': expected {expected}, but got {got} instead."
        return Refused("bad_request", message, param=param, code="invalid_value")

    def unreadable(self, why: str) -> Refused:
        """The body is not JSON, or not an object."""
        return Refused("bad_request", f"We could not parse the JSON body of your request: {why}.")


VOICE = OpenAIVoice()


class OpenAIWire:
    """The half of a `Dialect` that all of OpenAI's endpoints share."""

    def refusal(self, refused: Refused, request_id: str = "") -> tuple[int, Headers, bytes]:
        """Status, headers and body of an error. The id is in a header only, here."""
        status = refused.status or _ERRORS[refused.kind][0]
        headers: Headers = []
        if refused.retry_after_s is not None and refused.kind != "spend_limit":
            # The whole seconds are rounded up, so that neither form promises what is not there yet.
            headers.append((b"retry-after", b"%d" % math.ceil(refused.retry_after_s)))
            headers.append((b"retry-after-ms", b"%d" % math.ceil(refused.retry_after_s * 1000)))
        if refused.kind == "wrong_method":
            headers.append((b"allow", b"POST"))
        return status, headers, msgspec.json.encode({"error": error_of(refused)})

    def headers(self, allowances: Mapping[Bucket, Allowance], request_id: str, spent_ms: float) -> Headers:
        """What answers carry beside their content."""
        headers: Headers = [
            (b"x-request-id", request_id_of(request_id)),
            (b"openai-version", b"2020-10-01"),
            (b"openai-organization", b"harness"),
            (b"openai-processing-ms", b"%d" % spent_ms),
        ]
        for bucket, allowance in allowances.items():
            name = bucket.encode()
            headers.append((b"x-ratelimit-limit-" + name, b"%d" % allowance.limit))
            headers.append((b"x-ratelimit-remaining-" + name, b"%d" % max(0.0, allowance.remaining)))
            headers.append((b"x-ratelimit-reset-" + name, span(allowance.reset_s).encode()))
        return headers


def error_of(refused: Refused) -> dict[str, Any]:
    """The object under `error`."""
    _, kind, code = _ERRORS[refused.kind]
    if refused.kind == "rate_limit":
        kind = refused.bucket
    elif refused.kind in ("server_error", "timeout") and refused.status is not None and refused.status < 500:
        kind, code = "invalid_request_error", {408: "request_timeout", 409: "conflict"}.get(refused.status)
    return {"message": refused.message, "type": kind, "param": refused.param, "code": refused.code or code}


def request_id_of(request_id: str) -> bytes:
    """The id with its prefix."""
    return (request_id if request_id.startswith("req_") else f"req_{request_id}").encode("ascii", "replace")


def span(duration_s: float) -> str:
    """A duration as OpenAI's reset headers have it: `20ms`, `1.5s`, `6m0s`, `1h2m3.5s`."""
    milliseconds = max(0, math.ceil(duration_s * 1000))
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + seconds


def check_key(headers: Mapping[bytes, bytes]) -> None:
    """Any key will do, none will not. Raises `Refused`."""
    if not bearer(headers):
        raise Refused(
            "authentication",
            "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer "
            "auth (i.e. Authorization: Bearer YOUR_KEY).",
        )


def read_choice(body: Fields, tools: Sequence[Tool], nested: str | None) -> str:
    """`tool_choice`; the name of a forced function stands in its object `nested`, or directly in it."""
    given = body.values.get("tool_choice")
    if given is None:
        return "auto"
    if not body.values.get("tools"):
        raise Refused(
            "bad_request",
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
            param="tool_choice",
        )
    if isinstance(given, str):
        return body.one_of("tool_choice", ("none", "auto", "required"))
    choice = body.child("tool_choice")
    if choice is None or choice.name("type") not in ("function", "allowed_tools"):
        return "auto"  # a kind of tool that we do not play
    if choice.values["type"] == "allowed_tools":
        allowed = (choice.child("allowed_tools") if nested else choice) or choice
        return allowed.one_of("mode", ("auto", "required"))
    named = choice.child(nested) if nested else choice
    if named is None:
        raise VOICE.missing(choice.place(nested or ""))
    name = named.name("name")
    if name not in {tool.name for tool in tools}:
        raise Refused(
            "bad_request",
            f"Invalid value for 'tool_choice': there is no function '{name[:100]}' in 'tools'.",
            param="tool_choice",
        )
    return name


def read_format(format_: Fields | None, nested: str | None) -> Mapping[str, Any] | None:
    """The schema that the answer is to follow: {} for any object, None for text."""
    if format_ is None:
        return None
    kind = format_.one_of("type", ("text", "json_object", "json_schema"))
    if kind != "json_schema":
        return {} if kind == "json_object" else None
    named = format_.child(nested) if nested else format_
    if named is None:
        raise VOICE.missing(format_.place(nested or ""))
    named.name("name")
    schema = named.child("schema")
    return schema.values if schema is not None else {}
