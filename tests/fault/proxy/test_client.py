"""Our own client of the API, as faults use it, and leases."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable

import pytest

from harness.fault.fault import FaultFailed, Toxics
from harness.fault.proxied import Lossy, Slow, Truncated, _Proxied
from harness.fault.proxy.client import ProxyControl
from tests.fault.proxy.proxying import Proxying, received, rest


def control(proxy: Proxying) -> ProxyControl:
    """Of `echo`."""
    return ProxyControl(proxy.api, "echo")


async def until(wanted: Callable[[], Awaitable[bool]]) -> None:
    """Until it is so."""
    async with asyncio.timeout(10.0):
        while True:
            if await wanted():
                return
            await asyncio.sleep(0.01)


def test_a_toxic_is_added_counted_and_removed(proxy: Proxying) -> None:
    """In the words of the seam."""

    async def test() -> None:
        toxics: Toxics = control(proxy)
        await toxics.add({"type": "limit_data", "name": "a/b c", "attributes": {"bytes": 1}, "lease_s": 30.0})
        assert await toxics.fired("a/b c") == 0
        with proxy.connect() as client:
            client.sendall(b"xyz")
            assert rest(client) == b"x"
        assert await toxics.fired("a/b c") == 1
        assert await toxics.remove("a/b c") == 1
        assert proxy.told("GET", "/proxies/echo/toxics") == []
        assert await toxics.remove("a/b c") == 1  # leaving may come twice
        assert await toxics.remove("never was") == 0

    asyncio.run(test())


def test_disabled_and_enabled(proxy: Proxying) -> None:
    """What was cut is counted; with a lease it comes back by itself."""

    async def test() -> None:
        toxics = control(proxy)
        with proxy.connect() as client:
            client.sendall(b"x")
            received(client, 1)
            await toxics.enable(enabled=False, lease_s=0.1)
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        with pytest.raises(ConnectionRefusedError):
            proxy.connect()
        assert await toxics.fired("down") == 1
        await until(lambda: enabled(proxy))
        await toxics.enable(enabled=False)
        await toxics.enable(enabled=True)
        proxy.connect().close()

    async def enabled(proxy: Proxying) -> bool:
        return bool(proxy.told("GET", "/proxies/echo")["enabled"])

    asyncio.run(test())


def test_a_lease_that_nobody_renews_ends(proxy: Proxying) -> None:
    """The toxic lifts by itself, what it held goes on, and the journal says so."""

    async def test() -> None:
        toxics = control(proxy)
        with proxy.connect() as client:
            await toxics.add({"type": "latency", "name": "long", "attributes": {"latency": 60_000}, "lease_s": 0.2})
            client.sendall(b"held")
            assert received(client, 4) == b"held"
        assert proxy.firings()[-1].what == "its lease ended"
        assert await toxics.remove("long") == 1
        await toxics.add({"type": "latency", "name": "short", "lease_s": 0.05})
        await until(lambda: gone(proxy))
        with pytest.raises(FaultFailed, match=r"refused to POST .*: toxic not found"):
            await toxics.fired("short")

    async def gone(proxy: Proxying) -> bool:
        return proxy.told("GET", "/proxies/echo/toxics") == []

    asyncio.run(test())


def test_who_asks_renews_the_lease(proxy: Proxying) -> None:
    """As the run does all the time while a fault acts."""

    async def test() -> None:
        toxics = control(proxy)
        await toxics.add({"type": "latency", "name": "kept", "lease_s": 1.0})
        ends = time.monotonic() + 1.5
        while time.monotonic() < ends:
            assert await toxics.fired("kept") == 0
            await asyncio.sleep(0.05)
        assert await toxics.remove("kept") == 0

    asyncio.run(test())


def test_what_goes_wrong_is_said() -> None:
    """That nobody is there, and what was refused."""

    async def test() -> None:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            api = f"http://127.0.0.1:{gone.getsockname()[1]}"
        with pytest.raises(FaultFailed, match="the fault proxy in front of redis cannot be asked"):
            await ProxyControl(api, "redis").fired("x")

    asyncio.run(test())


def test_a_mistake_is_said(proxy: Proxying) -> None:
    """In the proxy's words."""

    async def test() -> None:
        with pytest.raises(FaultFailed, match="did you mean 'latency'"):
            await control(proxy).add({"type": "latncy"})
        with pytest.raises(FaultFailed, match="proxy not found"):
            await ProxyControl(proxy.api, "none").enable(enabled=False)

    asyncio.run(test())


FAULTS = {
    "slow": Slow(service="redis", latency=0.05, jitter=0.01, way="both"),
    "lossy": Lossy(service="redis", share=0.01),
    "truncated": Truncated(service="redis", after=10),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_the_way_are_toxics_that_it_knows(proxy: Proxying, fault: str) -> None:
    """Each is added as it says it."""

    async def test() -> None:
        declared: _Proxied = FAULTS[fault]
        for toxic in declared.toxics():
            await control(proxy).add({**toxic, "lease_s": 5.0})

    asyncio.run(test())
