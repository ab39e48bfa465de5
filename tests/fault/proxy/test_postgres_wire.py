"""COMMITs and the ends of cycles are found however reads cut the bytes."""

from __future__ import annotations

import pytest
from hypothesis import given

from harness.fault.proxy.postgres_wire import SSL_REQUEST, Answers, Met, Questions
from harness.fault.proxy.speech import Strange
from tests.fault.proxy.test_redis_wire import CUTS, in_pieces

STARTUP = (9).to_bytes(4) + (3 << 16).to_bytes(4) + b"\0"


def message(kind: bytes, body: bytes = b"") -> bytes:
    """As either side sends it."""
    return kind + (len(body) + 4).to_bytes(4) + body


def query(text: str) -> bytes:
    """A simple one."""
    return message(b"Q", text.encode() + b"\0")


def met(data: bytes, cuts: list[int], questions: Questions) -> list[Met]:
    """What is found in it, each with its place in the whole; whether it stands alone is left out."""
    unread, at, found = b"", 0, []
    for piece in in_pieces(data, cuts):
        here, end = questions.read(unread + piece)
        found += [each._replace(offset=at + each.offset, is_alone=False) for each in here]
        at += end
        unread = (unread + piece)[end:]
    assert unread == b""
    return found


@pytest.mark.parametrize(
    ("text", "commits"),
    [
        ("COMMIT", True),
        ("commit;", True),
        (" END ; ", True),
        ("BEGIN; INSERT INTO t VALUES (1); COMMIT;", True),
        ("COMMIT; SELECT 1", False),
        ("COMMIT PREPARED 'x'", False),
        ("SELECT 'no COMMIT'", False),
        ("COMMITTED", False),
        ("ROLLBACK", False),
    ],
)
def test_what_a_commit_is(text: str, commits: bool) -> None:
    """The last statement of a simple query."""
    questions = Questions()
    questions.read(STARTUP)
    [found], end = questions.read(query(text))
    assert (found._replace(is_alone=False), end) == (Met(0, True, commits), len(query(text)))


@pytest.mark.parametrize(
    ("text", "is_alone"),
    [("INSERT INTO t VALUES (1)", True), ("COMMIT", False), ("begin", False), (" START TRANSACTION;", False)],
)
def test_what_commits_by_itself(text: str, is_alone: bool) -> None:
    """A statement, unless it begins or ends a transaction, or is within one, as the server said last."""
    questions = Questions()
    questions.read(STARTUP)
    for in_transaction in (False, True):
        questions.in_transaction = in_transaction
        [found], _ = questions.read(query(text))
        assert found.is_alone == (is_alone and not in_transaction)


@given(CUTS)
def test_the_extended_protocol(cuts: list[int]) -> None:
    """Prepared once, carried out by its name; ended by Sync."""
    said = [
        (STARTUP, True, False),
        (message(b"p", b"password\0"), False, False),
        (message(b"P", b"end\0COMMIT\0\0\0"), False, False),
        (message(b"P", b"\0SELECT 1\0\0\0"), False, False),
        (message(b"S"), True, False),
        (message(b"B", b"\0\0" + bytes(6)), False, False),
        (message(b"E", b"\0" + bytes(4)), False, False),
        (message(b"B", b"\0end\0" + bytes(6)), False, False),
        (message(b"E", b"\0" + bytes(4)), False, True),
        (message(b"S"), True, False),
        (message(b"C", b"Send\0"), False, False),
        (message(b"d", bytes(100_000)), False, False),
        (query("x" * 70_000 + "; COMMIT"), True, False),  # too long to be looked into
        (message(b"X"), False, False),
    ]
    begins = [sum(len(each[0]) for each in said[:number]) for number in range(len(said))]
    wanted = [Met(begin, ends, commits) for begin, (_, ends, commits) in zip(begins, said, strict=True)]
    cuts = [*cuts, 50_000]
    assert met(b"".join(each[0] for each in said), cuts, Questions()) == wanted


@given(CUTS)
def test_where_cycles_end(cuts: list[int]) -> None:
    """At ReadyForQuery, after an answer of one byte to the wish for encryption."""
    questions = Questions()
    wish = (8).to_bytes(4) + SSL_REQUEST.to_bytes(4)
    assert [each.ends_cycle for each in met(wish + STARTUP, [5], questions)] == [False, True]
    ready = message(b"Z", b"I")
    parts = [b"N" + message(b"R", bytes(4)) + message(b"S", b"a\0b\0") + ready, message(b"C", b"COMMIT\0") + ready]
    reader, unread, at, found = Answers(questions), b"", 0, []
    for piece in in_pieces(b"".join(parts), cuts):
        ends, end = reader.read(unread + piece)
        found += [at + each for each in ends]
        at += end
        unread = (unread + piece)[end:]
    assert found == [len(parts[0]), len(parts[0]) + len(parts[1])]


def test_encryption_is_noticed() -> None:
    """From then on nothing is understood."""
    with pytest.raises(Strange):
        Questions().read(b"\x16\x03\x01\x02\x00\x01\x00\x01")
    questions = Questions()
    questions.read((8).to_bytes(4) + SSL_REQUEST.to_bytes(4))
    with pytest.raises(Strange):
        Answers(questions).read(b"S")
