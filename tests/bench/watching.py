"""What the live page and the metrics cost the command's own process: CPU in runs of 25, watched and not, in turn."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import psutil

RUN = ["concurrent_workflows", "--level", "25", "--warmup", "1 s"]
STARTED = "level 25 (1 of 1): started"
SETTLED_S = 2.0


def read_page(address: str) -> None:
    """As a browser does, until the run is over."""
    with urllib.request.urlopen(f"{address}events") as events:
        for _ in events:
            pass


def scrape(address: str, over: threading.Event) -> None:
    """Once a second, fifteen times as often as Prometheus does by itself."""
    while not over.wait(1.0):
        urllib.request.urlopen(address).read()


def share(seconds: float, *, watched: bool) -> float:
    """CPU of the command's process, without its children, as a share of one core while the level goes on."""
    over = threading.Event()
    with tempfile.TemporaryDirectory() as reports:
        words = ["run", *RUN, "--measure", f"{seconds + SETTLED_S + 1:g} s", "--reports", reports]
        words += ["--live", "--metrics-port", "0"] if watched else []
        command = [sys.executable, "-m", "harness", *words]
        run = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        assert run.stderr is not None
        for line in run.stderr:
            if line.startswith("live page: "):
                threading.Thread(target=read_page, args=(line.split()[-1],), daemon=True).start()
            elif line.startswith("metrics: "):
                threading.Thread(target=scrape, args=(line.split()[-1], over), daemon=True).start()
            elif line.startswith(STARTED):
                break
        time.sleep(SETTLED_S)
        process = psutil.Process(run.pid)
        begun, before = time.monotonic(), process.cpu_times()
        time.sleep(seconds)
        after, ended = process.cpu_times(), time.monotonic()
        over.set()
        run.communicate()
    return (after.user + after.system - before.user - before.system) / (ended - begun)


def main() -> None:
    """Print both, and what the watching adds."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=4)
    arguments.add_argument("--seconds", type=float, default=10.0)
    given = arguments.parse_args()
    plain, watched = [], []
    for _ in range(given.rounds):
        plain.append(share(given.seconds, watched=False))
        watched.append(share(given.seconds, watched=True))
    added = [with_it - without for without, with_it in zip(plain, watched, strict=True)]
    for name, values in (("not watched", plain), ("page and metrics", watched), ("added (aim <= 3 %)", added)):
        median, least, most = statistics.median(values), min(values), max(values)
        print(f"CPU of the command, {name:20} median {median:7.2%}  ({least:.2%} to {most:.2%})")


if __name__ == "__main__":
    main()
