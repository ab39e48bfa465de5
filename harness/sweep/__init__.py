"""Sweeps of one scenario over many loads, for capacity planning."""
