"""The options on several load processes, and `harness worker`, which is one that joins from another machine."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.command.arguments import EXISTING_FOLDER
from harness.errors import UsageError
from harness.terminal import EXIT_INTERRUPTED, progress_console, signals

if TYPE_CHECKING:
    from harness.load.control import Crew

PORT = 5557
"""Where Locust's masters listen, unless they are told otherwise."""


@dataclass(frozen=True, slots=True)
class CrewWords:
    """What the command line says of load processes, word for word."""

    workers: int
    join: int
    listen: str | None

    def crew(self) -> Crew | None:
        """What it means; None: one load process. Raises UsageError with every mistake."""
        from harness.load.control import Crew
        from harness.run.crew import parse_address

        mistakes = []
        if self.join and self.listen is None:
            mistakes.append(f"--join {self.join}: say where they find this run, with --listen HOST or HOST:PORT")
        if self.listen is not None and not self.join:
            mistakes.append("--listen: is for load processes that --join; say how many")
        if not self.workers and not self.join:
            mistakes.append("--workers 0: leaves nobody to drive the load; say how many others --join")
        host, port = "127.0.0.1", 0  # any port that is free: nobody else is to find it
        try:
            if self.listen is not None:
                host, port = parse_address("--listen", self.listen, PORT)
        except UsageError as error:
            mistakes += error.mistakes
        if mistakes:
            raise UsageError(mistakes)
        if self.workers == 1 and not self.join:
            return None
        return Crew(here=self.workers, joining=self.join, host=host, port=port)


def crew_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options on load processes; the command is given them as one `CrewWords` named `crew`."""

    @functools.wraps(command)
    def with_words(*, workers: int, join: int, listen: str | None, **rest: Any) -> None:
        command(crew=CrewWords(workers, join, listen), **rest)

    for option in reversed(_CREW_OPTIONS):
        with_words = option(with_words)
    return with_words


_CREW_OPTIONS = (
    click.option(
        "--workers", type=click.IntRange(0, 64), default=1, show_default=True, help="Load processes to start here."
    ),
    click.option(
        "--join", type=click.IntRange(0, 256), default=0, help="Wait for so many more: `harness worker` elsewhere."
    ),
    click.option(
        "--listen", metavar="HOST[:PORT]", help=f"Address of this machine at which they find the run.  [port {PORT}]"
    ),
)


@click.command()
@click.option(
    "--master", required=True, metavar="HOST[:PORT]", help="The address that the run was told to --listen at."
)
@click.option("--folder", type=EXISTING_FOLDER, default=Path(), help="From which a scenario's Python is imported.  [.]")
@click.option("--once", is_flag=True, help="Leave after one level, instead of waiting for the next.")
@click.option("--quiet", is_flag=True, help="Say nothing on standard error.")
def worker(master: str, folder: Path, once: bool, quiet: bool) -> None:
    """Drive load for a run on another machine, level after level, until Ctrl-C.

    Locust's connection knows no passwords: use it in a network that you trust.
    """
    import tempfile

    from harness.child import Children
    from harness.load.control import Join
    from harness.run.crew import check_host, parse_address, work_once
    from harness.run.listening import Interrupt

    host, port = parse_address("--master", master, PORT)
    check_host("--master", host)
    join = Join(host=host, port=port, folder=str(folder.resolve()))
    errors, interrupt = progress_console(quiet=quiet), Interrupt()
    with (
        tempfile.TemporaryDirectory(prefix="harness-worker-") as logs,
        signals(interrupt, errors),
        Children(f"worker-{secrets.token_hex(4)}", Path(logs)) as children,  # the guardian ends all of one id
    ):
        while not interrupt.asked.is_set():
            errors.print(f"waiting for a run at {host}:{port}", highlight=False)
            work_once(children, join, interrupt)
            if once:
                return
    raise click.exceptions.Exit(EXIT_INTERRUPTED)
