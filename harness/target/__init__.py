"""Systems that run workflows. `TARGETS` names those that a scenario can ask for by one word."""

from collections.abc import Mapping

TARGETS: Mapping[str, str] = {
    "embedded": "harness.orchestrator.embedded:embedded",
    "http": "",  # a black box: the load process speaks to it, no host serves it
}
PYTHON_TARGET = "harness.target.python:PythonTarget"
"""What serves a scenario's `target = "python:module:attribute"`."""
