"""`harness llm`: the provider of models alone, for anyone's system to ask."""

from __future__ import annotations

import secrets
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.command.arguments import Factor, LlmWords, llm_options
from harness.terminal import progress_console, signals

if TYPE_CHECKING:
    from harness.llm.config import ProviderConfig
    from harness.run.provider import LlmChoice


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; others reach only this.")
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="0: any free one.")
@click.option("--scenario", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="Take [llm] (quotas, faults, models), seed and time_scale from this scenario.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Instead of the scenario's seed, or 1.")
@click.option("--time-scale", type=Factor(), help="Instead of the scenario's, or 1.")
@click.option("--log", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write every call down.")
@llm_options
def llm(
    host: str,
    port: int,
    scenario: Path | None,
    seed: int | None,
    time_scale: float | None,
    log: Path | None,
    llm: LlmWords,
) -> None:
    """Serve models that answer as OpenAI's and Anthropic's do; Ctrl-C ends it.

    Set the printed variables, or `base_url`, and any official SDK asks here. Keys may be anything.
    """
    import msgspec

    from harness.child import Children
    from harness.errors import HarnessError, UsageError
    from harness.run.listening import Interrupt
    from harness.run.provider import KEYS, provider, settings_lines

    if log is not None and not log.absolute().parent.is_dir():
        raise UsageError(f"--log {log}: there is no folder {str(log.parent)!r}")
    config = _config(scenario, seed, time_scale, llm.choice())
    config = msgspec.structs.replace(config, host=host, port=port, log=str(log.resolve()) if log else None)
    interrupt = Interrupt()
    console = progress_console()
    with (
        tempfile.TemporaryDirectory(prefix="harness-llm-") as logs,
        signals(interrupt, console),
        Children(config.run_id, Path(logs), hidden=KEYS) as children,
        provider(children, config) as serving,
    ):
        serving.measure_began(0.0)
        for line in settings_lines(serving.url):
            click.echo(line)
        is_told = False
        while not interrupt.asked.wait(0.2):
            if (why := serving.died()) is not None:
                raise HarnessError(why)
            if serving.stopped is not None and not is_told:
                is_told = True
                console.print(serving.stopped[1], soft_wrap=True)


def _config(scenario: Path | None, seed: int | None, time_scale: float | None, choice: LlmChoice) -> ProviderConfig:
    """What the provider is told, beside where it listens. Raises UsageError."""
    from harness.llm.config import ProviderConfig
    from harness.run.plan import Options, prepare
    from harness.run.provider import prices_for
    from harness.scenario.models import Llm

    given = prepare(scenario, Options(), command="").scenario if scenario else None
    declared = (given.llm if given else None) or Llm()
    return ProviderConfig(
        run_id=f"llm-{secrets.token_hex(4)}",
        t0=time.monotonic(),
        level="served",
        seed=seed if seed is not None else given.seed if given else 1,
        time_scale=time_scale if time_scale is not None else given.time_scale if given else 1.0,
        mode=choice.mode,
        llm=declared,
        prices=prices_for(given, choice),
        caps=choice.caps,
        upstream=choice.upstream,
        record=str(choice.record.resolve()) if choice.record else None,
        replay=str(choice.replay.resolve()) if choice.replay else None,
    )
