"""What the watching itself costs: psutil sampling of a three-process tree, and the start of the command."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from harness.observation.resources import SAMPLE_S, TreeWatch

LEAF = "b = bytearray(40 * 2**20); b[::4096] = b'x' * len(b[::4096]); print(1, flush=True); input()"
TREE = f"""
import subprocess, sys
start = lambda: subprocess.Popen([sys.executable, "-c", {LEAF!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
leaves = [start(), start()]
for leaf in leaves: leaf.stdout.readline()
print("ready", flush=True)
sys.stdin.read()
for leaf in leaves: leaf.communicate(b"\\n")
"""


def sampling_share(seconds: float) -> float:
    """CPU of the sampling thread as a share of one core, over one stretch at the shipped rate."""
    tree = subprocess.Popen([sys.executable, "-c", TREE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert tree.stdout is not None
        tree.stdout.readline()
        watch = TreeWatch(tree.pid)
        begun, cpu = time.monotonic(), time.thread_time()
        due = begun
        while due < begun + seconds:
            use = watch.sample(due)
            assert use is not None
            assert use.processes == 3
            due += SAMPLE_S
            time.sleep(max(0.0, due - time.monotonic()))
        return (time.thread_time() - cpu) / (time.monotonic() - begun)
    finally:
        tree.communicate()


def help_s() -> float:
    """Wall time of `harness --help`, the interpreter included."""
    begun = time.monotonic()
    subprocess.run([sys.executable, "-m", "harness", "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begun


def main() -> None:
    """Print the two rows."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=float, default=5.0)
    given = arguments.parse_args()
    for name, measure, aim in (
        ("psutil at 10 Hz, three processes, share of a core", lambda: sampling_share(given.seconds), "<= 1 %"),
        ("harness --help, s", help_s, "< 0.3"),
    ):
        values = sorted(measure() for _ in range(given.rounds))
        print(f"{name:55} median {statistics.median(values):.4f}  ({values[0]:.4f}-{values[-1]:.4f})  aim {aim}")


if __name__ == "__main__":
    main()
