"""Outages come and go on time, whatever else is waited for."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from harness.errors import ServiceUnavailable
from harness.observation.manifest import ServiceUsed
from harness.run.outages import Outages
from harness.scenario.scenario import Outage
from harness.service.process import ProcessServer

WAIT_S = 20.0


@pytest.fixture
def server() -> Iterator[ProcessServer]:
    """A process that can be held still."""
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        used = ServiceUsed(service="redis", provider="program", version="0", address="nowhere")
        yield ProcessServer("", used, first_pid=process.pid)
        process.kill()


def is_still(server: ProcessServer) -> bool:
    return psutil.Process(server.pid).status() == psutil.STATUS_STOPPED


def wait_until(condition: Callable[[], bool]) -> None:
    latest = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < latest, "it did not come about"
        time.sleep(0.01)


def test_an_outage_ends_though_nobody_looks(server: ProcessServer) -> None:
    """Whoever starts a target may be waiting for the very service that is held still."""
    outages = Outages([Outage(service="redis", at=0.0, lasts=0.3)], {"redis": server}, t0=time.monotonic())
    outages.begin(0.0)
    wait_until(lambda: is_still(server))
    wait_until(lambda: not is_still(server))
    outages.look()
    outages.end()


def test_an_outage_is_told_of_while_it_goes_on(server: ProcessServer) -> None:
    """By the name of the service."""
    outages = Outages([Outage(service="redis", at=0.0, lasts=60.0)], {"redis": server}, t0=time.monotonic())
    assert outages.active == ()
    outages.begin(0.0)
    wait_until(lambda: is_still(server))
    assert outages.active == ("redis.outage",)
    outages.end()
    assert outages.active == ()


def test_one_outage_may_follow_the_other_at_once(server: ProcessServer) -> None:
    """The end of the first is not the end of the second."""
    entries = [Outage(service="redis", at=0.0, lasts=0.2), Outage(service="redis", at=0.2, lasts=600.0)]
    t0 = time.monotonic()
    outages = Outages(entries, {"redis": server}, t0=t0)
    outages.begin(0.0)
    wait_until(lambda: time.monotonic() > t0 + 0.5)
    wait_until(lambda: is_still(server))
    outages.end()
    assert not is_still(server)


def test_an_outage_that_cannot_be_made_is_said(server: ProcessServer) -> None:
    """Its server is gone."""
    psutil.Process(server.pid).kill()
    psutil.Process(server.pid).wait(WAIT_S)
    outages = Outages([Outage(service="redis", at=0.0, lasts=600.0)], {"redis": server}, t0=time.monotonic())
    outages.begin(0.0)

    def said() -> bool:
        try:
            outages.look()
        except ServiceUnavailable:
            return True
        return False

    wait_until(said)
    with pytest.raises(ServiceUnavailable, match="gone"):
        outages.end()
    outages.end()  # once is enough
