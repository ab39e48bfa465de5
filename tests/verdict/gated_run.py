"""A gated run written by hand, and a baseline for it."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from harness.observation.build import Build
from harness.observation.duet import ARMS_FILE, DUET_FILE, PAIRS_FOLDER, ArmRun, ArmUsed, Duet
from harness.observation.manifest import read_manifest
from harness.statistics.reading import Reading, reading_of
from harness.statistics.summary import summarise
from harness.verdict.baseline import Entry
from harness.verdict.baseline_file import append, baseline_path
from harness.verdict.fingerprint import fingerprint, machine_class
from harness.verdict.gated import GATE_FILE, GateFacts, duet_folder
from harness.verdict.judge import judge_run
from tests.conftest import RunBuilder

STARTED = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
LIMITS = '[limits."10"]\nsuccess = ">= 90 %"\np50 = "< 9 s"\np95 = "< 9 s"\np99 = "< 9 s"\n'


def slower(reading: Reading, scale: float) -> Reading:
    """The same run, `scale` times as slow."""
    blocks = tuple(
        msgspec.structs.replace(block, p50=(block.p50 or 0) * scale, p95=(block.p95 or 0) * scale)
        for block in reading.blocks
    )
    quantiles = {name: value * scale for name, value in reading.quantiles.items()}
    return msgspec.structs.replace(reading, blocks=blocks, quantiles=quantiles)


class Gated:
    """A run of 800 workflows of 1 s, and baselines like it."""

    def __init__(self, run: RunBuilder, tmp_path: Path) -> None:
        run.limits = LIMITS
        run.sound(800)
        self.builder, self.run_dir, self.baselines = run, run.write(), tmp_path / "baselines"
        self.manifest = read_manifest(self.run_dir)
        self.reading = reading_of(summarise(self.run_dir).levels[0])
        self.of_class = machine_class(self.manifest.machine)
        self.path = baseline_path(self.baselines, "hand_written", self.of_class, "10")

    def accept(self, days_ago: float, scale: float = 1.0, **changed: str) -> None:
        """Add an entry to the baseline."""
        at = (STARTED - timedelta(days=days_ago)).isoformat()
        append(
            self.path,
            Entry(
                run=f"run-{days_ago}",
                started_at=at,
                sitting=f"run-{days_ago}",
                epoch=1,
                accepted_at=at,
                accepted_by="somebody",
                verdict="pass",
                build=Build(kind="git", revision="3f2c1a0" * 5),
                fingerprint={**fingerprint(self.run_dir, self.manifest), "reference": "none", **changed},
                reading=slower(self.reading, scale),
            ),
        )

    def judged(self, **facts: object) -> tuple[str, str, str]:
        """Verdict, the gate's outcome of level 10, and its sentence."""
        stored = GateFacts(baselines={"10": str(self.path)} if self.path.exists() else {}, **facts)  # type: ignore[arg-type]
        (self.run_dir / GATE_FILE).write_bytes(msgspec.json.encode(stored))
        verdict = judge_run(self.run_dir).verdict
        [gate] = verdict.gate
        return verdict.word, gate.decision.outcome, gate.sentence

    def duet(self, scale: float, count: int = 10, *, finished: bool = True) -> None:
        """A duet in which the candidate is `scale` times as slow; its arms are real folders of runs."""
        folder = duet_folder(self.run_dir, "10")
        side = ArmUsed(named="x", build=Build(), python="")
        duet = Duet(
            duet_id="d", scenario="hand_written", level="10", seed=1, pairs_max=30, workflows=200, a=side, b=side,
            command="harness duet 3f2c1a0 . hand_written", started_at=STARTED.isoformat(), finished=finished,
        )  # fmt: skip
        lines = []
        for pair in range(count):
            for name, seconds in (("a", 1.0), ("b", scale * (1 + 0.002 * (pair % 3)))):
                arm = RunBuilder(folder / PAIRS_FOLDER / f"{pair}{name}")
                arm.sound(100, latency_s=seconds)
                arm.write()
                lines.append(ArmRun(pair=pair, side=name, first=name == "a", run=f"{pair}{name}"))  # type: ignore[arg-type]
        (folder / DUET_FILE).write_bytes(msgspec.json.encode(duet))
        (folder / ARMS_FILE).write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


def with_history(gated: Gated, scale: float = 1.0, **changed: str) -> None:
    """Eight sittings on eight days, that differ by a percent."""
    for day in range(8, 0, -1):
        gated.accept(day, scale * (1.01 if day % 2 else 0.99), **changed)
