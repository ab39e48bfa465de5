"""What a CPU worker process runs: burn thread CPU time on command. A script, not imported by anybody.

It reads lines from standard input and imports only what it needs, so that a worker starts in milliseconds and
weighs little beside what it is there to measure. `0.25` burns a quarter of a CPU second and is answered with the
seconds really burnt; `stop` ends the burn under way early (and is ignored when there is none). End of input ends
the process.
"""

from __future__ import annotations

import os
import select
import sys
import time

SLICE_S = 0.001
"""Thread CPU time between two looks at the input."""
PR_SET_PDEATHSIG = 1
SIGKILL = 9


def die_with_parent() -> None:
    """Ask the Linux kernel for a SIGKILL when the parent dies: a burning worker reads no end of input for a while."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)


def burn(cpu_s: float) -> float:
    """Use `cpu_s` seconds of this thread's CPU time, or less if input arrives; returns the seconds used."""
    began = time.thread_time()
    until = began + cpu_s
    while (now := time.thread_time()) < until:
        slice_until = min(until, now + SLICE_S)
        while time.thread_time() < slice_until:
            pass
        if select.select([0], [], [], 0)[0]:
            break
    return time.thread_time() - began


def main() -> None:
    """Serve until the input ends."""
    die_with_parent()
    os.write(1, b"ready\n")
    unread = b""
    while chunk := os.read(0, 4096):
        unread += chunk
        while b"\n" in unread:
            line, unread = unread.split(b"\n", 1)
            if line != b"stop":
                cpu_s = 0.0 if unread.startswith(b"stop\n") else float(line)  # stopped before it began
                os.write(1, b"%.9f\n" % burn(cpu_s))


if __name__ == "__main__":
    main()
