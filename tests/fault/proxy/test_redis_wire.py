"""Commands and replies are told apart however reads cut them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.fault.proxy.redis_wire import HEAD_BYTES_MAX, Command, Commands, Replies
from harness.fault.proxy.speech import Strange

WORDS = st.lists(st.binary(max_size=30), min_size=1, max_size=6)
CUTS = st.lists(st.integers(1, 40), min_size=1, max_size=20)


def packed(words: list[bytes]) -> bytes:
    """A command as clients send it."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut into pieces of these sizes, again and again."""
    pieces = []
    while data:
        size = cuts[len(pieces) % len(cuts)]
        pieces.append(data[:size])
        data = data[size:]
    return pieces


@given(st.lists(WORDS, max_size=8), CUTS)
def test_every_command_is_found_where_it_begins(commands: list[list[bytes]], cuts: list[int]) -> None:
    """And nothing of it is held back in the end."""
    reader, unread, at, found = Commands(), b"", 0, []
    for piece in in_pieces(b"".join(map(packed, commands)), cuts):
        marks, end = reader.read(unread + piece)
        found += [at + offset for offset, _ in marks]
        at += end
        unread = (unread + piece)[end:]
    begins = [sum(len(packed(each)) for each in commands[:number]) for number in range(len(commands))]
    assert (found, unread) == (begins, b"")


VALUES = st.recursive(
    st.one_of(
        st.binary(max_size=20).map(lambda data: b"$%d\r\n%b\r\n" % (len(data), data)),
        st.sampled_from(
            [b"+OK\r\n", b"-ERR no\r\n", b":1\r\n", b"$-1\r\n", b"*-1\r\n", b"_\r\n", b"#t\r\n", b",1.5\r\n"]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda each: b"*%d\r\n" % len(each) + b"".join(each)),
        st.lists(inner, max_size=3).map(lambda each: b"~%d\r\n" % len(each) + b"".join(each)),
        st.tuples(inner, inner).map(lambda each: b"%1\r\n" + b"".join(each)),
        st.tuples(inner, inner, inner).map(lambda each: b"|1\r\n" + b"".join(each)),
    ),
    max_leaves=8,
)


@given(st.lists(st.tuples(st.booleans(), VALUES), max_size=8), CUTS)
def test_every_reply_is_found_where_it_ends(replies: list[tuple[bool, bytes]], cuts: list[int]) -> None:
    """A push among them is no reply."""
    whole = [b">2\r\n+invalidate\r\n" + value if is_push else value for is_push, value in replies]
    reader, unread, at, found = Replies(), b"", 0, []
    for piece in in_pieces(b"".join(whole), cuts):
        ends, end = reader.read(unread + piece)
        found += [(at + offset, is_reply) for offset, is_reply in ends]
        at += end
        unread = (unread + piece)[end:]
    stops = [(sum(map(len, whole[: number + 1])), not replies[number][0]) for number in range(len(whole))]
    assert (found, unread) == (stops, b"")


@pytest.mark.parametrize(
    ("sent", "command"),
    [
        (packed([b"set", b"user:1", b"x"]), Command("SET", "user:1")),
        (packed([b"PING"]), Command("PING", None)),
        (packed([b"EVALSHA", b"abc", b"1", b"doc:7", b"v"]), Command("EVALSHA", "doc:7")),
        (packed([b"EVAL", b"return 1", b"0"]), Command("EVAL", None)),
        (packed([b"AUTH", b"sesame"]), Command("AUTH", None)),
        (packed([b"EVAL", b"x" * (HEAD_BYTES_MAX + 1), b"1", b"doc:7"]), Command("EVAL", None)),
        (b"set inline 1\r\n", Command("SET", "inline")),
    ],
)
def test_what_rules_go_by(sent: bytes, command: Command) -> None:
    """Name and first key; never a password."""
    marks, end = Commands().read(sent)
    assert (marks, end) == ([(0, command)], len(sent))


def test_a_large_argument_is_not_held_back() -> None:
    """Once name and key are known the rest passes as it comes."""
    head = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n"
    reader = Commands()
    assert reader.read(head + b"x" * 10) == ([(0, Command("SET", "k"))], len(head) + 10)
    assert reader.read(b"x" * 999_990 + b"\r\n" + packed([b"GET", b"k"])) == (
        [(999_992, Command("GET", "k"))],
        1_000_012,
    )


@pytest.mark.parametrize("strange", [b"\x16\x03\x01\x02", b"*x\r\n", b"*1\r\n+a\r\n", b"*" + b"1" * 50])
def test_other_protocols_are_noticed(strange: bytes) -> None:
    """TLS above all."""
    with pytest.raises(Strange):
        Commands().read(strange)
    with pytest.raises(Strange):
        Replies().read(b"\x16\x03\r\n")
