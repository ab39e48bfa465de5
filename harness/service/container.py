"""Servers in containers, by testcontainers: pinned images, bound to loopback, labelled with the run's id.

testcontainers' own reaper is off: it is a container that wants the engine's socket and an image of its own, and what
it does the run's guardian does.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from harness.child import Children
from harness.errors import ServiceUnavailable
from harness.observation.manifest import ServiceUsed
from harness.service.address import LOOPBACK, PORTS, Address, build_url, new_password
from harness.service.asking import asyncpg_missing, wait_until_up
from harness.service.service import Running, ServiceSettings
from harness.service.sweep import CONTAINER_LABEL

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

ENGINE_ANSWER_S = 3.0
REQUEST_S = 60.0  # of silence, while an image is pulled
UP_S = 30.0
DATABASE = "harness"


@dataclass(frozen=True, slots=True)
class ContainerServer(Running):
    """A server in a container; it can be held still."""

    container: Any = field(default=None, repr=False, kw_only=True)  # docker's own type, which has no stubs

    def pause(self) -> None:
        """Freeze every process in it. Raises ServiceUnavailable when it is gone."""
        self._tell(self.container.pause)

    def resume(self) -> None:
        """Go on."""
        self._tell(self.container.unpause)

    def _tell(self, order: Callable[[], object]) -> None:
        import docker  # type: ignore[import-untyped]

        try:
            order()
        except (docker.errors.DockerException, OSError) as error:
            raise ServiceUnavailable(f"the {self.used.service} container: {_first_line(error)}") from None


class _Container:
    """What both services share."""

    name = "container"
    service: str

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings

    def available(self) -> str | None:
        """A Docker engine on this machine answers within seconds."""
        missing = [module for module in ("docker", "testcontainers") if importlib.util.find_spec(module) is None]
        return f"{missing[0]!r} is not installed" if missing else engine_trouble() or self._client_trouble()

    def version(self) -> str:
        """Not known before it runs; the image is."""
        return f"image {self._settings.images[self.service]}"

    @contextmanager
    def start(self, children: Children) -> Iterator[Running]:
        """Run it until the context is left."""
        import docker
        from testcontainers.core.config import testcontainers_config
        from testcontainers.core.container import DockerContainer

        testcontainers_config.ryuk_disabled = True
        image, password = self._settings.images[self.service], new_password()
        port = PORTS[self.service]
        with contextlib.ExitStack() as stack:
            try:
                container = DockerContainer(image, docker_client_kw={"timeout": round(REQUEST_S)})
                stack.callback(_stop, container)
                children.register_removal(
                    "the run's containers",
                    "harness.service.sweep:remove_containers",
                    host=os.environ.get("DOCKER_HOST", ""),  # testcontainers puts there what it found
                    label=CONTAINER_LABEL,
                    run_id=children.run_id,
                )
                container.with_kwargs(labels={CONTAINER_LABEL: children.run_id})
                # The engine takes a pair here, and picks the port; the type knows ports on all interfaces only.
                container.ports[f"{port}/tcp"] = cast(int, (LOOPBACK, None))
                self._configure(container, password)
                detail = described(image, had(container.get_docker_client().client, container.image))
                container.start()
                wrapped = container.get_wrapped_container()
                address = Address(LOOPBACK, _port_of(wrapped, port))
            except (docker.errors.DockerException, OSError) as error:
                raise ServiceUnavailable(f"image {image}: {_first_line(error)}") from None
            url = self._url(password, address.port)
            version = wait_until_up(self.service, url, address, UP_S, died=lambda: last_words(wrapped))
            used = ServiceUsed(
                service=self.service, provider=self.name, version=version, address=str(address), detail=detail
            )
            yield ContainerServer(url, used, container=wrapped)

    def _client_trouble(self) -> str | None:
        return None

    def _configure(self, container: DockerContainer, password: str) -> None:
        raise NotImplementedError

    def _url(self, password: str, port: int) -> str:
        raise NotImplementedError


class RedisContainer(_Container):
    """The image `redis:7-alpine`, or the one that was named."""

    service = "redis"

    def _configure(self, container: DockerContainer, password: str) -> None:
        durable = "yes" if self._settings.fsync else "no"
        container.with_env("HARNESS_PASSWORD", password)  # not on a command line, which anybody may read
        words = ["requirepass $HARNESS_PASSWORD", "save ''", f"appendonly {durable}", "appendfsync always", "bind *"]
        echoed = "; ".join(f'echo "{word}"' for word in words)
        container.with_command(["sh", "-c", f"({echoed}) | redis-server -"])

    def _url(self, password: str, port: int) -> str:
        return build_url("redis", password, port, path="0")


class PostgresContainer(_Container):
    """The image `postgres:15-alpine`, or the one that was named."""

    service = "postgres"

    def _client_trouble(self) -> str | None:
        return asyncpg_missing()

    def _configure(self, container: DockerContainer, password: str) -> None:
        container.with_envs(POSTGRES_USER=DATABASE, POSTGRES_DB=DATABASE, POSTGRES_PASSWORD=password)
        chosen = {"max_connections": "200"}
        if not self._settings.fsync:
            chosen |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        container.with_command([word for key, value in chosen.items() for word in ("-c", f"{key}={value}")])

    def _url(self, password: str, port: int) -> str:
        return build_url("postgresql", password, port, user=DATABASE, path=DATABASE)


def engine_trouble(environ: Mapping[str, str] | None = None) -> str | None:
    """Why no Docker engine on this machine can be used, or None."""
    environ = os.environ if environ is None else environ
    host = environ.get("DOCKER_HOST", "")
    scheme = urlsplit(host).scheme
    if scheme in {"tcp", "ssh", "http", "https"} and urlsplit(host).hostname not in {"localhost", LOOPBACK, "::1"}:
        return f"the Docker engine (DOCKER_HOST={scheme}://…) is not on this machine, and services listen on loopback"
    if not host and not _socket_somewhere(environ):
        return "no Docker engine answers: DOCKER_HOST is not set and there is no Docker socket"
    import docker
    from testcontainers.core.docker_client import DockerClient as FindingClient

    try:
        client = FindingClient(timeout=ENGINE_ANSWER_S).client
    except (docker.errors.DockerException, OSError, ValueError) as error:
        return f"no Docker engine answers: {_first_line(error)}"
    try:
        client.ping()
    except (docker.errors.DockerException, OSError) as error:
        return f"no Docker engine answers: {_first_line(error)}"
    finally:
        client.close()
    return None


def _socket_somewhere(environ: Mapping[str, str]) -> bool:
    """Where an engine's socket usually is; without one there is no use in loading a Docker client to ask."""
    home = Path(environ.get("HOME", "/"))
    sockets = [Path("/var/run/docker.sock"), home / ".docker/run/docker.sock", home / ".docker/desktop/docker.sock"]
    sockets += [home / ".docker/config.json", home / ".testcontainers.properties"]  # may name a socket elsewhere
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        sockets.append(Path(runtime) / "docker.sock")
    return any(path.exists() for path in sockets)


def had(client: Any, image: str) -> Any:
    """The image, pulled when the engine has none of this name."""
    import docker

    try:
        return client.images.get(image)
    except docker.errors.ImageNotFound:
        return client.images.pull(image)


def described(name: str, image: Any) -> str:
    """Its name, and the digest that a registry gave it; an image made here has only an id."""
    digests: list[str] = image.attrs.get("RepoDigests") or []
    return f"{name} ({digests[0]})" if digests else f"{name} (no digest; image id {image.id})"


def last_words(container: Any) -> str | None:
    """What a container that ended said last; None while it runs."""
    container.reload()
    if container.status in {"created", "running"}:
        return None
    text = container.logs(tail=8).decode(errors="replace").rstrip()
    return f"the container ended ({container.status}):\n{text}" if text else f"the container ended ({container.status})"


def _port_of(container: Any, port: int) -> int:
    """The port of loopback that the engine picked for it."""
    container.reload()
    bound = container.ports.get(f"{port}/tcp") or []
    if not bound:
        raise ServiceUnavailable(last_words(container) or f"the engine bound no port of loopback to its port {port}")
    return int(bound[0]["HostPort"])


def _stop(container: DockerContainer) -> None:
    """Remove it. What an engine that is gone cannot do, the guardian tries again, and reports."""
    import docker

    with contextlib.suppress(docker.errors.DockerException, OSError):
        container.stop()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
