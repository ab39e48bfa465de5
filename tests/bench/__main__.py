"""`make bench`: every number the project claims, one script after the other. Nothing here is asserted by the tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPTS = (
    "overheads.py",
    "orchestrator.py",
    "load.py",
    "crew.py",
    "judge.py",
    "report.py",
    "stores.py",
    "history.py",
    "durable.py",
    "llm.py",
    "proxy.py",
    "watching.py",
    "gate.py",
)


def main() -> int:
    """Run the scripts; the worst exit code."""
    here = Path(__file__).parent
    codes = []
    for script in SCRIPTS:
        print(f"\n== {script}", flush=True)
        codes.append(subprocess.run([sys.executable, str(here / script)], check=False).returncode)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
