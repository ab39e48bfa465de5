"""What a proxy process is told and says: JSON lines on its standard input and output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import msgspec

Protocol = Literal["tcp", "redis", "postgres", "http"]
PROTOCOLS: tuple[str, ...] = get_args(Protocol)


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """One proxy: where it listens, and what is behind it."""

    name: str
    upstream: str  # host:port
    listen: str = "127.0.0.1:0"  # port 0: any free one
    protocol: Protocol = "tcp"  # what is spoken there; toxics that know requests need to know


class ProxyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The first line on standard input."""

    proxies: tuple[Upstream, ...] = ()
    seed: int = 1
    t0: float = 0.0  # the run's zero on the monotonic clock
    journal: str = ""  # path, appended to; "": nothing is written down
    api: str = "127.0.0.1:0"
    allow_remote: bool = False  # upstreams may be on other machines


class ProxyReady(msgspec.Struct, tag_field="type", tag="ready", frozen=True):
    """The first line on standard output: URL of the API, without a path; and each proxy's host:port by its name."""

    api: str
    proxies: Mapping[str, str]


class ProxyFailed(msgspec.Struct, tag_field="type", tag="failed", frozen=True):
    """It cannot serve, or cannot go on; the message says why. Mistakes of the person who asked are `usage`."""

    message: str
    usage: bool = False


ProxyLine = ProxyReady | ProxyFailed


class Firing(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the journal: one toxic acted, or was about to. At most one a connection, unless it goes by request."""

    at: float  # s from t0
    proxy: str
    toxic: str
    type: str
    connection: int  # ordinal of the proxy's connections, from 1; 0: of none
    request: int  # ordinal of the connection's requests, from 1; 0: of none
    what: str
