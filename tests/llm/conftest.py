"""A provider process for tests that speak to it over the wire."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from harness.child import Children
from harness.llm.config import ProviderConfig
from harness.observation.llm import LlmCall
from harness.run.provider import Provider, provider


@dataclass
class Served:
    """A provider that serves, and its log."""

    provider: Provider
    log: Path
    ending: ExitStack

    @property
    def url(self) -> str:
        return self.provider.url

    def calls(self) -> list[LlmCall]:
        """Everything that was written down; the process ends first, so that nothing is missing."""
        self.ending.close()
        return self.written()

    def written(self) -> list[LlmCall]:
        """What is in the log by now."""
        lines = self.log.read_bytes().splitlines(keepends=True) if self.log.exists() else []
        return [msgspec.json.decode(line, type=LlmCall) for line in lines if line.endswith(b"\n")]

    def calls_of(self, workflow: str, count: int) -> list[LlmCall]:
        """The calls of one workflow, once so many of them are written down."""
        deadline = time.monotonic() + 10.0
        while True:
            found = [call for call in self.written() if call.workflow == workflow]
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline, f"{workflow}: {len(found)} of {count} calls were written down"
            time.sleep(0.02)  # until the next batch


Serve = Callable[..., Served]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts providers; keywords are those of ProviderConfig. All are ended after the test."""
    yield from _serving(tmp_path)


@pytest.fixture(scope="module")
def serve_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """The same for all tests of a module."""
    yield from _serving(tmp_path_factory.mktemp("provider"))


def _serving(tmp_path: Path) -> Iterator[Serve]:
    started = 0
    with ExitStack() as everything:

        def start(**config: object) -> Served:
            nonlocal started
            started += 1
            log = tmp_path / f"calls-{started}.jsonl"
            given = {"run_id": "test", "t0": time.monotonic(), "log": str(log), "time_scale": 0.001} | config
            ending = everything.enter_context(ExitStack())
            children = ending.enter_context(Children(f"test-{secrets.token_hex(4)}", tmp_path / f"logs-{started}"))
            serving = ending.enter_context(provider(children, ProviderConfig(**given)))  # type: ignore[arg-type]
            return Served(serving, log, ending)

        yield start
