"""What the action does: run SCENARIO with OPTIONS, tell the runner what came of it, and end as INCONCLUSIVE wants it.

The step summary and the annotations are the command's own doing, on any runner of GitHub's.
Everything is taken from the environment, and split into words as a shell would, of which nothing is executed.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

INCONCLUSIVE = 3
WORDS = ("pass", "improved", "inconclusive", "suspect", "regressed", "failed", "incomplete")
"""Of verdicts, the gravest last; what stands behind a colon says why."""


def main() -> int:
    """The exit code of the step."""
    wanted = os.environ["INCONCLUSIVE"]
    if wanted not in ("fail", "pass"):
        return refused(f'inconclusive: "{wanted}" is neither fail nor pass')
    try:
        options, scenarios = shlex.split(os.environ["OPTIONS"]), shlex.split(os.environ["SCENARIO"])
    except ValueError as error:
        return refused(f"scenario or options: {error}")
    reports = Path(tempfile.mkdtemp(prefix="harness-", dir=os.environ["RUNNER_TEMP"]))
    tell(f"reports={reports}")
    run = [sys.executable, "-P", "-m", "harness", "run"]  # -P: not a folder of that name where the user works
    code = subprocess.run(
        [*run, *options, "--reports", str(reports), "--quiet", "--", *scenarios], check=False
    ).returncode
    words = [json.loads(path.read_text())["word"] for path in reports.glob("*/verdict.json")]
    gravest = max(words, key=lambda word: WORDS.index(word.partition(":")[0]), default="none")
    tell(f"exit-code={code}", f"verdict={gravest}")
    return 0 if code == INCONCLUSIVE and wanted == "pass" else code


def refused(why: str) -> int:
    """A mistake in the action's inputs."""
    sys.stdout.write(f"::error title=harness::{why}\n")
    return 2


def tell(*outputs: str) -> None:
    """The outputs of the step."""
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as file:
        file.writelines(f"{output}\n" for output in outputs)


if __name__ == "__main__":
    sys.exit(main())
