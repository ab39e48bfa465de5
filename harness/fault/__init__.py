"""What can be broken. `FAULTS` names every kind, without importing it."""

from collections.abc import Mapping

FAULTS: Mapping[str, str] = {}
"""Kind -> "module:attribute" of its type (`harness.fault.fault.Fault`)."""
