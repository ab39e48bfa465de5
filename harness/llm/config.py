"""What a provider process is told and says: JSON lines on its standard input and output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from harness.llm.prices import Price
from harness.scenario.models import Llm

Mode = Literal["simulated", "live", "replay"]


class Caps(msgspec.Struct, frozen=True):
    """What a person confirmed for calls that cost money."""

    cost_usd: float
    concurrency: int


class ProviderConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The first line on standard input."""

    run_id: str
    t0: float  # the run's zero on the monotonic clock
    level: str = ""
    log: str | None = None  # path of calls.jsonl, appended to; None: nothing is written down
    host: str = "127.0.0.1"
    port: int = 0  # 0: any free one
    seed: int = 1
    time_scale: float = 1.0
    mode: Mode = "simulated"
    llm: Llm = msgspec.field(default_factory=Llm)
    prices: Mapping[str, Price] = {}
    caps: Caps | None = None  # live
    spent_usd: float = 0.0  # live: by earlier levels
    providers: tuple[str, ...] = ()  # live: those that will be asked, so their keys must be there
    upstream: Mapping[str, str] = {}  # live: provider -> URL of its API, instead of the real one
    record: str | None = None  # live: path of the file that calls are recorded to
    replay: str | None = None  # replay: path of a recorded file


class MeasureBegan(msgspec.Struct, tag_field="type", tag="measure", frozen=True):
    """A later line on standard input: faults are timed from here (s from t0)."""

    at: float


class ProviderReady(msgspec.Struct, tag_field="type", tag="ready", frozen=True):
    """The first line on standard output: it listens at this URL, without a path."""

    url: str


class ProviderFailed(msgspec.Struct, tag_field="type", tag="failed", frozen=True):
    """It cannot serve, or cannot go on; the message says why. Mistakes of the person who asked are `usage`."""

    message: str
    usage: bool = False


class BudgetSpent(msgspec.Struct, tag_field="type", tag="budget", frozen=True):
    """Live: the next call could pass the cap on cost, so it was refused, as all further ones are."""

    spent_usd: float
    cap_usd: float


class RecordingEnded(msgspec.Struct, tag_field="type", tag="recording", frozen=True):
    """Replay: a call came that the recording holds nothing like; said once, of the first of them."""

    message: str


ProviderLine = ProviderReady | ProviderFailed | BudgetSpent | RecordingEnded
