"""What a person reads: the sentence says what, how sure, against what, and who carries it."""

from __future__ import annotations

import math

import msgspec
import pytest

from harness.observation.build import Build
from harness.statistics.attribution import Attribution
from harness.statistics.change import Change
from harness.verdict.explanation import build_name, explain, interval, signed
from harness.verdict.gate import Decision, LevelGate

BUILD = Build(kind="git", revision="3f2c1a" + "0" * 34)


def change(metric: str = "p95", value: float = 0.108, **fields: object) -> Change:
    """A change with an interval of 5 % on both sides."""
    whole = {
        "metric": metric, "basis": "duet", "change": value, "lower": value - 0.05, "upper": value + 0.05,
        "alpha": 0.01 / 3, "lower95": value - 0.03, "upper95": value + 0.03, "n": 20, "mde": 0.04,
    }  # fmt: skip
    return Change(**{**whole, **fields})  # type: ignore[arg-type]


def gate(decision: Decision, **fields: object) -> LevelGate:
    return LevelGate(**{"level": "50", "sentence": "", "decision": decision, "build": BUILD, "pairs": 20, **fields})  # type: ignore[arg-type]


def test_a_regression_is_told_with_its_carrier() -> None:
    """Metric, size, interval, pairs, build, the agent, what did not change, and what would not have been seen."""
    changes = (change(), change("p50", 0.1), change("success", 0.0, is_log=False, lower=-0.001, upper=0.001))
    parts = (Attribution(part="agent merge", before_s=0.1, after_s=0.131, lower_s=0.02, upper_s=0.04),)
    decision = Decision(outcome="regressed", step="duet", changes=changes, worse=("p50", "p95"), parts=parts)
    assert explain("fan_out", gate(decision)) == (
        "p95 of `fan_out` at 50 is 11.4 % slower (+6.0 % to +17.1 %, each end at 99.67 %, "
        "20 side-by-side pairs against 3f2c1a0 on this machine). "
        "Also worse: p50 +10.5 %. Most of it is in agent merge: +31%, 31 ms a workflow. Unchanged: success. "
        "A change under 4.1 % would not have been seen."
    )


def test_a_slow_machine_is_told_and_taken_out() -> None:
    """By what the frozen reference said in the same sitting."""
    history = Decision(outcome="undecided", step="history", changes=(change("p50", 0.1, machine=math.log(1.09)),))
    decision = Decision(outcome="regressed", step="duet", changes=(change(),), worse=("p95",))
    said = explain("job", gate(decision, history=history))
    assert "the machine itself was 9% slower than usual, and that is taken out" in said


@pytest.mark.parametrize(
    ("metric", "fields", "said", "ends"),
    [
        ("throughput", {}, "-10.2 %", "-14.6 % to -5.6 %, each end at 99.67 %"),
        ("p50", {}, "+11.4 %", "+6.0 % to +17.1 %, each end at 99.67 %"),
        ("success", {"is_log": False}, "-10.80 points", "-15.80 points to -5.80 points, each end at 99.67 %"),
    ],
)
def test_changes_are_told_as_the_metric_changed(metric: str, fields: dict[str, object], said: str, ends: str) -> None:
    """Worse throughput is less, and so is worse success."""
    found = change(metric, **fields)
    assert (signed(found), interval(found)) == (said, ends)


def test_a_pass_tells_what_it_excludes() -> None:
    """The bound that it rests on."""
    decision = Decision(outcome="pass", step="history", changes=(change("p50", 0.0), change("p95", 0.01)))
    said = explain("job", gate(decision, sittings=8))
    assert "is as its baseline: p50 +0.0 % (95 %: below +3.0 %), p95 +1.0 % (95 %: below +4.1 %)" in said
    assert "8 sittings, the newest of 3f2c1a0" in said


def test_what_is_not_decided_tells_why() -> None:
    """Every reason."""
    decision = Decision(outcome="inconclusive", step="duet", reasons=("too noisy", "too short"))
    assert explain("job", gate(decision)) == "`job` at 50: too noisy; too short"


def test_growth_is_told_in_bytes() -> None:
    """A minute."""
    grown = change("rss_slope", 6e6, is_log=False, lower=5e6, upper=7e6, mde=1e6)
    decision = Decision(outcome="regressed", step="duet", changes=(grown,), worse=("rss_slope",))
    assert "growth of memory of `job` at 50 is 5.72 MiB/min faster" in explain("job", gate(decision))


def test_builds_have_names() -> None:
    """A commit's first digits, a wheel's name; changes that were not committed are told."""
    assert build_name(BUILD) == "3f2c1a0"
    assert build_name(msgspec.structs.replace(BUILD, dirty=("a.py",))) == "3f2c1a0 with changes"
    assert build_name(Build(kind="wheel", revision="bot-1.2.whl@abc")) == "bot-1.2.whl@abc"
    assert build_name(None) == "the baseline"
