"""Server-sent events (the WHATWG HTML standard, section 9.2.6), as far as a load test needs them: names and data.

Lines may end in LF or CRLF; a lone CR, which nobody sends, is not taken for a line's end. `id` and `retry` are for
clients that reconnect, which this one must not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class ServerEvent(NamedTuple):
    """One event; `name` is "message" where the stream gives none."""

    name: str
    data: str


def events_of(lines: Iterable[bytes]) -> Iterator[ServerEvent]:
    """The events in a stream's lines. One that the stream's end cuts short is dropped, as the standard says."""
    name, data = "", list[str]()
    for raw in lines:
        line = raw.rstrip(b"\r\n").decode("utf-8", errors="replace").removeprefix("\ufeff")
        if not line:
            if data:
                yield ServerEvent(name or "message", "\n".join(data))
            name, data = "", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
