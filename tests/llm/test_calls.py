"""The log of calls: appended in batches, whole lines only, and a disk that refuses is told of."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.llm.calls import CallLog
from harness.observation.llm import LlmCall

FULL = Path("/dev/full")


def call(number: int) -> LlmCall:
    return LlmCall(level="10", at=number / 10, api="openai.chat", model="gpt-4o", workflow=f"10-{number}")


def lines(path: Path) -> list[LlmCall]:
    return [msgspec.json.decode(line, type=LlmCall) for line in path.read_bytes().splitlines()]


async def written(path: Path, count: int) -> None:
    """Until the log has so many lines, for ten seconds at most."""
    deadline = time.monotonic() + 10.0
    while len(lines(path)) < count:
        assert time.monotonic() < deadline
        await asyncio.to_thread(time.sleep, 0.01)


def with_log(path: Path | None, use: Callable[[CallLog], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        await use(CallLog(path))

    asyncio.run(run())


def test_lines_come_in_batches_without_being_asked_for(tmp_path: Path) -> None:
    """Nothing is written at once, everything soon."""
    path = tmp_path / "calls.jsonl"

    async def use(log: CallLog) -> None:
        for number in range(100):
            log.add(call(number))
        assert path.read_bytes() == b""
        await written(path, 100)
        assert lines(path) == [call(number) for number in range(100)]
        log.add(call(100))
        await written(path, 101)
        log.close()

    with_log(path, use)


def test_closing_writes_what_is_held(tmp_path: Path) -> None:
    """Behind what an earlier level wrote."""
    path = tmp_path / "calls.jsonl"

    async def use(log: CallLog) -> None:
        log.add(call(0 if not path.stat().st_size else 1))
        log.close()

    for _ in range(2):
        with_log(path, use)
    assert lines(path) == [call(0), call(1)]


def test_without_a_path_nothing_is_written() -> None:
    """`harness llm` without --log."""

    async def use(log: CallLog) -> None:
        log.add(call(0))
        log.close()
        assert not log.failed.done()

    with_log(None, use)


@pytest.mark.skipif(not FULL.exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_is_told_of_once() -> None:
    """Later calls change nothing, and nothing is raised where the call is answered."""

    async def use(log: CallLog) -> None:
        log.add(call(0))
        log.flush()
        assert log.failed.result() == "/dev/full cannot be written: No space left on device"
        log.add(call(1))
        log.close()

    with_log(FULL, use)


def test_a_path_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    """At once: nothing that was answered may go unrecorded."""

    async def use(log: CallLog) -> None:
        raise AssertionError(f"{log} cannot be")

    with pytest.raises(FileNotFoundError):
        with_log(tmp_path / "nowhere" / "calls.jsonl", use)
