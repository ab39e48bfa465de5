"""The dialects with the real SDKs on the other end, without a server: an HTTP transport that answers from a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

import httpx2
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from harness.llm.canary import Canary
from harness.llm.dialect import dialect_for
from harness.llm.models import served
from harness.llm.script import script
from harness.llm.wire import Allowance, Asked, Bucket, Dialect, Headers, Refused, Scripted, Stream

FINDING = "0123456789abcdef0123456789abcdef"
CANARY = Canary(workflow="10-17", agent="data", step="data-1", finding=FINDING, tokens=60)
ALLOWANCES: dict[Bucket, Allowance] = {
    "requests": Allowance(limit=60, remaining=12.7, reset_s=996.298),
    "tokens": Allowance(limit=10_000, remaining=-3, reset_s=0.02),
}
CREATED = 1_790_000_000

T = TypeVar("T")


class Pieces(httpx2.AsyncByteStream):
    """A body that comes in these parts."""

    def __init__(self, parts: Sequence[bytes]) -> None:
        self.parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            yield part


def everything(stream: Stream) -> list[bytes]:
    """A whole stream."""
    return [stream.opening, *stream.chunks, stream.finishing, stream.closing]


class Endpoint(httpx2.AsyncBaseTransport):
    """Reads with a dialect, asks the script, writes with the dialect. `refused` is said instead, if there is one.

    `sent` chooses what of a stream goes out.
    """

    def __init__(
        self,
        refused: Refused | None = None,
        sent: Callable[[Dialect, Stream], Sequence[bytes]] = lambda _, stream: everything(stream),
        change: Callable[[Scripted], Scripted] = lambda scripted: scripted,
    ) -> None:
        self.refused = refused
        self.sent = sent
        self.change = change
        self.asked: list[Asked] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """One exchange."""
        body = await request.aread()
        headers = {name.lower(): value for name, value in request.headers.raw}
        dialect = dialect_for(request.url.path, headers)
        carried = dialect.headers(ALLOWANCES, "0" * 32, 12.9)
        try:
            asked = dialect.read(body, headers)
            self.asked.append(asked)
            if self.refused is not None:
                raise self.refused
        except Refused as refused:
            status, own, payload = dialect.refusal(refused, "0" * 32)
            return _response(status, [*carried, *own], b"application/json", [payload])
        model = served(asked.model)
        assert model is not None
        scripted = self.change(script(asked, seed=1, model=model, created=CREATED, nth=len(self.asked)))
        if not asked.stream:
            return _response(200, carried, b"application/json", [dialect.whole(asked, scripted)])
        stream = dialect.stream(asked, scripted, scripted.pieces)
        return _response(200, carried, b"text/event-stream; charset=utf-8", self.sent(dialect, stream))


def _response(status: int, headers: Headers, kind: bytes, parts: Sequence[bytes]) -> httpx2.Response:
    return httpx2.Response(status, headers=[*headers, (b"content-type", kind)], stream=Pieces(parts))


def with_openai(
    use: Callable[[AsyncOpenAI], Awaitable[T]], transport: httpx2.AsyncBaseTransport, *, strict: bool = True
) -> T:
    """What `use` returns for an SDK that never tries again, and if `strict` refuses what its types do not allow."""

    async def run() -> T:
        async with AsyncOpenAI(
            api_key="none",
            base_url="http://provider/v1",
            max_retries=0,
            http_client=httpx2.AsyncClient(transport=transport),
            _strict_response_validation=strict,
        ) as client:
            return await use(client)

    return asyncio.run(run())


def with_anthropic(
    use: Callable[[AsyncAnthropic], Awaitable[T]],
    transport: httpx2.AsyncBaseTransport,
    path: str = "",
    *,
    strict: bool = True,
) -> T:
    """The same for Anthropic's SDK."""

    async def run() -> T:
        async with AsyncAnthropic(
            api_key="none",
            base_url=f"http://provider{path}",
            max_retries=0,
            http_client=httpx2.AsyncClient(transport=transport),
            _strict_response_validation=strict,
        ) as client:
            return await use(client)

    return asyncio.run(run())
