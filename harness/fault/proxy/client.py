"""Our own client of a proxy's API: `Toxics` of one proxy, as faults ask for it."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from harness.fault.fault import FaultFailed

ANSWER_S = 5.0


class ProxyControl:
    """One proxy of the process whose API is at `api`. A connection a request, so that any loop may ask.

    A lease is renewed by asking how often the toxic fired: whoever asks is alive. Raises FaultFailed, also when the
    lease of a toxic had ended before.
    """

    def __init__(self, api: str, name: str) -> None:
        address = urlsplit(api)
        self._host, self._port = address.hostname or "", address.port or 0
        self._name = name
        self._path = f"/proxies/{quote(name, safe='')}"
        self._leases: dict[str, tuple[float, float]] = {}  # toxic -> its lease, and when a third of it is over

    async def add(self, toxic: dict[str, Any]) -> None:
        """Add a toxic, or renew it."""
        told = await self._ask("POST", f"{self._path}/toxics", toxic)
        self._began(told["name"], told.get("lease_s", 0.0))

    async def remove(self, name: str) -> int:
        """Remove it, if it is there still; how often it acted, also when its lease ended before."""
        self._leases.pop(name, None)
        await self._ask("DELETE", self._of(name), missing_ok=True)
        return await self._fired(name)

    async def fired(self, name: str) -> int:
        """How often it acted so far; `down`: how many connections were cut because the proxy was disabled."""
        lease_s, renew_at = self._leases.get(name, (0.0, 0.0))
        if lease_s and time.monotonic() >= renew_at:
            told = await self._ask("POST", self._of(name), {"lease_s": lease_s})
            self._began(name, told["lease_s"])
        return await self._fired(name)

    async def enable(self, *, enabled: bool, lease_s: float = 0.0) -> None:
        """Whether connections are taken; with a lease it takes them again after so long."""
        await self._ask("POST", self._path, {"enabled": enabled, "lease_s": lease_s})

    async def move(self, upstream: str) -> None:
        """In front of another server; connections are cut."""
        await self._ask("POST", self._path, {"upstream": upstream})

    async def overhead(self) -> dict[str, Any]:
        """What `GET /overhead` answers: n, p50_us, p99_us."""
        told: dict[str, Any] = await self._ask("GET", "/overhead")
        return told

    def _of(self, toxic: str) -> str:
        return f"{self._path}/toxics/{quote(toxic, safe='')}"

    def _began(self, name: str, lease_s: float) -> None:
        if lease_s:
            self._leases[name] = lease_s, time.monotonic() + lease_s / 3.0

    async def _fired(self, name: str) -> int:
        found: dict[str, int] = await self._ask("GET", f"{self._path}/fired")
        return found.get(name, 0)

    async def _ask(self, method: str, path: str, body: object = None, *, missing_ok: bool = False) -> Any:
        payload = b"" if body is None else msgspec.json.encode(body)
        head = f"{method} {path} HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\nContent-Length: {len(payload)}\r\n\r\n"
        asked = f"the fault proxy in front of {self._name} "
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await self._exchange(head.encode("latin-1") + payload)
        except TimeoutError:
            raise FaultFailed(f"{asked}did not answer within {ANSWER_S:g} s") from None
        except OSError as error:
            raise FaultFailed(f"{asked}cannot be asked: {error.strerror or error}") from None
        top, _, content = answer.partition(b"\r\n\r\n")
        words = top.split(b" ", 2)
        if len(words) < 2 or not words[1].isdigit():
            raise FaultFailed(f"{asked}ended within an answer")
        status = int(words[1])
        if status == 404 and missing_ok:
            return None
        told = msgspec.json.decode(content) if content else None
        if status >= 400:
            raise FaultFailed(f"{asked}refused to {method} {path}: {told['error'] if told else status}")
        return told

    async def _exchange(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(request)
            return await reader.read(-1)
        finally:
            writer.close()
