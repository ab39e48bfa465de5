"""A server that somebody gave us the URL of. We use only our own namespace of it, and remove that at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.child import Children
from harness.errors import ServiceUnavailable, UsageError
from harness.observation.manifest import ServiceUsed
from harness.service.address import parse
from harness.service.asking import asyncpg_missing, version_of
from harness.service.service import URL_OPTIONS, URL_VARIABLES, Running, ServiceSettings


class _Given:
    """What both services share."""

    name = "url"
    service: str

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings

    def available(self) -> str | None:
        """A URL was given. Whether it works is seen at the start, and is an error then."""
        if self._settings.urls.get(self.service):
            return None
        return f"none was given ({URL_OPTIONS[self.service]} or {URL_VARIABLES[self.service]})"

    def version(self) -> str:
        """Asked of the server."""
        try:
            url, address = parse(self.service, self._settings.urls[self.service], self._where())
            return version_of(self.service, url, address)
        except (UsageError, ServiceUnavailable) as error:
            return f"does not work: {error}"

    @contextmanager
    def start(self, children: Children) -> Iterator[Running]:
        """The server as it is. Raises UsageError when that is no such URL, ServiceUnavailable when it does not work."""
        url, address = parse(self.service, self._settings.urls[self.service], self._where())
        if self.service == "postgres" and (missing := asyncpg_missing()):
            raise ServiceUnavailable(missing)
        version = version_of(self.service, url, address)
        namespace = self._settings.namespace
        children.register_removal(
            f"the namespace {namespace!r} (what begins with it) in the {self.service} at {address}",
            f"harness.service.sweep:sweep_{self.service}",
            url=url,
            namespace=namespace,
        )
        yield Running(url, ServiceUsed(service=self.service, provider=self.name, version=version, address=str(address)))

    def _where(self) -> str:
        return f"{URL_OPTIONS[self.service]} (or {URL_VARIABLES[self.service]})"


class GivenRedis(_Given):
    """A Redis or Valkey by its URL."""

    service = "redis"


class GivenPostgres(_Given):
    """A PostgreSQL by its URL."""

    service = "postgres"
