"""Waking up on time."""

from __future__ import annotations

import os
import time

import gevent
import pytest

from harness.load.alarm import Alarm, HubAlarm, TimerAlarm, alarm

KINDS = [HubAlarm] if not hasattr(os, "eventfd") else [HubAlarm, TimerAlarm]


@pytest.mark.parametrize("kind", KINDS)
def test_it_never_wakes_before_its_time(kind: type[Alarm]) -> None:
    """Early would be a start before the schedule; what has passed is not waited for."""
    waking = kind()
    for ahead_s in (0.0003, 0.002, 0.03, -1.0):
        at = time.monotonic() + ahead_s
        waking.sleep_until(at)
        assert time.monotonic() >= at - 1e-3 * (kind is HubAlarm)
    waking.close()


@pytest.mark.parametrize("kind", KINDS)
def test_others_run_meanwhile(kind: type[Alarm]) -> None:
    """Even when the time has passed already."""
    ran: list[str] = []
    waking = kind()
    for ahead_s in (0.02, -1.0):
        gevent.spawn(ran.append, "other")
        waking.sleep_until(time.monotonic() + ahead_s)
    waking.close()
    assert ran == ["other", "other"]


def test_one_that_is_killed_can_be_closed() -> None:
    """Its owner ends a level early; no file stays open."""
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    def wait() -> None:
        waking = alarm()
        try:
            waking.sleep_until(time.monotonic() + 60.0)
        finally:
            waking.close()

    sleeper = gevent.spawn(wait)
    gevent.sleep(0)
    sleeper.kill()
    assert sleeper.ready()
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 2  # the hub's own may have come
