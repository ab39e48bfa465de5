"""A proxy process with an echo behind it, for the tests of one module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.fault.proxy.config import Upstream
from tests.fault.proxy.proxying import Proxying, Upstreamed, echo, proxying


@pytest.fixture(scope="module")
def echoing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxying]:
    """The proxy `echo`, with a journal."""
    server = Upstreamed(echo)
    journal = tmp_path_factory.mktemp("proxy") / "proxy.jsonl"
    with proxying(Upstream(name="echo", upstream=server.address), journal=journal) as serving:
        yield serving
    server.close()


@pytest.fixture
def proxy(echoing: Proxying) -> Iterator[Proxying]:
    """The same, without a toxic before and after."""
    yield echoing
    echoing.told("POST", "/reset")
