"""Networks that refuse, reset, swallow, do not resolve or speak TLS: a clear failure in time, and never a credential.

| what fails | before a run | a store | a model |
|---|---|---|---|
| refused, reset, unresolvable | ServiceUnavailable with the address | StoreUnavailable | llm_connection |
| black hole | the same, after our own deadline | the same | llm_timeout |
| TLS where none is spoken, and the other way round | the same | the same | llm_connection |
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest

from harness.errors import ServiceUnavailable
from harness.llm.client.anthropic_sdk import AnthropicModels
from harness.llm.client.client import LlmFailed, Model, Prompt
from harness.llm.client.openai_sdk import OpenAIModels
from harness.scenario.models import Ask
from harness.service.address import parse
from harness.service.asking import version_of
from harness.store.postgres import PostgresStore
from harness.store.redis import RedisStore
from harness.store.store import StateStore, StoreUnavailable
from tests.llm.conftest import Serve, _serving
from tests.network.strangers import failing

WAYS = ("refused", "reset", "black_hole", "unresolvable", "tls")
SECRET = "swordfish"
URLS = {"redis": f"redis://amy:{SECRET}@{{}}/0", "postgres": f"postgresql://amy:{SECRET}@{{}}/harness"}
STORES: dict[str, Callable[..., Coroutine[Any, Any, StateStore]]] = {
    "redis": RedisStore.connect,
    "postgres": PostgresStore.connect,
}
HANGS_S = 30.0
"""Nobody waits so long: every deadline of ours is far shorter, and those of the clients themselves are longer."""
ASK = {
    "openai": Ask(model="gpt-4.1-mini", timeout=2.0),
    "responses": Ask(model="gpt-4.1-mini", api="openai.responses", timeout=2.0),
    "stream": Ask(model="gpt-4.1-mini", stream=True, timeout=2.0, first_token=1.5),
    "anthropic": Ask(model="claude-haiku-4-5", api="anthropic.messages", timeout=2.0),
}
T = TypeVar("T")


def in_time(call: Callable[[], T]) -> T:
    """What it returns or raises, if it does within HANGS_S."""
    with ThreadPoolExecutor(1) as beside:
        return beside.submit(call).result(HANGS_S)


async def _in_time(coroutine: Coroutine[Any, Any, T]) -> T:
    async with asyncio.timeout(HANGS_S):
        return await coroutine


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("service", URLS)
def test_before_a_run_it_is_said_what_does_not_work(service: str, way: str) -> None:
    """By its address and without its password."""
    with failing(way) as place:
        url, address = parse(service, URLS[service].format(place), "--url")
        with pytest.raises(ServiceUnavailable) as told:
            in_time(lambda: version_of(service, url, address))
    assert place in str(told.value)
    assert SECRET not in str(told.value)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("service", URLS)
def test_a_store_says_that_it_is_away(service: str, way: str) -> None:
    """To whoever opens it; nothing is awaited for ever."""
    with failing(way) as place, pytest.raises(StoreUnavailable) as told:
        asyncio.run(_in_time(STORES[service](URLS[service].format(place), namespace="harness_network")))
    assert SECRET not in str(told.value)


@pytest.mark.parametrize("service", URLS)
def test_a_client_that_wants_tls_of_a_server_without_it(service: str, redis_url: str, postgres_url: str) -> None:
    """As a wrong scheme or sslmode in a URL: real servers that speak plainly."""
    plain = {"redis": redis_url, "postgres": postgres_url}[service]
    wanted = plain.replace("redis://", "rediss://") if service == "redis" else f"{plain}?sslmode=require"
    url, address = parse(service, wanted, "--url")
    password = urlsplit(plain).password or "none"
    with pytest.raises(ServiceUnavailable) as told:
        in_time(lambda: version_of(service, url, address))
    assert str(address) in str(told.value)
    assert password not in str(told.value)
    with pytest.raises(StoreUnavailable) as away:
        asyncio.run(_in_time(STORES[service](wanted, namespace="harness_network")))
    assert password not in str(away.value)


async def asked(model: Model, ask: Ask) -> LlmFailed:
    """How asking fails."""
    try:
        with pytest.raises(LlmFailed) as failed:
            await model.ask(ask, Prompt("system", "user", 100), 1)
        return failed.value
    finally:
        await model.close()


def model_at(url: str, ask: Ask) -> Model:
    """The SDK of the provider that the ask is for."""
    models = AnthropicModels if ask.api.startswith("anthropic") else OpenAIModels
    return models(url, key=SECRET, sdk_retries=0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("api", ASK)
def test_a_model_that_cannot_be_reached(api: str, way: str) -> None:
    """May be asked again, each time within its deadline; the key is in no message."""
    with failing(way) as place:
        failed = asyncio.run(_in_time(asked(model_at(f"http://{place}", ASK[api]), ASK[api])))
    expected = {"llm_timeout", "llm_first_token"} if way == "black_hole" else {"llm_connection"}
    assert failed.error_class in expected
    assert not failed.final
    assert SECRET not in str(failed)


@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_a_model_whose_certificate_nobody_vouches_for(api: str) -> None:
    """It is not spoken to."""
    with failing("tls") as place:
        failed = asyncio.run(_in_time(asked(model_at(f"https://{place}", ASK[api]), ASK[api])))
    assert failed.error_class == "llm_connection"


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts simulators."""
    yield from _serving(tmp_path_factory.mktemp("provider"))


@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_a_client_that_wants_tls_of_the_simulator(api: str, serve: Serve) -> None:
    """A wrong scheme in its URL: the call has failed to connect, and the simulator has seen no call."""
    served = serve()
    url = served.url.replace("http://", "https://")
    failed = asyncio.run(_in_time(asked(model_at(url, ASK[api]), ASK[api])))
    assert failed.error_class == "llm_connection"
    assert SECRET not in str(failed)
    assert served.calls() == []
