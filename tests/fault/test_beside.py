"""What goes on beside a fault ends with it."""

from __future__ import annotations

import asyncio

import pytest

from harness.fault.beside import beside


def test_it_ends_with_the_body() -> None:
    """And not before."""
    turns = 0

    async def again() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def test() -> int:
        async with beside(again()):
            await asyncio.sleep(0.01)
        return turns

    assert asyncio.run(test()) == turns > 1


def test_a_cancellation_that_was_swallowed_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a library may: the fault would have no end."""
    monkeypatch.setattr("harness.fault.beside.CANCELLED_AGAIN_S", 0.01)
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(10.0)
            except asyncio.CancelledError:
                if swallowed == 2:
                    raise
                swallowed += 1

    async def test() -> None:
        async with asyncio.timeout(20.0), beside(stubborn()):
            await asyncio.sleep(0)

    asyncio.run(test())
    assert swallowed == 2


def test_what_it_raised_is_raised() -> None:
    """At the end of the body."""

    async def broken() -> None:
        raise ValueError("broken")

    async def test() -> None:
        async with beside(broken()):
            await asyncio.sleep(0.01)

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(test())
