"""The target host: one process that serves one Target over a Unix socket, on asyncio and uvloop.

`python -m harness.target.host` reads a HostConfig line from standard input, says `ready` (or why not) as one JSON line
on standard output, and serves until its standard input ends, which is also how it learns that the CLI died.
"""

from __future__ import annotations

import asyncio
import errno
import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from harness.child import allow_many_files, die_with_parent, first_line
from harness.errors import UsageError
from harness.target.clock import WallClock
from harness.target.serving import Connection, Host
from harness.target.target import (
    Answered,
    BlockLoop,
    CancelSome,
    Disturbable,
    HostConfig,
    HostFailed,
    HostReady,
    JumpClock,
    LoopWasBlocked,
    OpenFile,
    Order,
    Target,
)
from harness.target.wire import BACKLOG

Say = Callable[[HostReady | HostFailed | LoopWasBlocked | Answered], None]
_encode = msgspec.json.Encoder().encode


def build_target(config: HostConfig) -> Target:
    """Import and construct what the configuration names. Raises UsageError when it is not there."""
    if config.import_from is not None:
        sys.path.insert(0, config.import_from)
    module, _, attribute = config.target.partition(":")
    target: Any = getattr(importlib.import_module(module), attribute)(config.options)
    assert isinstance(target, Target)
    return target


async def serve(config: HostConfig, say: Say, stdin_fd: int) -> int:
    """Serve until standard input ends or SIGTERM. Returns the exit code."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    try:
        target = build_target(config)
    except UsageError as error:
        say(HostFailed("usage", str(error)))
        return 2
    try:
        await target.start(config.services)
    except Exception as error:  # noqa: BLE001 - whatever a target raises at start is its answer
        traceback.print_exception(error)
        say(HostFailed("start", f"{type(error).__name__}: {error}"))
        return 3
    host = Host(target, config.services, clock=lambda: time.monotonic() - config.t0)
    servers = [await loop.create_unix_server(lambda: Connection(host), config.socket, backlog=BACKLOG)]
    if config.listen is not None:
        try:
            servers.append(await loop.create_server(lambda: Connection(host), *config.listen, backlog=BACKLOG))
        except OSError as error:
            say(HostFailed("usage", f"cannot listen at {config.listen[0]}:{config.listen[1]}: {error.strerror}"))
            return 2
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(stdin_fd, _Orders(stdin_fd, stop, say, host, target))
    host.tick(loop.time())
    say(HostReady())
    await stop.wait()
    for server in servers:
        server.close()
    await host.stop()
    return 0


class _Orders:
    """What comes on standard input: orders to misbehave, each of which is answered; at last its end, the host's own."""

    def __init__(self, stdin_fd: int, stop: asyncio.Event, say: Say, host: Host, target: Target) -> None:
        self._stdin_fd = stdin_fd
        self._stop = stop
        self._say = say
        self._host = host
        self._target = target
        self._clock = WallClock()
        self._rest = b""

    def __call__(self) -> None:
        """There is something to read."""
        read = os.read(self._stdin_fd, 4096)
        if not read:
            asyncio.get_running_loop().remove_reader(self._stdin_fd)
            self._stop.set()
            return
        *lines, self._rest = (self._rest + read).split(b"\n")
        for line in lines:
            self._say(self._obey(msgspec.json.decode(line, type=Order)))

    def _obey(self, order: Order) -> LoopWasBlocked | Answered:
        match order:
            case BlockLoop():
                began = time.monotonic()
                time.sleep(order.blocked_s)  # in the loop, which is what it is for
                return LoopWasBlocked(time.monotonic() - began)
            case CancelSome():
                return Answered(self._host.cancel_some(order))
            case JumpClock():
                return Answered(int(self._clock.jump(order.by_s, order.lasts_s)))
            case OpenFile():
                return Answered(int(not _may_open()))
            case _:
                assert isinstance(self._target, Disturbable), "checked before the run"
                return Answered(self._target.disturb(order))


def _may_open() -> bool:
    """Whether the kernel grants a further file."""
    try:
        os.close(os.dup(0))
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        return False
    return True


def main() -> None:
    """Entry of the host process."""
    parent = os.getppid()
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the CLI decides what Ctrl-C means
    allow_many_files()
    # A target that prints must not be read as the host's own words: keep the pipe, point stdout at the log.
    words = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    config = msgspec.json.decode(first_line(), type=HostConfig)
    Path(config.socket).unlink(missing_ok=True)
    sys.exit(uvloop.run(serve(config, lambda answer: void(words.write(_encode(answer) + b"\n")), 0)))


def void(_: object) -> None:
    """Drop a value, where a callback must return nothing."""


if __name__ == "__main__":
    main()
