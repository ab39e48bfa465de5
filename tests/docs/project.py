"""A user's project, in which what the documentation shows is done."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

QUICK = ("--warmup", "100 ms", "--measure", "600 ms")
WAIT_S = 150


@dataclass(frozen=True)
class Project:
    """Its folder: what `harness init` wrote, and the scenarios and limits that are shipped."""

    folder: Path

    def run(self, *words: str, env: Mapping[str, str] = os.environ) -> subprocess.CompletedProcess[str]:
        """A command, from its folder; `harness` is this one."""
        program = (sys.executable, "-m", "harness") if words[0] == "harness" else (words[0],)
        return subprocess.run(
            [*program, *words[1:]],
            cwd=self.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )

    def write(self, name: str, text: str) -> Path:
        """A file in it."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path


def limits_of(metric: str, limit: str) -> str:
    """One limit, at each level of my_bot."""
    return "\n".join(f'[limits."{level}"]\n{metric} = "{limit}"' for level in (10, 25, 50)) + "\n"
