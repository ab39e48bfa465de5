"""The terminal that a command runs in: its signals, its streams, and paths as a person there would write them."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from rich.console import Console

    from harness.run.listening import Interrupt


EXIT_USAGE = 2
EXIT_UNAVAILABLE = 3
EXIT_HARNESS = 4
EXIT_INTERRUPTED = 130


class Forgiving(io.TextIOBase):
    """A text stream that falls silent when it cannot be written: the reader of progress may leave, the run goes on."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or do nothing."""
        try:
            if self._stream is not None:
                self._stream.write(text)
        except OSError:
            self._forget()
        return len(text)

    def flush(self) -> None:
        """Flush, or do nothing."""
        try:
            if self._stream is not None:
                self._stream.flush()
        except OSError:
            self._forget()

    def _forget(self) -> None:
        """What is still buffered goes nowhere: at the interpreter's end it would fail once more, as its exit code."""
        assert self._stream is not None
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        self._stream = None

    def isatty(self) -> bool:
        """Whether a terminal reads it."""
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        """The stream's own, where it has one."""
        if self._stream is None:
            raise OSError("nobody reads this stream")
        return self._stream.fileno()


def forget_stdout() -> None:
    """Nobody reads it: what is still buffered must not raise again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


@contextlib.contextmanager
def signals(interrupt: Interrupt, console: Console) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) ends the run in order; a second one ends it at once."""

    def asked(signum: int, frame: object) -> None:
        if interrupt.asked.is_set():
            raise KeyboardInterrupt
        interrupt.asked.set()
        console.print("interrupted: ending in order, nothing is lost; once more to stop at once", soft_wrap=True)

    before = {signum: signal.signal(signum, asked) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for signum, action in before.items():
            signal.signal(signum, action)


def shown(path: Path) -> str:
    """The path as a person here would write it."""
    with contextlib.suppress(ValueError):
        return str(path.resolve().relative_to(Path.cwd()))
    return str(path)


def progress_console(*, quiet: bool = False) -> Console:
    """Standard error, for progress, which must not end a run when nobody can read it."""
    from rich.console import Console

    return Console(file=cast("IO[str]", Forgiving(sys.stderr)), quiet=quiet)
