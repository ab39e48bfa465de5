"""A run while it goes on, for people and tools elsewhere than at its terminal: a page, metrics, and traces of it."""
