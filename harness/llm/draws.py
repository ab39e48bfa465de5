"""Chance as a function of what it is for: no generator is shared, so the order of calls never changes a draw."""

from __future__ import annotations

import math
import struct
from hashlib import blake2b

_WORDS = struct.Struct("<8Q")
_SCALE = 2.0**-53


def uniforms(*key: object) -> tuple[float, ...]:
    """Eight independent numbers, uniform in the open interval (0, 1), that depend on nothing but `key`.

    The parts of a key are joined by their text, so `1` and `"1"` are the same part.
    """
    digest = blake2b("\x1f".join(map(str, key)).encode(), digest_size=64).digest()
    # 53 bits fill a double exactly; the half step keeps 0 and 1 out, where logarithms have no value.
    return tuple([((word >> 11) + 0.5) * _SCALE for word in _WORDS.unpack(digest)])


def normal(first: float, second: float) -> float:
    """A standard normal from two uniforms in (0, 1) (Box and Muller 1958)."""
    return math.sqrt(-2.0 * math.log(first)) * math.cos(2.0 * math.pi * second)
