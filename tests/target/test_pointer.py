"""JSON pointers follow RFC 6901."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import UsageError
from harness.target.pointer import MISSING, Pointer

# The document and the answers of RFC 6901, section 5.
DOCUMENT = {"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, 'k"l': 6, " ": 7, "m~n": 8}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", DOCUMENT), ("/foo", ["bar", "baz"]), ("/foo/0", "bar"), ("/", 0), ("/a~1b", 1), ("/c%d", 2), ("/e^f", 3),
        ("/g|h", 4), ("/i\\j", 5), ('/k"l', 6), ("/ ", 7), ("/m~0n", 8),
    ],
)  # fmt: skip
def test_finds_what_the_rfc_says(text: str, found: Any) -> None:
    """Every example of the RFC."""
    assert Pointer(text).find(DOCUMENT) == found


@pytest.mark.parametrize("text", ["/nope", "/foo/2", "/foo/-", "/foo/01", "/foo/x", "/foo/0/deeper", "/a~1b/0"])
def test_finds_nothing_where_nothing_is(text: str) -> None:
    """A key too many, an index too far or with a leading zero: nothing, not an error."""
    assert Pointer(text).find(DOCUMENT) is MISSING


def test_tells_null_from_nothing() -> None:
    """A null that is there is found."""
    assert Pointer("/a").find({"a": None}) is None


def test_unescapes_in_the_order_of_the_rfc() -> None:
    """'~01' is the key '~1', not '/'."""
    assert Pointer("/~01").find({"~1": "right", "/": "wrong"}) == "right"


@pytest.mark.parametrize("text", ["foo", "/a~2", "/a~"])
def test_refuses_what_is_no_pointer(text: str) -> None:
    """The message shows the text and the right form."""
    with pytest.raises(UsageError, match="not a JSON pointer: write '/key/0'"):
        Pointer(text)
