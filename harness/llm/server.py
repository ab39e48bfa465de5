"""The provider process: `python -m harness.llm.server`.

It reads a ProviderConfig line from standard input, says `ready` (or why not) as one JSON line on standard output, and
serves until its standard input ends, which is also how it learns that whoever started it died.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from harness.child import allow_many_files, die_with_parent, first_line
from harness.errors import HarnessError, UsageError
from harness.llm.calls import CallLog
from harness.llm.config import MeasureBegan, ProviderConfig, ProviderFailed, ProviderLine, ProviderReady
from harness.llm.simulator import Simulator
from harness.llm.wire import Source

BACKLOG = 4096
STOP_S = 1.0
KEEP_ALIVE_S = 75
FAILED_EXIT = 5

Say = Callable[[ProviderLine], None]


def source_of(config: ProviderConfig, log: CallLog, clock: Callable[[], float], say: Say) -> Source:
    """What answers in this mode. Raises UsageError. `clock` is s from t0."""
    if config.mode == "live":
        from harness.llm.live.relay import Relay

        return Relay(config, log, clock, say, os.environ)
    if config.mode == "replay":
        from harness.llm.live.replay import Replayer

        return Replayer(config, log, clock, say)
    return Simulator(config, log, clock)


async def serve(config: ProviderConfig, say: Say, stdin_fd: int) -> int:
    """Serve until standard input ends, SIGTERM, or the disk refuses. Returns the exit code."""
    loop = asyncio.get_running_loop()
    try:
        log = CallLog(Path(config.log) if config.log else None)
        source = source_of(config, log, lambda: time.monotonic() - config.t0, say)
        listener = listen(config)
    except UsageError as error:
        say(ProviderFailed(str(error), usage=True))
        return 2
    except (OSError, HarnessError) as error:
        say(ProviderFailed(str(error)))
        return FAILED_EXIT
    from harness.llm.app import App

    stop = asyncio.Event()
    log.failed.add_done_callback(lambda _: stop.set())
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(stdin_fd, _Input(stdin_fd, source, stop))
    serving = asyncio.create_task(run_app(App(source), listener, stop))
    host, port = listener.getsockname()[:2]
    say(ProviderReady(f"http://{f'[{host}]' if ':' in host else host}:{port}"))
    await serving
    log.close()
    if log.failed.done():
        say(ProviderFailed(log.failed.result()))
        return FAILED_EXIT
    return 0


def listen(config: ProviderConfig) -> socket.socket:
    """A listening socket, so that connections wait in its backlog from the moment that the URL is told."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise UsageError(f"cannot listen on {config.host} port {config.port}: {error.strerror}") from None
    return listener


async def run_app(app: Callable[..., Awaitable[None]], listener: socket.socket, stop: asyncio.Event) -> None:
    """Serve until `stop`; what is still in flight then is cut."""
    import uvicorn

    from harness.llm.app import Connection

    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=Connection,
            loop="none",
            lifespan="off",
            ws="none",
            interface="asgi3",
            proxy_headers=False,
            log_config=None,
            log_level="critical",  # it complains of every answer that a fault tears; the app tells its own mistakes
            access_log=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=0,
        )
    )
    serving = asyncio.create_task(server._serve([listener]))  # `serve` would take our signals away
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.should_exit = True
    await serving
    if cut := server.server_state.tasks:
        await asyncio.wait(cut, timeout=STOP_S)  # each writes its line


class _Input:
    """What comes on standard input after the first line."""

    def __init__(self, fd: int, source: Source, stop: asyncio.Event) -> None:
        self._fd = fd
        self._source = source
        self._stop = stop
        self._rest = b""

    def __call__(self) -> None:
        data = os.read(self._fd, 4096)
        if not data:
            asyncio.get_running_loop().remove_reader(self._fd)
            self._stop.set()
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            began = msgspec.json.decode(line, type=MeasureBegan)
            if isinstance(self._source, Simulator):
                self._source.measure_began(began.at)


def main() -> None:
    """Entry of the process."""
    die_with_parent(os.getppid())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the CLI decides what Ctrl-C means
    allow_many_files()
    config = msgspec.json.decode(first_line(), type=ProviderConfig)
    try:
        import uvicorn  # noqa: F401 - so that its absence is told at once
        import uvloop
    except ImportError as error:
        _say(ProviderFailed(f"{error.name} is missing: pip install 'orchestration-harness[llm]'", usage=True))
        sys.exit(2)
    sys.exit(uvloop.run(serve(config, _say, 0)))


def _say(words: ProviderLine) -> None:
    os.write(1, msgspec.json.encode(words) + b"\n")


if __name__ == "__main__":
    main()
