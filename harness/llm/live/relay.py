"""Live mode: requests go on to the provider's real API, byte by byte, with the real key and under the caps.

The keys are in this process alone; whatever key a client sends is thrown away. An answer goes back as it comes. A
call that the provider's own usage does not price (cut off, or a chat stream without `include_usage`) counts as the
most it could have cost. What is not reached is a 502 of ours; a connection that breaks is broken on our side, too.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from harness.errors import UsageError
from harness.llm.config import BudgetSpent, ProviderConfig
from harness.llm.live.budget import Budget
from harness.llm.live.passing import Passing
from harness.llm.live.recording import Recorder
from harness.llm.wire import Asked, Dialect, Refused, Reply

if TYPE_CHECKING:
    import httpx2

    from harness.llm.calls import CallLog

APIS: Mapping[str, str] = {"openai": "https://api.openai.com", "anthropic": "https://api.anthropic.com"}
KEYS: Mapping[str, str] = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}
ANTHROPIC_VERSION = "2023-06-01"
CONNECT_S, READ_S = 10.0, 600.0  # the latter is the SDKs' own default for a whole answer
GONE_AFTER_S = 0.05
"""A client that hung up is noticed within this time."""

_NOT_PASSED = {
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer",
    b"transfer-encoding", b"upgrade", b"content-length", b"content-encoding", b"content-type", b"date", b"server",
}  # fmt: skip


class Relay:
    """A `Source` that asks the real APIs. `keys` is the environment: of it the two keys are read.

    Raises UsageError for missing caps, keys or packages, or a file that cannot be recorded to. `clock` is s from t0.
    """

    def __init__(
        self,
        config: ProviderConfig,
        log: CallLog,
        clock: Callable[[], float],
        say: Callable[[BudgetSpent], None],
        keys: Mapping[str, str],
    ) -> None:
        if config.caps is None:
            raise UsageError("live mode needs a cap on cost and one on concurrency")
        self._keys = {provider: keys[name].strip() for provider, name in KEYS.items() if keys.get(name, "").strip()}
        needed = [KEYS[provider] for provider in config.providers if provider not in self._keys]
        if needed or not self._keys:
            names = " and ".join(needed) if needed else " or ".join(KEYS.values())
            raise UsageError(f"live mode asks the real APIs: set {names} in the environment")
        strange = [KEYS[provider] for provider, key in self._keys.items() if not (key.isascii() and key.isprintable())]
        if strange:
            raise UsageError(f"{' and '.join(strange)} holds characters that cannot be sent in a header")
        self._level = config.level
        self._log = log
        self._clock = clock
        self._budget = Budget(config.caps, config.spent_usd, config.prices, say)
        self._turn = asyncio.Semaphore(config.caps.concurrency)
        self._urls = {provider: config.upstream.get(provider, url).rstrip("/") for provider, url in APIS.items()}
        self._clients = {provider: _client(url) for provider, url in self._urls.items()}
        self._recorder = Recorder(Path(config.record), self._keys.values()) if config.record else None

    async def respond(self, dialect: Dialect, asked: Asked, body: bytes, reply: Reply) -> None:
        """Pass it on and pass the answer back. A client that hangs up ends the call at the provider, too."""
        call = Passing(asked, self._clock)
        passing = asyncio.create_task(self._pass(call, dialect, body, reply))
        try:
            while not passing.done() and reply.gone_at is None:
                await asyncio.wait({passing}, timeout=GONE_AFTER_S)
        finally:
            # A client whose connection we reset ourselves did not leave.
            call.gone = reply.gone_at is not None and not call.whole and call.reset_s is None
            passing.cancel()  # which does nothing to one that is done
            [error] = await asyncio.gather(passing, return_exceptions=True)
            self._log.add(call.line(self._level))
        if isinstance(error, Exception):
            sys.stderr.write(f"relay: {type(error).__name__}: {error}\n")
            reply.reset()
        elif self._recorder is not None and call.from_provider and not call.gone:
            try:
                self._recorder.add(call.recorded(dialect.path), body, call.headers, call.chunks)
            except OSError as broken:
                if not self._log.failed.done():
                    self._log.failed.set_result(f"the recording cannot be written: {broken.strerror}")

    async def _pass(self, call: Passing, dialect: Dialect, body: bytes, reply: Reply) -> None:
        try:
            provider = call.asked.api.partition(".")[0]
            if provider not in self._keys:
                raise Refused("authentication", f"{KEYS[provider]} is not set where the harness runs.")
            price = self._budget.price(call.asked)
            async with self._turn:
                call.queued_s = self._clock() - call.at
                call.most_usd = self._budget.reserve(call.asked, len(body))
                try:
                    await self._exchange(call, provider, dialect, body, reply)
                finally:
                    call.cost_usd = call.cost(call.answer.cost_usd(price))
                    self._budget.settle(call.most_usd, call.cost_usd)
        except Refused as refused:
            request_id = secrets.token_hex(12)
            status, headers, payload = dialect.refusal(refused, request_id)
            headers = [*headers, *dialect.headers({}, request_id, (self._clock() - call.at) * 1000)]
            if all(name != b"x-should-retry" for name, _ in headers):
                headers.append((b"x-should-retry", b"false"))
            call.status = status
            await call.hand_over_whole(reply, headers, payload)

    async def _exchange(self, call: Passing, provider: str, dialect: Dialect, body: bytes, reply: Reply) -> None:
        import httpx2

        client = self._clients[provider]
        url = self._urls[provider] + dialect.path
        request = client.build_request("POST", url, content=body, headers=self._headers(provider, call.asked))
        call.sent_at = self._clock()
        try:
            response = await client.send(request, stream=True)
            try:
                await _pass_back(call, response, reply)
            finally:
                await response.aclose()
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError, httpx2.UnsupportedProtocol) as error:
            call.sent_at = None
            why = f"The API of {provider} cannot be reached from here: {type(error).__name__}: {error}."
            raise Refused("server_error", why, status=502) from None
        except httpx2.HTTPError as error:
            call.broken(type(error).__name__)
            reply.reset()

    def _headers(self, provider: str, asked: Asked) -> dict[str, str]:
        """All that is sent: nothing of what the client sent but which attempt this is."""
        key = self._keys[provider]
        own = {"authorization": f"Bearer {key}"}
        if provider == "anthropic":
            own = {"x-api-key": key, "anthropic-version": ANTHROPIC_VERSION}
        return own | {
            "content-type": "application/json",
            "accept": "text/event-stream" if asked.stream else "application/json",
            "accept-encoding": "identity",
            "user-agent": "orchestration-harness",
            "x-stainless-retry-count": str(asked.attempt),
        }


async def _pass_back(call: Passing, response: httpx2.Response, reply: Reply) -> None:
    headers = [(name.lower(), value) for name, value in response.headers.raw if name.lower() not in _NOT_PASSED]
    stream = response.headers.get("content-type", "").startswith("text/event-stream")
    call.head(response.status_code, headers, stream=stream)
    if not stream:
        payload = await response.aread()
        call.chunk(payload)
        await call.hand_over_whole(reply, headers, payload)
        return
    await reply.start(response.status_code, headers, stream=True)
    async for payload in response.aiter_bytes():
        call.chunk(payload)
        await reply.send(payload)
        call.handed_over()
    call.answer.end()
    call.whole = reply.gone_at is None  # asked before: at the end it is gone in any case
    await reply.finish()


def _client(url: str) -> httpx2.AsyncClient:
    """No retries, no redirects, no limit of its own; proxies from the environment, but not to this machine."""
    try:
        import httpx2
    except ImportError:
        raise UsageError(
            "live mode needs the HTTP client of the SDKs: pip install 'orchestration-harness[llm]'"
        ) from None
    host = urlsplit(url).hostname or ""
    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(READ_S, connect=CONNECT_S, pool=None),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None),
        trust_env=not (host == "localhost" or host == "::1" or host.startswith("127.")),
    )
