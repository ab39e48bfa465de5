"""The proxies in front of a level's services: there when a fault asks for them, and by their way only then."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from harness.child import Children
from harness.errors import UsageError
from harness.fault import FAULTS
from harness.run.listening import Interrupt, Silent
from harness.run.plan import Options, prepare
from harness.run.proxying import Proxies, proxied_services, proxies
from harness.run.run import execute
from harness.scenario.faults import planned_faults
from harness.statistics.summary import summarise
from harness.target.target import Services

WAIT_S = 20.0
SCENARIO = """
name = "broken"
description = "The way to Redis is broken in three manners, one after the other."
[load]
closed = [2]
warmup = "100 ms"
measure = "3 s"
[state]
store = "redis"
[[workflow]]
kind = "job"
steps = [{ name = "only", agent = "data" }]
[agent.data]
work = { wait = "5 ms", effect = true }
[[fault]]
kind = "redis.slow"
at = "300 ms"
for = "500 ms"
latency = "20 ms"
[[fault]]
kind = "redis.lose_reply"
at = "1 s"
for = "500 ms"
share = "20 %"
[[fault]]
kind = "redis.refuse"
at = "2 s"
for = "300 ms"
"""


def test_services_are_reached_by_way_of_their_proxies() -> None:
    """Credentials and paths stay; a service without a proxy is reached as before."""
    services = Services(redis_url="redis://:secret@127.0.0.1:6379/0", postgres_url="postgresql://u:p@127.0.0.1:5432/db")
    changed = Proxies({"redis": "127.0.0.1:999"}).before(services)
    assert changed.redis_url == "redis://:secret@127.0.0.1:999/0"
    assert changed.postgres_url == services.postgres_url
    assert Proxies().before(services) == services


def test_only_what_a_fault_reaches_on_its_way_is_proxied() -> None:
    """A fault by a server's own means needs none."""
    tables = ({"kind": "redis.pause_writes", "for": "1 s"}, {"kind": "postgres.black_hole", "for": "1 s"})
    assert proxied_services(planned_faults(tables, FAULTS)) == ["postgres"]


def test_a_proxy_that_died_is_said(tmp_path: Path) -> None:
    """Whoever lost every service of that would be taken for broken."""
    services = Services(redis_url="redis://127.0.0.1:9/0")
    with (
        Children("proxying-tests", tmp_path / "logs") as children,
        proxies(children, services, ["redis"], name="proxy", seed=1, t0=0.0, run_dir=tmp_path) as way,
    ):
        assert way.died() is None
        assert way.process is not None
        os.kill(way.process.pid, signal.SIGKILL)
        latest = time.monotonic() + WAIT_S
        while (why := way.died()) is None:
            assert time.monotonic() < latest
            time.sleep(0.01)
        assert why.startswith("the fault proxy ended (exit -9)")


def test_a_proxy_that_cannot_be_had_is_said(tmp_path: Path) -> None:
    """With its own words: it breaks nothing of other machines."""
    services = Services(redis_url="redis://192.0.2.1:6379/0")
    with (
        Children("proxying-tests", tmp_path / "logs") as children,
        pytest.raises(UsageError, match=r"192\.0\.2\.1"),
        proxies(children, services, ["redis"], name="proxy", seed=1, t0=0.0, run_dir=tmp_path),
    ):
        pass


def test_a_run_goes_by_way_of_the_proxy(tmp_path: Path) -> None:
    """Every fault bites, is lifted, and nothing is lost or done twice."""
    (tmp_path / "broken.toml").write_text(SCENARIO)
    run_dir = execute(prepare(tmp_path / "broken.toml", Options(reports=tmp_path), ""), Silent(), Interrupt())
    [level] = summarise(run_dir).levels
    assert level.status == "complete", level.message
    assert level.not_fired == ()
    assert all(fault.bites > 0 and fault.lifted is not None for fault in level.faults)
    for never in ("lost", "dup_effects", "effects_missing", "corrupted"):
        assert level.metric(never).value == 0
    success = level.metric("success").value
    assert success is not None
    assert success > 0.95
    assert (run_dir / "proxies.jsonl").stat().st_size > 0
