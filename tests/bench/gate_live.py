"""`make gate-live`: real duets here. How often does the gate accuse a build of itself, and does it find what is slower?

    python tests/bench/gate_live.py [--aa 20] [--ab 20] [--pairs 10] [--scenario regression]

A/A: the last commit against itself. A/B: against a copy of it in which every CPU step takes 20 % more (`cpu`), one
agent's takes 40 % more (`agent`), or every 100th step waits (`tail`: 3 % of workflows, so that p95 stays). Each line is
one duet; nothing is left out and nothing is run twice.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
HARNESS = Path(sys.executable).with_name("harness")
BURN = "            await self._means.burners.burn(work.cpu)\n"
SLOWER = {  # name -> what stands in the place of BURN
    "cpu": "            await self._means.burners.burn(work.cpu * 1.2)\n",
    "agent": "            await self._means.burners.burn(work.cpu * (1.4 if call.step.agent == 'data' else 1.0))\n",
    "tail": BURN + "        if int(found[:4], 16) % 100 == 0:\n            await asyncio.sleep(0.06)\n",
}


def patched(folder: Path, how: str) -> Path:
    """A checkout of this project with a slower orchestrator, committed, so that it is a build of its own."""
    copy = folder / how
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(copy)], check=True)
    agent = copy / "harness" / "orchestrator" / "agent.py"
    text = agent.read_text()
    assert text.count(BURN) == 1, "the agent's code changed; mend this script"
    agent.write_text(text.replace(BURN, SLOWER[how]))
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    subprocess.run(["git", "-C", str(copy), *identity, "commit", "--quiet", "-am", f"slower: {how}"], check=True)
    return copy


def duet(a: str, b: str, scenario: str, *, pairs: int, seed: int, reports: Path) -> dict[str, object]:
    """One duet's verdict, as JSON."""
    words = [a, b, scenario, "--pairs", str(pairs), "--seed", str(seed), "--reports", str(reports), "--json", "--quiet"]
    began = time.monotonic()
    done = subprocess.run([str(HARNESS), "duet", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1, 3):
        sys.exit(f"harness duet ended with {done.returncode}:\n{done.stderr}")
    return {"took_s": time.monotonic() - began, **json.loads(done.stdout)}


def series(name: str, b: str, count: int, options: argparse.Namespace, reports: Path) -> Counter[str]:
    """`count` duets against `b`, each told in a line."""
    words: Counter[str] = Counter()
    for seed in range(1, count + 1):
        found = duet("HEAD", b, options.scenario, pairs=options.pairs, seed=seed, reports=reports)
        verdict = found["verdict"]
        assert isinstance(verdict, dict)
        words[verdict["word"]] += 1
        print(f"{name} {seed:2d}: {verdict['word']:12} {found['took_s']:5.0f} s  {verdict['sentences'][0]}", flush=True)
    print(f"{name}: {dict(words)}\n", flush=True)
    return words


def main() -> None:
    """Run the series that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--aa", type=int, default=20)
    parser.add_argument("--ab", type=int, default=20)
    parser.add_argument("--how", choices=list(SLOWER), action="append")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--scenario", default="regression")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gate-live-") as folder:
        reports = Path(folder) / "reports"
        alarms = series("A/A", "HEAD", options.aa, options, reports)["regressed"]
        print(f"A/A: {alarms} alarms in {options.aa} duets of at most {options.pairs} pairs")
        for how in options.how or ["cpu"]:
            found = series(f"A/B {how}", str(patched(Path(folder), how)), options.ab, options, reports)["regressed"]
            print(f"A/B {how}: found {found} of {options.ab}")


if __name__ == "__main__":
    main()
