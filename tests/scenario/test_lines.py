"""Finding the line of a key path in a TOML text."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.scenario.lines import KeyLines
from harness.scenario.mistakes import KeyPath

TEXT = '''\
# a comment with [brackets] = "and quotes
title = "a # inside"   # [not.a.table]
text = """
[fake]
key = 1
""" # ends here
"odd key" = 'c:\\path'
a.b.c = 1

[load]
closed = [ 10, # ten
  25,
  [ { deep = 1 },
    { deep = 2 } ],
]
when = 1979-05-27 07:32:00

[[workflow]]
kind = "one"
inline = { x = 1, y = { "/z" = [ 1, 2 ] } }

  [[workflow.steps]]
  name = "s"
  [[workflow.steps]]
  name = "t"
  [workflow.steps.extra]
  k = 1.5

[[workflow]]
kind = "two"
[[workflow.steps]]
name = "u"
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("text",), 3),
        (("odd key",), 7),
        (("a", "b", "c"), 8),
        (("load",), 10),
        (("load", "closed"), 11),
        (("load", "closed", 0), 11),
        (("load", "closed", 1), 12),
        (("load", "closed", 2, 0, "deep"), 13),
        (("load", "closed", 2, 1, "deep"), 14),
        (("load", "when"), 16),
        (("workflow",), 18),
        (("workflow", 0, "inline", "y", "/z", 1), 20),
        (("workflow", 0, "steps", 1, "name"), 25),
        (("workflow", 0, "steps", 1, "extra", "k"), 27),
        (("workflow", 1), 29),
        (("workflow", 1, "steps", 0, "name"), 32),
    ],
)
def test_the_line_of_a_written_key(path: KeyPath, line: int) -> None:
    """Headers, arrays of tables, dotted and quoted keys, and what is inside inline tables and arrays."""
    assert KeyLines(TEXT).line(path) == line


def test_what_is_not_written_has_the_line_of_its_table() -> None:
    """A missing key points to its nearest table; a missing table to nothing."""
    lines = KeyLines(TEXT)
    assert lines.line(("workflow", 1, "weight")) == 29
    assert lines.line(("fake",)) is None
    assert lines.line(()) is None


def test_windows_line_ends_count_once() -> None:
    """A file saved with CRLF has the same lines."""
    assert KeyLines(TEXT.replace("\n", "\r\n")).line(("workflow", 1)) == 29


leaves = st.one_of(
    st.integers(),
    st.booleans(),
    st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), max_size=15),
    st.lists(st.sampled_from(["]", "[", "{", "}", ",", "#", "=", '"', "'", "\\", "\n"]), max_size=4),
)
tables = st.recursive(
    st.dictionaries(st.text(max_size=5), leaves, max_size=3),
    lambda inner: st.dictionaries(st.text(max_size=5), st.one_of(leaves, inner), max_size=4),
    max_leaves=12,
)


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def written(table: dict[str, Any], path: KeyPath, out: list[str], lines: dict[KeyPath, int]) -> None:
    """Append `table` to `out` line by line, noting on which line each key stands."""
    for key, value in table.items():
        if not isinstance(value, dict):
            lines[(*path, key)] = len(out) + 1
            out.append(f"{quoted(key)} = {json.dumps(value, ensure_ascii=False)} # = [x]")
    for key, value in table.items():
        if isinstance(value, dict):
            out.append("")
            lines[(*path, key)] = len(out) + 1
            out.append("[" + ".".join(quoted(str(part)) for part in (*path, key)) + "]")
            written(value, (*path, key), out, lines)


@given(tables)
def test_every_key_of_any_document_is_found_where_it_was_written(table: dict[str, Any]) -> None:
    """Keys and values full of quotes, brackets and line ends do not shift the count."""
    out: list[str] = []
    expected: dict[KeyPath, int] = {}
    written(table, (), out, expected)
    text = "\n".join(out)
    assert tomllib.loads(text) == table
    lines = KeyLines(text)
    assert {path: lines.line(path) for path in expected} == expected
