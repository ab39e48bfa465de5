"""Files and the time of day, taken from a real target's process and given back."""

from __future__ import annotations

import asyncio
import resource
import socket

import psutil
import pytest

from harness.fault.surroundings import ClockJumped, FewFiles
from harness.run.faulting import LevelBench
from harness.run.hosting import Hosting

WAIT_S = 20.0


def client_of(hosting: Hosting) -> socket.socket:
    """A new client that has said something that the host will answer, when it has let it in."""
    [path] = {
        each.laddr
        for each in psutil.Process(hosting.host.pid).net_connections("unix")
        if str(each.laddr).endswith("host.sock")
    }
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(WAIT_S)
    client.connect(path)
    client.sendall(b"nonsense\n")
    return client


def test_a_target_without_files_lets_nobody_in_until_it_has_some(bench: LevelBench, hosting: Hosting) -> None:
    """What it has stays open, and its limit is as it was before."""

    async def test() -> None:
        pid = hosting.host.pid
        limit = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        with client_of(hosting) as early:
            assert await asyncio.to_thread(early.recv, 1000)
            async with FewFiles().inject(bench) as bite:
                assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (3, limit[1])
                with client_of(hosting) as late:
                    assert await bite.count() == 1
                    files = psutil.Process(pid).num_fds()
                    late.setblocking(False)
                    with pytest.raises(BlockingIOError):
                        late.recv(1000)
                    assert psutil.Process(pid).num_fds() == files
                    resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)
                    late.settimeout(WAIT_S)
                    assert await asyncio.to_thread(late.recv, 1000)
            assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == limit

    asyncio.run(test())


def test_a_limit_that_leaves_room_bites_nobody(bench: LevelBench) -> None:
    """Then the fault has not shown anything, and says so."""

    async def test() -> None:
        async with FewFiles(most=10_000).inject(bench) as bite:
            assert await bite.count() == 0

    asyncio.run(test())


def test_a_clock_that_jumped_is_seen_by_the_target(bench: LevelBench) -> None:
    """It is told so again and again, and the last time that it is right."""

    async def test() -> None:
        for way in ("forward", "backward"):
            async with ClockJumped(by=3600.0, way=way).inject(bench) as bite:  # type: ignore[arg-type]
                assert await bite.count() >= 1

    asyncio.run(test())
