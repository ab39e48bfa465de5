"""`harness proxy`: the fault proxy alone, for anyone's system, told what to break by Toxiproxy's API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.terminal import progress_console, signals

if TYPE_CHECKING:
    from harness.fault.proxy.config import ProxyConfig, Upstream


@click.command()
@click.argument("upstreams", nargs=-1, metavar="NAME=HOST:PORT…")
@click.option("--api", default="127.0.0.1:8474", show_default=True, metavar="HOST:PORT", help="Port 0: any free one.")
@click.option("--listen", multiple=True, metavar="NAME=HOST:PORT", help="Where a proxy listens; else on any free port.")
@click.option("--protocol", multiple=True, metavar="NAME=PROTOCOL", help="tcp (else), redis, postgres or http.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=1, show_default=True, help="Of every draw.")
@click.option("--journal", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write firings down.")
@click.option("--allow-remote", is_flag=True, help="Let upstreams be on other machines; it listens here in any case.")
def proxy(
    upstreams: tuple[str, ...],
    api: str,
    listen: tuple[str, ...],
    protocol: tuple[str, ...],
    seed: int,
    journal: Path | None,
    allow_remote: bool,
) -> None:
    """Stand between clients and servers and break things when told to; Ctrl-C ends it, and every fault.

    Point clients at the printed addresses, and any of Toxiproxy's own clients at the API.
    """
    import secrets
    import tempfile
    import time

    from harness.child import Children
    from harness.errors import HarnessError
    from harness.fault.proxy.config import ProxyConfig
    from harness.fault.proxy.process import proxy_process
    from harness.run.listening import Interrupt

    config = ProxyConfig(
        proxies=_declared(upstreams, listen, protocol),
        seed=seed,
        t0=time.monotonic(),
        journal=str(journal.resolve()) if journal else "",
        api=api,
        allow_remote=allow_remote,
    )
    interrupt = Interrupt()
    with (
        tempfile.TemporaryDirectory(prefix="harness-proxy-") as logs,
        signals(interrupt, progress_console()),
        Children(f"proxy-{secrets.token_hex(4)}", Path(logs)) as children,
        proxy_process(children, config) as serving,
    ):
        for line in _told(config, serving.api, dict(serving.addresses)):
            click.echo(line)
        while not interrupt.asked.wait(0.2):
            if (why := serving.died()) is not None:
                raise HarnessError(why)


def _declared(upstreams: Sequence[str], listen: Sequence[str], protocol: Sequence[str]) -> tuple[Upstream, ...]:
    """Raises UsageError with every mistake."""
    from harness.errors import UsageError, unknown_name
    from harness.fault.proxy.config import PROTOCOLS, Upstream

    mistakes: list[str] = []

    def pairs(option: str, words: Sequence[str]) -> Iterator[tuple[str, str]]:
        for word in words:
            name, _, value = word.partition("=")
            if not name or not value:
                mistakes.append(f"{option}{word!r} is not NAME={'PROTOCOL' if 'protocol' in option else 'HOST:PORT'}")
            elif option and name not in behind:
                mistakes.append(f"{option}{word}: {unknown_name('the proxy', name, behind)}")
            else:
                yield name, value

    behind: dict[str, str] = {}
    for name, upstream in pairs("", upstreams):
        if name in behind:
            mistakes.append(f"{name}={upstream}: there is a proxy of that name already")
        behind[name] = upstream
    listens, spoken = dict(pairs("--listen ", listen)), dict(pairs("--protocol ", protocol))
    for name, value in spoken.items():
        if value not in PROTOCOLS:
            mistakes.append(f"--protocol {name}={value}: {unknown_name('the protocol', value, PROTOCOLS)}")
    if mistakes:
        raise UsageError(mistakes)
    return tuple(
        Upstream(
            name=name,
            upstream=upstream,
            listen=listens.get(name, "127.0.0.1:0"),
            protocol=spoken.get(name, "tcp"),  # type: ignore[arg-type]  # checked above
        )
        for name, upstream in behind.items()
    )


def _told(config: ProxyConfig, api: str, addresses: dict[str, str]) -> Iterator[str]:
    yield f"API {api}"
    width = max(map(len, addresses), default=0)
    for each in config.proxies:
        yield f"{each.name:{width}}  {addresses[each.name]} -> {each.upstream} ({each.protocol})"
