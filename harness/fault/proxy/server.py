"""The proxy process: `python -m harness.fault.proxy.server`.

It reads a ProxyConfig line from standard input, says `ready` (or why not) as one JSON line on standard output, and
serves until its standard input ends, which is also how it learns that whoever started it died. All faults end with it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable

import msgspec

from harness.child import allow_many_files, die_with_parent, first_line
from harness.fault.proxy.address import bound, parsed, shown
from harness.fault.proxy.api import Api
from harness.fault.proxy.config import ProxyConfig, ProxyFailed, ProxyLine, ProxyReady
from harness.fault.proxy.http import HEAD_BYTES_MAX, serve_connection
from harness.fault.proxy.journal import Journal
from harness.fault.proxy.proxies import Proxies
from harness.fault.proxy.refusal import Refusal

FAILED_EXIT = 5
BACKLOG = 128

Say = Callable[[ProxyLine], None]


async def serve(config: ProxyConfig, say: Say, stdin_fd: int) -> int:
    """Serve until standard input ends, SIGTERM, or the disk refuses. Returns the exit code."""
    loop = asyncio.get_running_loop()
    try:
        journal = Journal(config.journal, config.t0)
    except OSError as error:
        say(ProxyFailed(f"cannot write the journal {config.journal}: {error.strerror}"))
        return FAILED_EXIT
    try:
        listener = bound(parsed(config.api, is_listener=True))
        proxies = Proxies(config, journal)
    except Refusal as refusal:
        say(ProxyFailed(str(refusal), usage=True))
        return 2
    stop = asyncio.Event()
    journal.failed.add_done_callback(lambda _: stop.set())
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(stdin_fd, _Input(stdin_fd, stop))
    server = await _serve_api(Api(proxies), listener)
    listening = {proxy.name: shown(proxy.listen) for proxy in proxies}
    say(ProxyReady(f"http://{shown(listener.getsockname()[:2])}", listening))
    await stop.wait()
    server.close()
    proxies.close()
    journal.close()
    if journal.failed.done():
        say(ProxyFailed(journal.failed.result()))
        return FAILED_EXIT
    return 0


async def _serve_api(api: Api, listener: socket.socket) -> asyncio.Server:
    return await asyncio.start_server(
        lambda reader, writer: serve_connection(reader, writer, api.answer),
        sock=listener,
        limit=HEAD_BYTES_MAX,
        backlog=BACKLOG,
    )


class _Input:
    """Standard input after the first line: only its end says something."""

    def __init__(self, fd: int, stop: asyncio.Event) -> None:
        self._fd = fd
        self._stop = stop

    def __call__(self) -> None:
        if not os.read(self._fd, 4096):
            asyncio.get_running_loop().remove_reader(self._fd)
            self._stop.set()


def main() -> None:
    """Entry of the process."""
    die_with_parent(os.getppid())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the CLI decides what Ctrl-C means
    allow_many_files()
    import uvloop

    sys.exit(uvloop.run(serve(msgspec.json.decode(first_line(), type=ProxyConfig), _say, 0)))


def _say(words: ProxyLine) -> None:
    os.write(1, msgspec.json.encode(words) + b"\n")


if __name__ == "__main__":
    main()
