"""A process that takes what it wants of the machine: `python -m harness.fault.neighbour`, until its input ends."""

from __future__ import annotations

import os
import select
import sys

import msgspec

from harness.child import die_with_parent, first_line


class Appetite(msgspec.Struct, frozen=True):
    """Its first line of input."""

    burns: bool = False  # one processor, all of it
    holds: int = 0  # bytes, every page of them written


def main() -> None:
    """Take it, say so, and go on until nobody holds the other end of standard input."""
    die_with_parent(os.getppid())
    appetite = msgspec.json.decode(first_line(), type=Appetite)
    held = bytearray(appetite.holds)
    held[::4096] = b"\x01" * len(range(0, appetite.holds, 4096))
    os.write(1, b"ready\n")
    while not select.select([0], [], [], 0 if appetite.burns else None)[0]:
        sum(range(10_000))
    sys.exit(len(held) < 0)


if __name__ == "__main__":
    main()
