"""What compares builds: gated runs, duets, the builds themselves, and what becomes a baseline."""
