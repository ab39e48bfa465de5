"""What the HTML report costs: its size, and the time to write it once the run is judged, of a small and a large run."""

from __future__ import annotations

import io
import statistics
import sys
import tempfile
import time
from pathlib import Path

from harness.report.html.reporter import HtmlReporter
from harness.verdict.judge import JudgedRun, judge_run

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.bench.judge import write_run

COUNTS = {3_000: ("<= 1.5", "<= 2"), 1_000_000: ("<= 3", "<= 15")}
"""Observations -> aims: MB, s."""
ROUNDS = 3


def main() -> None:
    """Print the rows."""
    for count, (size_aim, time_aim) in COUNTS.items():
        with tempfile.TemporaryDirectory() as folder:
            write_run(Path(folder), count)
            judged = judge_run(Path(folder))
            rounds = [_written(judged) for _ in range(ROUNDS)]
        label = f"HTML report of {count:,} observations"
        print(f"{label + ', MB':55} {rounds[0][0]:.3g}  aim {size_aim}")
        times = [time_s for _, time_s in rounds]
        middle, fastest, slowest = statistics.median(times), min(times), max(times)
        print(f"{label + ', s':55} median {middle:.3g}  ({fastest:.3g}-{slowest:.3g})  aim {time_aim}")


def _written(judged: JudgedRun) -> tuple[float, float]:
    """MB, and s to write them."""
    begun, out = time.monotonic(), io.StringIO()
    HtmlReporter().write(judged, out)
    return len(out.getvalue().encode()) / 1e6, time.monotonic() - begun


if __name__ == "__main__":
    main()
