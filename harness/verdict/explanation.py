"""The gate's decision as a person reads it: what changed, how sure that is, against what, and who carries it."""

from __future__ import annotations

from collections.abc import Iterator

from harness.observation.build import Build
from harness.scenario.units import render
from harness.statistics.change import Change, relative
from harness.verdict.gate import Decision, LevelGate

TITLES = {
    "p50": "p50",
    "p95": "p95",
    "shape": "the tail (p99 / p50)",
    "throughput": "throughput",
    "cpu_per_workflow": "CPU a workflow",
    "output_tokens": "tokens a success",
    "cost_per_success": "cost a success",
    "success": "success",
    "rss_slope": "growth of memory",
}
LESS = ("throughput", "success")
"""What is worse when it is less."""
MACHINE_TOLD = 0.02
"""How much another speed of the machine has to be to be mentioned."""
COMMIT_DIGITS = 7


def explain(scenario: str, gate: LevelGate) -> str:
    """One sentence or a few, the most important first."""
    where = f"`{scenario}` at {gate.level}"
    decision = gate.decision
    if decision.outcome == "regressed":
        return " ".join(_regressed(where, gate))
    if decision.outcome == "suspect":
        worst = _worst(decision)
        return (
            f"{TITLES[worst.metric]} of {where} seems {amount(worst)} worse ({interval(worst)}, against "
            f"{gate.sittings} sittings), and nothing ran beside it that could tell: {'; '.join(decision.reasons)}"
        )
    if decision.outcome in ("inconclusive", "learning"):
        return f"{where}: {'; '.join(decision.reasons) or 'nothing could be compared'}"
    return " ".join(_sound(where, gate))


def amount(change: Change) -> str:
    """How much, without a direction."""
    return size(change.metric, abs(change.change), is_log=change.is_log)


def signed(change: Change) -> str:
    """The change as the metric itself changed: throughput that is worse is less."""
    return _signed(change, change.change)


def interval(change: Change) -> str:
    """The interval that decided, as the metric itself changed. In a duet each end errs in 1 % of duets, over all looks
    and metrics together, so alone it is surer than that."""
    ends = sorted((_directed(change, change.lower), _directed(change, change.upper)))
    low, high = (_render(change, end) for end in ends)
    return f"{low} to {high}, each end at {(1 - change.alpha) * 100:.4g} %"


def build_name(build: Build | None) -> str:
    """A build as people name it."""
    if build is None or build.kind == "none":
        return "the baseline"
    name = build.revision[:COMMIT_DIGITS] if build.kind == "git" else build.revision
    return f"{name} with changes" if build.dirty else name


def against(gate: LevelGate) -> str:
    """What the run was compared with."""
    if gate.decision.step == "duet":
        return f"{gate.pairs} side-by-side pairs against {build_name(gate.build)} on this machine"
    if not gate.sittings:
        return "nothing: there is no baseline"
    return f"{gate.sittings} sittings, the newest of {build_name(gate.build)}"


def _regressed(where: str, gate: LevelGate) -> Iterator[str]:
    decision = gate.decision
    worst = _worst(decision)
    machine = _machine(gate)
    yield f"{TITLES[worst.metric]} of {where} is {_how(worst)} ({interval(worst)}, {against(gate)}{machine})."
    others = [f"{TITLES[change.metric]} {signed(change)}" for change in decision.changes
              if change.metric in decision.worse and change is not worst]  # fmt: skip
    if others:
        yield f"Also worse: {', '.join(others)}."
    yield from _carrier(decision)
    same = [TITLES[change.metric] for change in decision.changes if change.metric in ("success", "rss_slope")
            and change.metric not in decision.worse]  # fmt: skip
    if same:
        yield f"Unchanged: {', '.join(same)}."
    yield _unseen(worst)


def _sound(where: str, gate: LevelGate) -> Iterator[str]:
    decision = gate.decision
    told = [change for metric in ("p50", "p95") if (change := decision.change(metric)) is not None]
    changes = ", ".join(f"{TITLES[change.metric]} {signed(change)} ({_ceiling(change)})" for change in told)
    word = "is better than" if decision.outcome == "improved" else "is as"
    yield f"{where} {word} its baseline: {changes}; {against(gate)}{_machine(gate)}."
    if told:
        yield _unseen(told[-1])


def _ceiling(change: Change) -> str:
    """The 95 % bound on the side that a pass rests on."""
    edge = "above" if change.metric in LESS else "below"
    return f"95 %: {edge} {_render(change, _directed(change, change.upper95))}"


def _worst(decision: Decision) -> Change:
    """What to tell first: latency before what explains it."""
    ranked = [change for change in decision.changes if change.metric in decision.worse]
    return max(ranked, key=lambda change: (change.metric in ("p95", "p50", "shape", "success"), change.change))


def _how(change: Change) -> str:
    if change.metric == "success":
        return f"{amount(change)} lower"
    if change.metric == "rss_slope":
        return f"{amount(change)} faster"
    words = {"throughput": "lower", "p50": "slower", "p95": "slower", "shape": "longer"}
    return f"{_render(change, abs(_directed(change, change.change)), sign=False)} {words.get(change.metric, 'more')}"


def _carrier(decision: Decision) -> Iterator[str]:
    """The part of a workflow's time that grew most, beyond the noise between pairs."""
    grown = [part for part in decision.parts if part.is_certain and part.change_s > 0]
    if not grown:
        return
    part = grown[0]
    share = f"{part.change_s / part.before_s:+.0%}" if part.before_s > 0 else "new"
    yield f"Most of it is in {part.part}: {share}, {render(part.change_s, 'duration')} a workflow."


def _machine(gate: LevelGate) -> str:
    """What the machine's own speed had to do with it."""
    history = gate.history or gate.decision
    change = history.change("p50")
    if change is None or abs(relative(change.machine)) < MACHINE_TOLD:
        return ""
    how = "slower" if change.machine > 0 else "faster"
    return f"; the machine itself was {abs(relative(change.machine)):.0%} {how} than usual, and that is taken out"


def _unseen(change: Change) -> str:
    return f"A change under {size(change.metric, change.mde, is_log=change.is_log)} would not have been seen."


def _directed(change: Change, value: float) -> float:
    """From worse-is-positive to the metric's own direction, and from logarithms to shares."""
    own = -value if change.metric in LESS else value
    return relative(own) if change.is_log else own


def _signed(change: Change, value: float) -> str:
    return _render(change, _directed(change, value))


def _render(change: Change, value: float, *, sign: bool = True) -> str:
    plus = "+" if sign and value >= 0 else "-" if sign else ""
    return f"{plus}{_natural(change.metric, abs(value))}"


def size(metric: str, value: float, *, is_log: bool) -> str:
    """How much a change of that metric is, as people write it."""
    return _natural(metric, relative(value) if is_log else value)


def _natural(metric: str, value: float) -> str:
    if metric == "rss_slope":
        return f"{render(value, 'size')}/min"
    if metric == "success":
        return f"{value * 100:.2f} points"
    return f"{value * 100:.1f} %"
