"""Load and resilience tests for multi-agent workflow orchestrators. Importing this package does nothing else."""

__version__ = "0.1.0"
