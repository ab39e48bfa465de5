"""An objective as a person writes it: `p95 < 5 s, success >= 99 %`."""

from __future__ import annotations

from harness.errors import UsageError, unknown_name
from harness.scenario.units import EXAMPLES, parse
from harness.statistics.capacity import Condition
from harness.statistics.metrics import METRICS, metric_type
from harness.verdict.limits import LIMIT


def read_objective(text: str, where: str = "--slo") -> tuple[Condition, ...]:
    """Its conditions, in order. Raises UsageError with every mistake, each beginning with `where`."""
    found, mistakes = list[Condition](), list[str]()
    if not text.strip():
        raise UsageError(f'{where}: is empty; write one like "p95 < 5 s, success >= 99 %"')
    for part in text.split(","):
        if not part.strip():
            mistakes.append(f"{where}: a condition is missing beside a comma")
            continue
        metric = part.split("<")[0].split(">")[0].split("=")[0].strip()
        condition = _condition(metric, part.strip().removeprefix(metric))
        if isinstance(condition, Condition):
            found.append(condition)
        else:
            mistakes.append(f"{where}: {part.strip()}: {condition}")
    named = [condition.metric for condition in found]
    mistakes += [f"{where}: {name}: is given twice" for name in dict.fromkeys(named) if named.count(name) > 1]
    if mistakes:
        raise UsageError(mistakes)
    return tuple(found)


def _condition(metric: str, rest: str) -> Condition | str:
    """The condition, or what is wrong with it."""
    kind = metric_type(metric)
    if kind is None:
        return unknown_name("metric", metric, METRICS)
    match = LIMIT.match(rest)
    if match is None or match[1] == "==":
        return f"write {metric}, one of < <= > >=, and a {kind.unit}, like {EXAMPLES[kind.unit].split(' or ')[0]}"
    operator = match[1]
    if kind.better == ("more" if operator in ("<", "<=") else "less"):
        return f"{metric} is better when it is {kind.better}, so that {operator} would ask for the worse"
    try:
        bound = parse(match[2], kind.unit)
    except ValueError as error:
        return str(error)
    if bound <= 0 and operator in ("<", "<="):
        return "nothing measured is below zero"
    return Condition(metric, operator, bound)  # type: ignore[arg-type]
