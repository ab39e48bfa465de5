"""What the exact check of one hot document costs: 100,000 operations of 50 writers, from the file to its anomalies."""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path

import msgspec

from harness.observation.history import Answered, Called
from harness.observation.journal import Damage
from harness.statistics.histories import read_history, read_operations
from harness.statistics.history import check_document

WRITERS = 50
SLOTS = tuple(f"{slot:02d}" for slot in range(64))


def write_history(path: Path, count: int) -> None:
    """Merges and reads of a right store, by overlapping clients, half of each."""
    rng = random.Random(1)
    version = 0
    lines: list[tuple[float, bytes]] = []
    encode = msgspec.json.encode
    for number in range(count):
        moment = number / 10_000
        called, answered = moment - rng.random() * WRITERS / 10_000, moment + rng.random() * WRITERS / 10_000
        if number % 2:
            lines.append((called, encode(Called(number, 1, "hot", "read", called))))
            fields = SLOTS[: min(version, len(SLOTS))]
            lines.append((answered, encode(Answered(number, 1, answered, True, version, "", fields))))
        else:
            version += 1
            lines.append((called, encode(Called(number, 1, "hot", "merge", called, f"10-{number}/data"))))
            lines.append((answered, encode(Answered(number, 1, answered, True, version))))
    path.write_bytes(b"".join(line + b"\n" for _, line in sorted(lines)))


def main() -> None:
    """Print the rows."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--count", type=int, default=100_000)
    arguments.add_argument("--rounds", type=int, default=5)
    given = arguments.parse_args()
    whole, alone = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.jsonl"
        write_history(path, given.count)
        for _ in range(given.rounds):
            begun = time.perf_counter()
            found = read_history(path, {"10": -1.0}, Damage())
            whole.append(time.perf_counter() - begun)
            assert found is not None
            assert (found["10"].operations, found["10"].anomalies) == (given.count, [])
            operations = read_operations(path, Damage())
            begun = time.perf_counter()
            assert check_document("hot", operations) == []
            alone.append(time.perf_counter() - begun)
    for name, values, aim in (("with reading the file, s", whole, "<= 1"), ("the check alone, s", alone, "")):
        label = f"hot document, {given.count:,} operations, {name}"
        print(f"{label:63} median {statistics.median(values):.3f}  ({min(values):.3f}-{max(values):.3f})  aim {aim}")


if __name__ == "__main__":
    main()
