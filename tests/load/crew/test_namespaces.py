"""Workers on other hosts: network namespaces that the test makes, each with an address of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from harness.load.control import Waiting
from harness.observation.ids import ordinal_of
from harness.observation.observation import LoadWorker, Outcome
from harness.run.crew import free_port
from harness.scenario.scenario import Load

HOSTS = 2

pytestmark = [
    pytest.mark.skipif(shutil.which("ip") is None, reason="network namespaces need the `ip` command (iproute2)"),
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts() -> Iterator[list[tuple[str, str]]]:
    """Namespaces, each with the address at which it reaches this one."""
    tag, second = secrets.token_hex(2), 1 + secrets.randbelow(200)
    made: list[tuple[str, str]] = []
    try:
        for n in range(HOSTS):
            name, link, net = f"h{tag}{n}", f"v{tag}{n}", f"10.{second}.{n}"
            ip("netns", "add", name)
            made.append((name, f"{net}.1"))
            ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("addr", "add", f"{net}.1/24", "dev", link)
            ip("link", "set", link, "up")
            ip("-n", name, "addr", "add", f"{net}.2/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "route", "add", "default", "via", f"{net}.1")
        yield made
    finally:
        for name, _ in made:
            ip("netns", "del", name)


def test_a_worker_on_each_of_two_hosts_drives_one_target_and_nothing_is_lost(
    bench: Any, crew: Any, hosts: list[tuple[str, str]]
) -> None:
    """They find master and target at an address, as they share no file with them."""
    listen = hosts[0][1]
    port = free_port(listen)
    peer = bench.peer(host=listen, port=port, median_s=0.02)
    bench.write(Load(open=(100.0,), warmup=0.0, measure=1.0, drain=5.0))
    several = crew(0, joining=HOSTS, host=listen, port=port)
    several.master.wait_for(lambda report: isinstance(report, Waiting))
    for name, _ in hosts:
        several.join(1, prefix=("ip", "netns", "exec", name), ours=False)
    driven = several.finish()
    truth = peer.end()
    assert {each.id for each in driven.observations} == set(truth["ran"])
    assert {each.outcome for each in driven.observations} == {Outcome.OK}
    assert driven.done.arrivals == len(driven.observations) > 60
    assert {ordinal_of(each.id) % HOSTS for each in driven.observations} == {0, 1}
    members = driven.of(LoadWorker)
    assert [each.lost for each in members] == ["", ""]
    assert all(abs(each.offset_s) <= each.offset_error_s for each in members), "they share this machine's clock"
