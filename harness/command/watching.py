"""The options on watching a run from elsewhere: a page, metrics, traces."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from harness.errors import HarnessError, UsageError
from harness.terminal import shown

if TYPE_CHECKING:
    from harness.report.watching.state import RunState
    from harness.verdict.judge import JudgedRun


@dataclass(frozen=True, slots=True)
class Watching:
    """What is told of the runs of one command, beside its terminal."""

    state: RunState
    otlp: str | None = None  # the collector's URL

    @classmethod
    def alone(cls) -> Watching:
        """Of a run that nobody watches elsewhere."""
        from harness.report.watching.state import RunState

        return cls(RunState())

    def telling(self, tell: Callable[[str], None]) -> Callable[[str], None]:
        """As `tell`, and shown by the page, too."""

        def told(line: str) -> None:
            self.state.noted(line)
            tell(line)

        return told

    def judged(self, judged: JudgedRun) -> None:
        """The run is over: its verdict is shown, and all of it exported. What fails there is said, and changes none."""
        from harness.report.writing import HTML_FILE

        verdict = judged.verdict
        self.state.judged(verdict.word, next(iter(verdict.sentences), ""), shown(judged.run_dir / HTML_FILE))
        if self.otlp is None:
            return
        from harness.report.watching.otlp import export

        try:
            sent = export(judged, self.otlp)
        except HarnessError as error:
            click.echo(f"--otlp: {error}", err=True)
        else:
            click.echo(f"exported to {self.otlp}: {sent.spans} spans, {sent.metrics} metrics", err=True)


@dataclass(frozen=True, slots=True)
class WatchWords:
    """What the command line says of watching, word for word."""

    live: bool = False
    live_port: int | None = None
    metrics_port: int | None = None
    otlp: str | None = field(default=None, repr=False)

    @contextmanager
    def watching(self) -> Iterator[Watching]:
        """What was asked for, serving until the context is left. Raises UsageError with what is wrong, at once."""
        from harness.report.watching.state import RunState

        mistakes = []
        if self.live_port is not None and not self.live:
            mistakes.append(f"--live-port {self.live_port}: is for --live")
        if self.metrics_port and self.metrics_port == self.live_port:
            mistakes.append(f"--metrics-port {self.metrics_port}: is the --live-port, too; choose another")
        if self.otlp is not None:
            from harness.report.watching.otlp import otlp_mistakes

            mistakes += otlp_mistakes(self.otlp)
        if mistakes:
            raise UsageError(mistakes)
        state = RunState()
        with ExitStack() as ending:
            told = []
            if self.live:
                told.append(f"live page: {self._serve(ending, state, self.live_port or 0, '--live-port')}/")
            if self.metrics_port is not None:
                address = self._serve(ending, state, self.metrics_port, "--metrics-port")
                told.append(f"metrics: {address}/metrics")
            for line in told:
                click.echo(line, err=True)
            yield Watching(state, self.otlp)

    def _serve(self, ending: ExitStack, state: RunState, port: int, option: str) -> str:
        from harness.report.watching.server import ViewServer

        live = option == "--live-port"
        server = ViewServer(state, port, option=option, live=live, metrics=not live)
        return ending.enter_context(server).address


def watch_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options on watching; the command is given them as one `WatchWords` named `watch`."""

    @functools.wraps(command)
    def with_words(
        *, live: bool, live_port: int | None, metrics_port: int | None, otlp: str | None, **rest: Any
    ) -> None:
        command(watch=WatchWords(live, live_port, metrics_port, otlp), **rest)

    for option in reversed(_WATCH_OPTIONS):
        with_words = option(with_words)
    return with_words


_PORT = click.IntRange(0, 65535)
_WATCH_OPTIONS = (
    click.option("--live", is_flag=True, help="Show the run on a page of this machine while it goes on."),
    click.option("--live-port", type=_PORT, metavar="PORT", help="Of that page.  [default: any that is free]"),
    click.option("--metrics-port", type=_PORT, metavar="PORT", help="Serve OpenMetrics at 127.0.0.1:PORT/metrics."),
    click.option("--otlp", metavar="URL", help="Export traces and metrics of the run to this OTLP/HTTP collector."),
)
