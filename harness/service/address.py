"""Addresses of servers: what a URL says, what of it may be shown, and free ports of our own."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit, urlunsplit

from harness.errors import UsageError

LOOPBACK = "127.0.0.1"
SCHEMES: Mapping[str, tuple[str, ...]] = {"redis": ("redis", "rediss"), "postgres": ("postgresql", "postgres")}
PORTS: Mapping[str, int] = {"redis": 6379, "postgres": 5432}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a URL points."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(service: str, url: str, where: str) -> tuple[str, Address]:
    """The URL as our clients take it, and its address. Raises UsageError, whose words begin with `where`."""
    example = f"{SCHEMES[service][0]}://user:password@host:{PORTS[service]}/…"
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise UsageError(f"{where} cannot be read as a URL; it looks like {example}") from None
    scheme = parts.scheme.partition("+")[0]  # postgresql+asyncpg and the like are SQLAlchemy's
    if scheme not in SCHEMES[service]:
        raise UsageError(f"{where} begins with {parts.scheme or 'no scheme'}://; it should look like {example}")
    if not parts.hostname:
        raise UsageError(f"{where} names no host; it should look like {example}")
    return urlunsplit(parts._replace(scheme=scheme)), Address(parts.hostname, port or PORTS[service])


def redacted(url: str) -> str:
    """The URL without user, password and query: what may be printed and written."""
    parts = _split(url)
    if parts is None or "@" in parts.path:  # a password with a slash in it spills into the path
        return "(a URL that cannot be read)"
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def scrubbed(text: str, url: str) -> str:
    """`text`, in which the URL, its user and its password are replaced."""
    parts = _split(url)
    secret = {url}
    if parts is not None:
        secret |= {parts.netloc.rpartition("@")[0], parts.password or "", unquote(parts.password or "")}
        secret |= {parts.username or "", unquote(parts.username or ""), parts.query}
        secret |= {value for key, value in parse_qsl(parts.query) if key in {"user", "username", "password"}}
    for word in sorted(filter(None, secret), key=len, reverse=True):
        text = text.replace(word, "***")
    return text


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def free_port() -> int:
    """A port of the loopback interface that was free a moment ago; who binds it must be ready to ask again."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def new_password() -> str:
    """Fit for a URL, a configuration line and SQL without quoting."""
    return secrets.token_hex(16)


def build_url(scheme: str, password: str, port: int, *, user: str = "", path: str = "") -> str:
    """The URL of a server of our own."""
    return f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{LOOPBACK}:{port}/{path}"
