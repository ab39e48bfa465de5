"""Server-sent events are read as the standard says."""

from __future__ import annotations

import pytest

from harness.load.sse import ServerEvent, events_of


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [("message", "a")]),
        (b"event: done\ndata: a\ndata:b\n\n", [("done", "a\nb")]),
        (b"event: done\r\ndata: a\r\n\r\n", [("done", "a")]),
        (b": comment\n\ndata: a\n\n", [("message", "a")]),
        (b"event: none\n\ndata: a\n\n", [("message", "a")]),
        (b"id: 1\nretry: 5\ndata\n\n", [("message", "")]),
        (b"data:  two spaces\n\n", [("message", " two spaces")]),
        (b"data: cut short\n", []),
        ("\ufeffdata: ü\n\n".encode(), [("message", "ü")]),
    ],
)
def test_reads(stream: bytes, events: list[tuple[str, str]]) -> None:
    """Names, several data lines, comments, both line ends, and a stream that ends in the middle."""
    assert list(events_of(stream.splitlines(keepends=True))) == [ServerEvent(*event) for event in events]
