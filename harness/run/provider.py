"""What answers a level's calls to models: one provider process a level, so that quotas and faults begin anew."""

from __future__ import annotations

import os
import shlex
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from harness.child import Child, Children, expect_line
from harness.errors import HarnessError, ServiceUnavailable, UsageError
from harness.llm.config import (
    BudgetSpent,
    Caps,
    MeasureBegan,
    ProviderConfig,
    ProviderFailed,
    ProviderLine,
    ProviderReady,
    RecordingEnded,
)
from harness.llm.models import SERVED
from harness.llm.prices import Price, load_prices, price_of
from harness.observation.manifest import LevelStatus
from harness.scenario.models import Ask, Llm
from harness.scenario.scenario import Scenario
from harness.scenario.state_checks import works_of

READY_S = 30.0
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")
"""In live mode these are the relay's alone: whoever else had them could pass by its caps."""

_decode = msgspec.json.Decoder(ProviderLine).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmChoice:
    """Who is to answer calls to models, as the command line says."""

    mode: Literal["simulated", "live", "replay"] = "simulated"
    replay: Path | None = None
    caps: Caps | None = None  # live
    upstream: Mapping[str, str] = field(default_factory=dict)  # live: provider -> URL instead of the real one
    record: Path | None = None  # live
    prices: Path | None = None

    def words(self) -> list[str]:
        """The command-line words that choose the same again. Spending is confirmed anew each time."""
        words = ["--llm", f"replay:{self.replay}" if self.replay else self.mode] if self.mode != "simulated" else []
        if self.caps is not None:
            words += ["--spend-max", f"{self.caps.cost_usd:g} USD", "--llm-concurrency", str(self.caps.concurrency)]
        words += [word for name, url in self.upstream.items() for word in ("--llm-upstream", f"{name}={url}")]
        for name, path in (("--llm-record", self.record), ("--prices", self.prices)):
            words += [name, str(path)] if path else []
        return words


def prices_for(scenario: Scenario | None, choice: LlmChoice) -> dict[str, Price]:
    """A price for every model that may be asked for, where one is known. Raises UsageError."""
    declared = scenario.llm.models if scenario is not None and scenario.llm is not None else ()
    asked = [model for ask in _asks(scenario) for model in ask.models] if scenario is not None else ()
    return load_prices(list(dict.fromkeys([*SERVED, *declared, *asked])), choice.prices)


def unpriced(scenario: Scenario, prices: Mapping[str, Price]) -> list[str]:
    """The models that the scenario's agents ask and that have no price: what their calls cost is not known."""
    return sorted({model for ask in _asks(scenario) for model in ask.models if price_of(prices, model) is None})


def _asks(scenario: Scenario) -> list[Ask]:
    return [work.llm for _, work in works_of(scenario) if work.llm is not None]


def provider_config(
    scenario: Scenario, choice: LlmChoice, prices: Mapping[str, Price], *, run_id: str, level: str, t0: float, log: Path
) -> ProviderConfig:
    """What the provider of one level of a run is told. Raises UsageError for a cap on cost that could not be kept."""
    if choice.mode == "live" and (free := unpriced(scenario, prices)):
        raise UsageError(
            f"the cap on cost could not be kept without a price of {', '.join(free)}: give it with --prices"
        )
    llm = scenario.llm or Llm()
    return ProviderConfig(
        run_id=run_id,
        t0=t0,
        level=level,
        log=str(log),
        port=llm.port or 0,
        seed=scenario.seed,
        time_scale=1.0 if choice.mode == "replay" else scenario.time_scale,  # it scales what is drawn, not recorded
        mode=choice.mode,
        llm=llm,
        prices=prices,
        caps=choice.caps,
        spent_usd=spent_usd(log) if choice.mode == "live" else 0.0,
        providers=tuple(sorted({api.partition(".")[0] for ask in _asks(scenario) for api in ask.apis})),
        upstream=choice.upstream,
        record=str(choice.record.resolve()) if choice.record else None,
        replay=str(choice.replay.resolve()) if choice.replay else None,
    )


class Provider:
    """A provider process that serves at `url`."""

    def __init__(self, child: Child, url: str) -> None:
        self._child = child
        self.url = url
        self.stopped: tuple[LevelStatus, str] | None = None  # it refuses calls from now on, and why
        self._failed: str | None = None
        threading.Thread(target=self._listen, name="provider", daemon=True).start()

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._child.pid

    def measure_began(self, at: float) -> None:
        """Faults are timed from here (s from t0)."""
        self._child.tell(msgspec.json.encode(MeasureBegan(at)))

    def died(self) -> str | None:
        """Why it does not serve any more; None while it does."""
        if self._failed is not None:
            return f"the provider of models failed: {self._failed}"
        code = self._child.returncode()
        return None if code is None else self._child.with_last_words(f"the provider of models ended (exit {code})")

    def _listen(self) -> None:
        for line in self._child.stdout:
            said = _decode(line)
            if isinstance(said, BudgetSpent):
                next_call = f"the next call could have passed the cap of {said.cap_usd:g} USD"
                self.stopped = "budget_spent", f"calls to models had cost {said.spent_usd:.3g} USD, and {next_call}"
            elif isinstance(said, RecordingEnded):
                self.stopped = "replay_ended", said.message
            elif isinstance(said, ProviderFailed):
                self._failed = said.message


@contextmanager
def provider(children: Children, config: ProviderConfig, name: str = "llm") -> Iterator[Provider]:
    """Start one and wait until it serves; it is ended on leaving, its log of calls whole.

    Raises UsageError or ServiceUnavailable with its own words.
    """
    keys = {name: os.environ[name] for name in KEYS if name in os.environ} if config.mode == "live" else None
    child = children.start(name, "harness.llm.server", first_line=msgspec.json.encode(config), extra_env=keys)
    try:
        said = _decode(expect_line(child, READY_S))
    except HarnessError as error:
        raise ServiceUnavailable(str(error)) from error
    if isinstance(said, ProviderFailed):
        raise (UsageError if said.usage else ServiceUnavailable)(said.message)
    assert isinstance(said, ProviderReady), "it says nothing else before it serves"
    try:
        yield Provider(child, said.url)
    finally:
        child.end(grace_s=5.0)


def spent_usd(log: Path) -> float:
    """What the calls of the earlier levels cost."""
    if not log.exists():
        return 0.0
    decode = msgspec.json.Decoder(_Cost).decode
    with log.open("rb") as lines:
        return sum(decode(line).cost_usd or 0.0 for line in lines if line.endswith(b"\n"))


class _Cost(msgspec.Struct):
    cost_usd: float | None = 0.0


def settings_lines(url: str) -> list[str]:
    """What to set so that the official SDKs, and most of what is built on them, ask there."""
    return [f"OPENAI_BASE_URL={shlex.quote(url + '/v1')}", f"ANTHROPIC_BASE_URL={shlex.quote(url)}"]
