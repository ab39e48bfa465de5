"""The kinds of values that options of the command line take, and the options on models that several commands share."""

from __future__ import annotations

import functools
import math
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.gate.gating import GateOptions
    from harness.run.provider import LlmChoice

FOLDER = click.Path(file_okay=False, path_type=Path)
EXISTING_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
SCENARIOS = Path("scenarios")
"""Where a scenario's bare name is looked for."""
STORES = click.Choice(["memory", "redis", "postgres", "both"])


class Unit(click.ParamType[float]):
    """An option written with a unit, like "5 s"."""

    def __init__(self, kind: Any) -> None:
        self.name = kind
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from harness.scenario.units import parse

        try:
            return parse(value, self._kind)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Factor(click.ParamType[float]):
    """A finite number above 0."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            factor = float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number", param, ctx)
        if not (factor > 0 and math.isfinite(factor)):
            self.fail(f"should be a number above 0, not {value}", param, ctx)
        return factor


@dataclass(frozen=True, slots=True)
class LlmWords:
    """What the command line says of who answers calls to models, word for word."""

    llm: str
    spend_max: float | None
    concurrency: int | None
    upstream: tuple[str, ...]
    record: Path | None
    prices: Path | None
    confirmed: bool

    def choice(self) -> LlmChoice:
        """What it means. Raises UsageError with every mistake, click.Abort when spending money is not confirmed."""
        from harness.llm.config import Caps
        from harness.run.provider import LlmChoice

        mode, _, path = self.llm.partition(":")
        mistakes = list(self._mistakes(mode, path))
        if mistakes:
            raise UsageError(mistakes)
        if mode == "replay":
            return LlmChoice(mode="replay", replay=Path(path), prices=self.prices)
        if mode == "simulated":
            return LlmChoice(prices=self.prices)
        assert self.spend_max is not None
        assert self.concurrency is not None
        if not self.confirmed:
            click.confirm(f"Up to {self.spend_max:g} USD will be spent at real providers. Go on?", abort=True, err=True)
        caps = Caps(cost_usd=self.spend_max, concurrency=self.concurrency)
        upstream = dict(each.split("=", 1) for each in self.upstream)
        return LlmChoice(mode="live", caps=caps, upstream=upstream, record=self.record, prices=self.prices)

    def _mistakes(self, mode: str, path: str) -> Iterator[str]:
        if mode not in ("simulated", "live", "replay") or bool(path) != (mode == "replay"):
            yield f"--llm {self.llm}: say simulated, live or replay:FILE"
            return
        if path and not Path(path).is_file():
            yield f"--llm {self.llm}: there is no such file"
        live: dict[str, object] = {"--spend-max": self.spend_max, "--llm-concurrency": self.concurrency}
        if mode == "live":
            yield from (f"--llm live spends money: give {name} too" for name, given in live.items() if given is None)
            yield from (f"--llm-upstream {each}: say openai=URL or anthropic=URL, without a path or a password"
                        for each in self.upstream if not _UPSTREAM.fullmatch(each))  # fmt: skip
            if not self.confirmed and not sys.stdin.isatty():
                yield "--llm live spends money, and nobody is there to ask: confirm it with --yes"
        else:
            live |= {"--llm-upstream": self.upstream or None, "--llm-record": self.record}
            yield from (f"{name}: is for --llm live" for name, given in live.items() if given is not None)


def llm_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options on models; the command is given them as one `LlmWords` named `llm`."""

    @functools.wraps(command)
    def with_words(
        *,
        llm: str,
        spend_max: float | None,
        llm_concurrency: int | None,
        llm_upstream: tuple[str, ...],
        llm_record: Path | None,
        prices: Path | None,
        yes: bool,
        **rest: Any,
    ) -> None:
        words = LlmWords(llm, spend_max, llm_concurrency, llm_upstream, llm_record, prices, yes)
        command(llm=words, **rest)

    for option in reversed(_LLM_OPTIONS):
        with_words = option(with_words)
    return with_words


def chosen_margin(margin: float | None, *, strict: bool) -> float:
    """How much worse may pass, as --margin and --strict say it. Raises UsageError when both do, or it says nothing."""
    from harness.verdict.gate import MARGIN, MARGIN_STRICT

    if strict and margin is not None:
        raise UsageError(f"--strict is --margin {MARGIN_STRICT:.0%}: say one of them")
    if margin is None:
        return MARGIN_STRICT if strict else MARGIN
    if not 0 < margin < 1:
        raise UsageError(f"--margin {margin:.0%}: should be more than 0 % and less than 100 %; 10 % is the usual one")
    return margin


@dataclass(frozen=True, slots=True)
class GateWords:
    """What the command line says of the comparison with history, word for word."""

    gate: bool
    strict: bool
    margin: float | None
    no_duet: bool
    pairs: int | None

    def options(self) -> GateOptions | None:
        """What it means; None: no comparison is asked for. Raises UsageError with every mistake."""
        from harness.gate.gating import GateOptions

        given = {"--strict": self.strict, "--margin": self.margin, "--no-duet": self.no_duet, "--pairs": self.pairs}
        said = [name for name, value in given.items() if value is not None and value is not False]
        mistakes = [f"{name}: is for --gate" for name in said if not self.gate]
        margin = 0.0
        try:
            margin = chosen_margin(self.margin, strict=self.strict)
        except UsageError as error:
            mistakes += error.mistakes
        if self.no_duet and self.pairs is not None:
            mistakes.append("--pairs: there will be none with --no-duet")
        if mistakes:
            raise UsageError(mistakes)
        if not self.gate:
            return None
        return GateOptions(margin=margin, duet=not self.no_duet, pairs=self.pairs or LOOKS[-1])

    def words(self) -> list[str]:
        """The command-line words that ask for the same comparison again."""
        margin = [] if self.margin is None else ["--margin", f"{self.margin * 100:g} %"]
        pairs = [] if self.pairs is None else ["--pairs", str(self.pairs)]
        flags = {"--gate": self.gate, "--strict": self.strict, "--no-duet": self.no_duet}
        return [*(name for name, given in flags.items() if given), *margin, *pairs]


def gate_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of the gate; the command is given them as one `GateWords` named `gate`."""

    @functools.wraps(command)
    def with_words(
        *, gate: bool, strict: bool, margin: float | None, no_duet: bool, pairs: str | None, **rest: Any
    ) -> None:
        words = GateWords(gate, strict, margin, no_duet, None if pairs is None else int(pairs))
        command(gate=words, **rest)

    for option in reversed(_GATE_OPTIONS):
        with_words = option(with_words)
    return with_words


LOOKS, ARM_WORKFLOWS = (10, 20, 30), 400  # of a duet; not imported, as `--help` shows them
_GATE_OPTIONS = (
    click.option("--gate", is_flag=True, help="Compare with the accepted baseline of this class of machines."),
    click.option("--margin", type=Unit("share"), metavar="SHARE", help='Gate: how much worse may pass; "10 %".'),
    click.option("--strict", is_flag=True, help='Gate: the same as --margin "5 %".'),
    click.option("--no-duet", is_flag=True, help="Gate: never run the baseline's build beside this one."),
    click.option("--pairs", type=click.Choice([str(look) for look in LOOKS]), help="Gate: at most so many pairs. [30]"),
)
_UPSTREAM = re.compile(r"(openai|anthropic)=https?://[^/@\s?#]+/?")
_NEW_FILE = click.Path(dir_okay=False, path_type=Path)
_LLM_OPTIONS = (
    click.option(
        "--llm", default="simulated", show_default=True, metavar="WHO", help="simulated, live, or replay:FILE answers."
    ),
    click.option("--spend-max", type=Unit("cost"), metavar="COST", help='Live: the most that may be spent, "2 USD".'),
    click.option("--llm-concurrency", type=click.IntRange(1, 1000), help="Live: calls at the providers at once."),
    click.option("--llm-upstream", multiple=True, metavar="PROVIDER=URL",
                 help="Live: ask this host instead of api.openai.com or api.anthropic.com."),
    click.option("--llm-record", type=_NEW_FILE, metavar="FILE", help="Live: record every call, without secrets."),
    click.option("--prices", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
                 help="Prices of models (TOML), before those of genai-prices."),
    click.option("--yes", is_flag=True, help="Live: do not ask whether to spend."),
)  # fmt: skip
