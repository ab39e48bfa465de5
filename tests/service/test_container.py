"""Servers in containers, in a real Docker engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import docker
import pytest
from speaking import answers, ask_postgres, redis_of, round_trip

from harness.child import Children
from harness.errors import ServiceUnavailable
from harness.service.container import ContainerServer, described, engine_trouble
from harness.service.listing import rows
from harness.service.service import IMAGES, Pausable, ServiceSettings, provide
from harness.service.sweep import CONTAINER_LABEL

PATIENCE_S = 20.0
IN_CONTAINERS = ServiceSettings(order=("container",))

OWNER = """
import json, sys
from pathlib import Path
from harness.child import Children
from harness.service.service import ServiceSettings, provide
service, run_id, logs = sys.argv[1:]
with Children(run_id, Path(logs)) as children:
    with provide(service, ServiceSettings(order=("container",)), children) as running:
        print(json.dumps(running.url), flush=True)
        sys.stdin.read()
"""

pytestmark = pytest.mark.usefixtures("docker_host")


def containers_of(run_id: str) -> list[str]:
    """Short ids of those that carry the run's label, whatever their state."""
    client = docker.from_env()
    try:
        ours = {"label": f"{CONTAINER_LABEL}={run_id}"}
        # One that goes while it is being listed is gone.
        return [each.short_id for each in client.containers.list(all=True, ignore_removed=True, filters=ours)]
    finally:
        client.close()


@pytest.mark.parametrize("service", ["redis", "postgres"])
def test_a_container_keeps_data_and_is_gone_afterwards(service: str, children: Children) -> None:
    """Bound to loopback, behind a password, labelled with the run; the image and its digest or id are recorded.

    It can be held still, and can be removed while it is.
    """
    with provide(service, IN_CONTAINERS, children) as running:
        assert isinstance(running, ContainerServer)
        round_trip(service, running.url)
        assert len(containers_of(children.run_id)) == 1
        running.container.reload()
        bound = running.container.attrs["NetworkSettings"]["Ports"].values()
        assert [each["HostIp"] for ports in bound if ports for each in ports] == ["127.0.0.1"]
        password = running.url.split(":")[2].split("@")[0]
        assert not answers(service, running.url.replace(password, "wrong"), 5.0)
        assert password not in repr(running)
        assert password not in " ".join(running.container.attrs["Config"]["Cmd"])
        assert running.used.provider == "container"
        assert running.used.detail.startswith(f"{IMAGES[service]} (")
        assert "sha256:" in running.used.detail
        assert isinstance(running, Pausable)
        running.pause()
        assert not answers(service, running.url, 0.5)
        running.resume()
        assert answers(service, running.url, PATIENCE_S)
        running.pause()
    assert containers_of(children.run_id) == []


@pytest.mark.parametrize("service", ["redis", "postgres"])
def test_a_container_goes_with_its_killed_owner(service: str, tmp_path: Path) -> None:
    """The guardian finds it by its label."""
    run_id = f"test-killed-{service}-{os.getpid()}"
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, service, run_id, str(tmp_path / "logs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert owner.stdout is not None
    round_trip(service, json.loads(owner.stdout.readline()))
    assert len(containers_of(run_id)) == 1
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    give_up = time.monotonic() + PATIENCE_S
    while containers_of(run_id) and time.monotonic() < give_up:
        time.sleep(0.05)
    assert containers_of(run_id) == []


def test_durability_is_a_setting(children: Children) -> None:
    """As with the other providers."""
    durable = ServiceSettings(order=("container",), fsync=True)
    with provide("redis", durable, children) as running, redis_of(running.url) as client:
        assert client.info("persistence")["aof_enabled"] == 1
    with provide("postgres", IN_CONTAINERS, children) as running:
        assert ask_postgres(running.url, "show fsync") == "off"


def test_an_engine_that_answers_comes_before_the_embedded_servers(children: Children) -> None:
    """It is what is chosen when no URL was given."""
    chosen = {row.service: row for row in rows(ServiceSettings()) if row.chosen}
    assert {row.provider for row in chosen.values()} == {"container"}
    with provide("redis", ServiceSettings(), children) as running:
        assert running.used.provider == "container"
        assert running.used.passed_over == ("url: none was given (--redis-url or HARNESS_REDIS_URL)",)


def test_an_image_that_cannot_be_had_is_passed_over(children: Children) -> None:
    """An engine without its images, as on a machine without a network, is no server yet."""
    missing = "127.0.0.1:1/no-such-image:1"
    settings = ServiceSettings(order=("container", "embedded"), images={"redis": missing, "postgres": missing})
    with provide("redis", settings, children) as running:
        assert running.used.provider == "embedded"
        assert running.used.passed_over[0].startswith(f"container: image {missing}: ")


def test_an_image_that_is_not_the_service_is_refused_with_its_last_words(children: Children) -> None:
    """It ends at once; nobody waits for a minute."""
    settings = ServiceSettings(order=("container",), images={"postgres": IMAGES["redis"], "redis": IMAGES["redis"]})
    began = time.monotonic()
    with pytest.raises(ServiceUnavailable, match="container"), provide("postgres", settings, children):
        pass
    assert time.monotonic() - began < PATIENCE_S
    assert containers_of(children.run_id) == []


def test_a_container_that_died_cannot_be_held_still(children: Children) -> None:
    """A fault cannot be aimed at what is gone; and its end is no error."""
    with provide("redis", IN_CONTAINERS, children) as running:
        assert isinstance(running, ContainerServer)
        running.container.remove(force=True)
        with pytest.raises(ServiceUnavailable, match="the redis container: "):
            running.pause()


def test_a_registrys_digest_is_recorded() -> None:
    """The images of our own engine have none, so this one is written by hand."""
    pulled = docker.models.images.Image(attrs={"Id": "sha256:1", "RepoDigests": ["redis@sha256:abc"]})
    assert described("redis:7-alpine", pulled) == "redis:7-alpine (redis@sha256:abc)"


def test_an_engine_elsewhere_is_not_used() -> None:
    """Our servers listen on loopback only, and that one's loopback is not ours."""
    reason = engine_trouble({"DOCKER_HOST": "tcp://engine.example:2375"})
    assert reason is not None
    assert "is not on this machine" in reason
