"""Where a real server comes from: `ServiceProvider`, what it starts, and `provide`, which tries one after another.

Nothing here is ever a fake. A server that we start listens on loopback only, behind a password made for it, keeps its
data in a temporary folder, and ends with us even under SIGKILL.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import msgspec

from harness.child import Children
from harness.errors import ServiceUnavailable, UsageError, unknown_name
from harness.observation.manifest import ServiceUsed
from harness.service import PROVIDERS

URL_VARIABLES: Mapping[str, str] = {"redis": "HARNESS_REDIS_URL", "postgres": "DATABASE_URL"}
URL_OPTIONS: Mapping[str, str] = {"redis": "--redis-url", "postgres": "--postgres-url"}
IMAGE_VARIABLES: Mapping[str, str] = {"redis": "HARNESS_REDIS_IMAGE", "postgres": "HARNESS_POSTGRES_IMAGE"}
IMAGES: Mapping[str, str] = {"redis": "redis:7-alpine", "postgres": "postgres:15-alpine"}
ORDER_VARIABLE = "HARNESS_SERVICES"
ORDER = ("url", "container", "embedded", "program")
TITLES: Mapping[str, str] = {"redis": "Redis", "postgres": "PostgreSQL"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """What a person may choose. Everything has a default, so that a machine with nothing set up works."""

    urls: Mapping[str, str] = field(default_factory=dict, repr=False)  # service -> URL, with credentials
    images: Mapping[str, str] = field(default_factory=lambda: dict(IMAGES))  # service -> image and tag
    order: tuple[str, ...] = ORDER  # one name pins that provider
    fsync: bool = False  # PostgreSQL waits for the disk, and Redis for its append-only file
    namespace: str = "harness"  # of this run, in a server that was given: its own key prefix and schema


def settings_from(
    environ: Mapping[str, str] | None = None,
    *,
    redis_url: str | None = None,
    postgres_url: str | None = None,
    fsync: bool = False,
    namespace: str = "harness",
) -> ServiceSettings:
    """Settings from the command line's options, and from the environment where an option is not given.

    Raises UsageError when the environment pins a provider nobody knows.
    """
    environ = os.environ if environ is None else environ
    options = {"redis": redis_url, "postgres": postgres_url}
    urls = {service: options[service] or environ.get(URL_VARIABLES[service]) for service in PROVIDERS}
    order = tuple(word.strip() for word in environ.get(ORDER_VARIABLE, "").split(",") if word.strip()) or ORDER
    mistakes = [f"{ORDER_VARIABLE}: {unknown_name('provider', name, ORDER)}" for name in order if name not in ORDER]
    if mistakes:
        raise UsageError(mistakes)
    return ServiceSettings(
        urls={service: url for service, url in urls.items() if url},
        images={service: environ.get(IMAGE_VARIABLES[service]) or IMAGES[service] for service in PROVIDERS},
        order=order,
        fsync=fsync,
        namespace=namespace,
    )


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers. `url` holds credentials; `used` never does."""

    url: str = field(repr=False)
    used: ServiceUsed


@runtime_checkable
class Pausable(Protocol):
    """Optional power of a running server, one of our own: it can be held still, with every connection open."""

    def pause(self) -> None:
        """Stop every process of it (SIGSTOP), or the container."""

    def resume(self) -> None:
        """Go on."""


@runtime_checkable
class Mortal(Protocol):
    """Optional power of a running server, one of our own: telling that it is gone."""

    def died(self) -> str | None:
        """Why nothing can answer any more; None while it lives."""


class ServiceProvider(Protocol):
    """One way to a server of one service. Built with `ServiceSettings`."""

    name: str

    def available(self) -> str | None:
        """None when it may be tried, or why not. Quick, and starts nothing."""

    def start(self, children: Children) -> AbstractContextManager[Running]:
        """A server that answers, ended when the context is left. Raises ServiceUnavailable."""


def provider(service: str, name: str, settings: ServiceSettings) -> ServiceProvider:
    """The provider of this name. Raises UsageError when there is none."""
    if service not in PROVIDERS:
        raise UsageError(unknown_name("service", service, PROVIDERS))
    if name not in PROVIDERS[service]:
        raise UsageError(unknown_name(f"provider of {service}", name, PROVIDERS[service]))
    module, _, attribute = PROVIDERS[service][name].partition(":")
    found: ServiceProvider = getattr(importlib.import_module(module), attribute)(settings)
    return found


@contextmanager
def provide(service: str, settings: ServiceSettings, children: Children) -> Iterator[Running]:
    """A real server of `service`, from the first provider that works; the ones passed over are in its `used`.

    A URL that was given and does not work is an error at once: falling through would measure another server than
    the one that was asked for. Raises ServiceUnavailable, naming every way and why it is not one.

    Blocking; to be called where no asyncio loop runs.
    """
    passed_over: list[str] = []
    for name in settings.order:
        one = provider(service, name, settings)
        reason = one.available()
        if reason is None:
            with ExitStack() as stack:
                try:
                    running = stack.enter_context(one.start(children))
                except ServiceUnavailable as error:
                    if name == "url":
                        given = f"{URL_OPTIONS[service]} or {URL_VARIABLES[service]}"
                        raise ServiceUnavailable(f"the {TITLES[service]} that was given ({given}): {error}") from None
                    reason = str(error)
                else:
                    used = msgspec.structs.replace(running.used, passed_over=tuple(passed_over))
                    yield replace(running, used=used)
                    return
        passed_over.append(f"{name}: {reason}")
    raise ServiceUnavailable(refusal(service, settings, passed_over))


def refusal(service: str, settings: ServiceSettings, passed_over: list[str]) -> str:
    """What to tell a person whose machine has no such server: every way, and why it is not one here."""
    pinned = "" if settings.order == ORDER else f" ({ORDER_VARIABLE} or the settings allow only these ways)"
    return "\n".join(
        [f"no real {TITLES[service]} server could be had{pinned}:", *(f"  {reason}" for reason in passed_over)]
    )
