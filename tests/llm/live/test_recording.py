"""The file that calls are recorded to: complete, without secrets, gone on with, and read with clear errors."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.llm.live.recording import Recorded, Recorder, read_recording
from harness.llm.wire import Headers

KEY = "sk-real-key-0123456789"
CALL = Recorded(path="/v1/messages", digest="d", api="anthropic.messages", model="m", stream=True)
HEADERS: Headers = [
    (b"X-Request-Id", b"req_1"), (b"anthropic-ratelimit-tokens-limit", b"9"), (b"retry-after", b"3"),
    (b"openai-organization", b"org-secret"), (b"anthropic-organization-id", b"org-secret"),
    (b"set-cookie", b"org-secret"),
]  # fmt: skip


def event(text: str) -> bytes:
    """A piece of an answer."""
    return b'data: {"type":"content_block_delta","delta":{"text":"%b"}}\n\n' % text.encode()


def recorded(path: Path, chunks: list[tuple[float, bytes]], body: bytes = b"{}") -> list[Recorded]:
    """One call, written and read."""
    recorder = Recorder(path, [KEY])
    recorder.add(CALL, body, HEADERS, chunks)
    recorder.close()
    return read_recording(path)


def test_a_call_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Its chunks byte by byte, even where one ends within a character; and when they came."""
    chunks = [(0.1, event("ü")), (0.25, "€".encode()[:2]), (0.3, "€".encode()[2:])]
    [call] = recorded(tmp_path / "r", chunks)
    assert call.payloads() == chunks
    assert (call.path, call.digest, call.model, call.stream) == (CALL.path, CALL.digest, CALL.model, True)


def test_only_headers_that_are_the_answers_own_are_kept(tmp_path: Path) -> None:
    """Nothing that names an account."""
    [call] = recorded(tmp_path / "r", [])
    assert {name for name, _ in call.headers} == {"x-request-id", "anthropic-ratelimit-tokens-limit", "retry-after"}
    assert b"org-secret" not in (tmp_path / "r").read_bytes()


@given(cuts=st.lists(st.integers(0, 90), max_size=6))
def test_a_secret_in_the_answer_is_removed_across_chunks(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    """Whatever the network made of it."""
    path = tmp_path_factory.mktemp("r") / "r"
    answer = event(f"the key is {KEY} yes")
    places = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]
    [call] = recorded(path, [(0.1, answer[a:b]) for a, b in pairwise(places)])
    assert b"".join(payload for _, payload in call.payloads()) == event("the key is [removed] yes")
    assert KEY[:10].encode() not in path.read_bytes()
    assert not call.omitted


def test_a_secret_spelled_over_events_leaves_the_answer_out(tmp_path: Path) -> None:
    """It could not be cut out, so nothing of it is kept, and the line says so."""
    path = tmp_path / "r"
    [call] = recorded(path, [(0.1, event("it is sk-re")), (0.2, event("al-key-0123456789"))])
    assert call.omitted
    assert call.chunks == ()
    assert b"al-key" not in path.read_bytes()


def test_secrets_in_the_request_are_removed_however_they_are_written(tmp_path: Path) -> None:
    """Escaped, nested, behind a name that says so."""
    path = tmp_path / "r"
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in KEY)
    body = f'{{"a":"{escaped}","b":{{"api_key":"short"}},"c":"Bearer abcdefghijkl","d":"kept"}}'.encode()
    [call] = recorded(path, [], body)
    assert bytes(call.body) == b'{"a":"[removed]","b":{"api_key":"[removed]"},"c":"[removed]","d":"kept"}'


def test_a_recording_is_gone_on_with(tmp_path: Path) -> None:
    """The next level's calls come behind those of the one before; a torn line goes."""
    path = tmp_path / "r"
    recorded(path, [(0.1, b"one")])
    with path.open("ab") as out:
        out.write(b'{"type":"call","path":"/v1/mess')
    assert len(read_recording(path)) == 1
    assert [call.payloads() for call in recorded(path, [(0.2, b"two")])] == [[(0.1, b"one")], [(0.2, b"two")]]
    assert path.stat().st_mode & 0o077 == 0


def test_a_file_that_is_something_else_is_never_touched(tmp_path: Path) -> None:
    """A typing error must not destroy a scenario."""
    path = tmp_path / "scenario.toml"
    path.write_text("name = 1\nhalf a line")
    with pytest.raises(UsageError, match="is not a recording"):
        Recorder(path, [])
    assert path.read_text() == "name = 1\nhalf a line"


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """With the path."""
    with pytest.raises(UsageError, match="cannot be recorded to: No such file"):
        Recorder(tmp_path / "no" / "r", [])


def test_what_is_wrong_with_a_recording_is_told(tmp_path: Path) -> None:
    """Not there, not ours, empty, or damaged in a line that is named."""
    path = tmp_path / "r"
    with pytest.raises(UsageError, match="cannot be read"):
        read_recording(path)
    path.write_text('{"type":"call"}\n')
    with pytest.raises(UsageError, match="is not a recording"):
        read_recording(path)
    path.unlink()
    Recorder(path, []).close()
    with pytest.raises(UsageError, match="holds no call yet"):
        read_recording(path)
    recorded(path, [(0.1, b"one")])
    content = path.read_text()
    for damage in ('{"type":"call"}\n', "junk\n", content.splitlines()[1].replace('"one"', '["%"]') + "\n"):
        path.write_text(content + damage)
        with pytest.raises(UsageError, match=f"{path}:3: is damaged"):
            read_recording(path)
