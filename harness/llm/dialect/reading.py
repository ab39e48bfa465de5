"""Reading a request's JSON as strictly as a provider does: what is wrong is refused, with the place in its message.

Both providers' dialects read through `Fields`; a `Voice` puts the mistakes into the provider's words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol

import msgspec

from harness.llm.wire import Refused, Tool

UNREAD_PART_TOKENS = 765
"""What an image or a file counts for. It is not looked at: this is an image of 1024 x 1024 at OpenAI."""

COUNT_MAX = 10**9
"""Larger counts are read as this one: no model comes near it, and arithmetic with it stays in machine integers."""

NAME_MAX = 512
"""Characters of a model's or tool's name, or of an id: more than any has, and little enough to be said again."""

ITEMS_MAX = 100_000
"""Of one array: as many messages as Anthropic takes. Reading them is a tenth of a second of one process."""

_BRACKETS_MAX = 2_000_000  # a byte or two of an empty object is sixty in memory, so a giant body is counted first
_ECHO_DEPTH = 64  # deeper than an answer wraps what it echoes: what can be written here can be written there
_TURN_TOKENS = 4  # around each turn, for its role and the marks between turns
_TRACING = ("metadata", "user", "safety_identifier", "prompt_cache_key")  # says who asks, not what
_KINDS = ((bool, "a boolean"), (str, "a string"), (int, "an integer"), (float, "a decimal number"), (dict, "an object"))


class Voice(Protocol):
    """How one provider speaks of a mistake in a body. `param` is the path to it."""

    def path(self, at: str, part: str | int) -> str:
        """The path to a part of what is at `at`."""

    def missing(self, param: str) -> Refused:
        """It must be given."""

    def wrong(self, param: str, expected: str, got: str) -> Refused:
        """It is of another kind, or out of range."""

    def unreadable(self, why: str) -> Refused:
        """The body is not JSON, or not an object."""


def called(value: object) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "null"
    return next((word for kind, word in _KINDS if isinstance(value, kind)), "an array")


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object of a request, and where it stands. Every reader raises `Refused` for what is not as it should be.

    Null is as good as left out, as it is to the providers.
    """

    values: Mapping[str, Any]
    at: str
    voice: Voice

    def place(self, name: str) -> str:
        """The path to one of its fields."""
        return self.voice.path(self.at, name)

    def wrong(self, name: str, expected: str) -> Refused:
        """The mistake that this field is not what was expected."""
        return self.voice.wrong(self.place(name), expected, called(self.values.get(name)))

    def needed(self, name: str) -> Any:
        """A field that must be there."""
        value = self.values.get(name)
        if value is None:
            raise self.voice.missing(self.place(name))
        return value

    def string(self, name: str) -> str | None:
        """Text, if given."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong(name, "a string")
        return value

    def name(self, name: str) -> str:
        """Text that must be there and say something."""
        self.needed(name)
        value = self.string(name)
        if not value:
            raise self.voice.wrong(self.place(name), "a string with minimum length 1", "an empty string")
        if len(value) > NAME_MAX:
            expected = f"a string with maximum length {NAME_MAX}"
            raise self.voice.wrong(self.place(name), expected, f"one with length {len(value)}")
        return value

    def count(self, name: str) -> int | None:
        """An integer of at least 1, if given."""
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(name, "an integer")
        if value < 1:
            raise self.voice.wrong(self.place(name), "an integer >= 1", str(max(value, -COUNT_MAX)))
        return min(value, COUNT_MAX)

    def flag(self, name: str) -> bool:
        """A truth; not given is false."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(name, "a boolean")
        return bool(value)

    def check_number(self, name: str, low: float, high: float) -> None:
        """A number between the two, if given. Its value changes nothing in a scripted answer."""
        value = self.values.get(name)
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(name, "a number")
        if not low <= value <= high:
            raise self.voice.wrong(self.place(name), f"a number between {low:g} and {high:g}", f"{value:.6g}")

    def child(self, name: str) -> Fields | None:
        """An object, if given."""
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return Fields(value, self.place(name), self.voice)

    def children(self, name: str) -> Iterator[Fields]:
        """The objects of an array, none if it is not given."""
        values = self.values.get(name)
        if values is None:
            return
        if not isinstance(values, list):
            raise self.wrong(name, "an array")
        at = self.place(name)
        if len(values) > ITEMS_MAX:
            raise self.voice.wrong(at, f"an array with maximum length {ITEMS_MAX}", f"one with length {len(values)}")
        for index, value in enumerate(values):
            place = self.voice.path(at, index)
            if not isinstance(value, dict):
                raise self.voice.wrong(place, "an object", called(value))
            yield Fields(value, place, self.voice)

    def one_of(self, name: str, known: tuple[str, ...]) -> str:
        """One of some words; it must be there."""
        value = self.name(name)
        if value not in known:
            raise self.voice.wrong(self.place(name), "one of " + ", ".join(map(repr, known)), repr(value[:100]))
        return value

    def content(self, name: str, prompt: Prompt, *, nullable: bool = False) -> None:
        """Text or typed parts, added to the prompt. A part of any kind counts; those with text are read."""
        value = self.values.get(name)
        if value is None and nullable:
            return
        if isinstance(self.needed(name), str):
            prompt.add(value)
            return
        for part in self.children(name):
            text = part.values.get("text")
            if isinstance(text, str):
                prompt.add(text)
            elif text is None:
                prompt.unread += 1
            else:
                raise part.wrong("text", "a string")


class Prompt:
    """All that is prompt, collected turn by turn."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.turns = 0
        self.unread = 0  # parts that are not text

    def add(self, text: str | None) -> None:
        """Another part, unless there is nothing in it."""
        if text:
            self.parts.append(text)

    def text(self) -> str:
        """The parts, a line each at least."""
        return "\n".join(self.parts)

    def tokens(self, text: str, tools: tuple[Tool, ...]) -> int:
        """An estimate for the whole input: about four characters each, and what surrounds them."""
        offered = len(msgspec.json.encode([(tool.name, tool.parameters) for tool in tools])) if tools else 0
        return (len(text) + offered + 3) // 4 + _TURN_TOKENS * self.turns + UNREAD_PART_TOKENS * self.unread


def read_body(body: bytes, voice: Voice) -> tuple[Fields, str]:
    """The body as an object, and its digest. Raises `Refused` when it is none, or one that nobody could mean."""
    if len(body) > _BRACKETS_MAX and body.count(b"{") + body.count(b"[") > _BRACKETS_MAX:
        raise voice.unreadable("it holds too many objects and arrays")
    try:
        values = msgspec.json.decode(body)
        if not isinstance(values, dict):
            raise voice.unreadable(f"the body must be a JSON object, not {called(values)}")
        asked: object = {name: value for name, value in values.items() if name not in _TRACING}
        for _ in range(_ECHO_DEPTH):
            asked = [asked]
        canonical = msgspec.json.encode(asked, order="sorted")
    except RecursionError:
        raise voice.unreadable("it is nested too deeply") from None
    except (ValueError, OverflowError) as error:  # msgspec's errors and those of UTF-8 are ValueErrors
        raise voice.unreadable(str(error)) from None
    return Fields(values, "", voice), blake2b(canonical, digest_size=16).hexdigest()


def attempt_of(headers: Mapping[bytes, bytes]) -> int:
    """Which attempt the SDK says this is, from 0; 0 too when it says nothing that can be read."""
    said = headers.get(b"x-stainless-retry-count", b"")
    return int(said) if said.isdigit() and len(said) < 7 else 0


def bearer(headers: Mapping[bytes, bytes]) -> bytes:
    """The key in `Authorization: Bearer …`; empty when there is none."""
    scheme, _, key = headers.get(b"authorization", b"").strip().partition(b" ")
    return key.strip() if scheme.lower() == b"bearer" else b""
