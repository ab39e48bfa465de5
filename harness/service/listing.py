"""What `harness services` prints: every way to a real server, whether it is one here, and which would be taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from harness.service import PROVIDERS
from harness.service.service import TITLES, ServiceSettings, provider, settings_from

TAKEN = "<- would be used"


@dataclass(frozen=True, slots=True)
class Row:
    """One way to a server of one service."""

    service: str
    provider: str
    available: bool
    words: str  # the version where that is cheap to know, or why not
    chosen: bool


@runtime_checkable
class Versioned(Protocol):
    """Optional power of a provider: telling the version without starting the server."""

    def version(self) -> str:
        """Such as "PostgreSQL 15.18"; empty when it cannot be told."""


def rows(settings: ServiceSettings) -> Iterator[Row]:
    """Every provider of every service, in the order they are tried; the ones that were not allowed come last."""
    for service, known in PROVIDERS.items():
        chosen = False
        for name in (*settings.order, *(name for name in known if name not in settings.order)):
            one = provider(service, name, settings)
            reason = one.available()
            words = reason if reason is not None else one.version() if isinstance(one, Versioned) else ""
            first = reason is None and not chosen and name in settings.order
            chosen = chosen or first
            yield Row(service, name, reason is None, words, first)


def service_rows(settings: ServiceSettings | None = None) -> list[str]:
    """The lines to print; by default for what the environment says. Raises UsageError when that is wrong."""
    return [
        f"{TITLES[row.service]:11}{row.provider:10} {'yes' if row.available else 'no':4} {row.words}"
        + (f"  {TAKEN}" if row.chosen else "")
        for row in rows(settings or settings_from())
    ]
