"""Waking up on time. gevent's timers end with epoll_wait's millisecond; the kernel's own do not (timerfd_create(2))."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

import gevent

_TFD_NONBLOCK, _TFD_CLOEXEC, _TFD_TIMER_ABSTIME = os.O_NONBLOCK, getattr(os, "O_CLOEXEC", 0), 1
_CLOCK_MONOTONIC = getattr(time, "CLOCK_MONOTONIC", 1)


class Alarm(Protocol):
    """Wakes one greenlet, again and again."""

    def sleep_until(self, at: float) -> None:
        """Until `time.monotonic()` is `at`, or a little later; at once when it has passed."""

    def close(self) -> None:
        """Not to be used again."""


class HubAlarm:
    """gevent's own timer: to the millisecond."""

    def sleep_until(self, at: float) -> None:
        gevent.sleep(max(0.0, at - time.monotonic()))

    def close(self) -> None:
        """There is nothing to release."""


class _Spec(ctypes.Structure):
    """struct itimerspec."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class TimerAlarm:
    """A timer of the kernel's, as a file that becomes readable. Raises OSError where none can be had."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._settime: Callable[..., int] = libc.timerfd_settime
        self._fd = libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._hub: Any = gevent.get_hub()
        self._watcher: Any = self._hub.loop.io(self._fd, 1)

    def sleep_until(self, at: float) -> None:
        if at <= time.monotonic():
            gevent.sleep(0)  # others have their turn
            return
        seconds = int(at)
        spec = _Spec(0, 0, seconds, max(1, int((at - seconds) * 1e9)))
        if self._settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        self._hub.wait(self._watcher)
        os.read(self._fd, 8)

    def close(self) -> None:
        self._watcher.stop()
        self._watcher.close()
        os.close(self._fd)


def alarm() -> Alarm:
    """The best that there is here."""
    if sys.platform.startswith("linux"):
        try:
            return TimerAlarm()
        except (OSError, AttributeError):  # a kernel or a C library without it
            return HubAlarm()
    return HubAlarm()
