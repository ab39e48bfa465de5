"""Pages to look things up in, made of what the product itself goes by: its types, its faults and its metrics."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from harness.fault import FAULTS
from harness.fault.documentation import described, summary
from harness.scenario import models
from harness.scenario.schema import scenario_schema
from harness.statistics.metrics import AGENT_METRICS, METRICS, SERVICE_METRICS, MetricType

WRITTEN = "`make reference` writes this page from the source."
TYPES = {"string": "a text", "integer": "a whole number", "number": "a number", "boolean": "true or false"}
_FORM = re.compile(r"(?:(.*) \()?(an? \w+, like [^()]+)\)?", re.DOTALL)
_LLM_FAULT = re.compile(r'^    "(\w+)",  # (.+)$', re.MULTILINE)


def reference() -> dict[str, str]:
    """File name -> page."""
    return {"scenario.md": _scenario(), "faults.md": _faults(), "metrics.md": _metrics()}


class _Part(NamedTuple):
    """A table of the file, as `[agent.NAME.work]`, or a list of tables, as `[[workflow]]`; the top has no heading."""

    heading: str
    path: str
    name: str  # in the schema's definitions


def _scenario() -> str:
    schema = scenario_schema()
    definitions = {**schema["$defs"], "Scenario": schema}
    parts = [
        f"# Scenario files\n\nEvery key there is. {WRITTEN} [Scenarios](../scenarios.md) explains the usual ones.",
        "NAME stands for names of your own. What has no value when left out is required.",
    ]
    told: dict[str, str] = {}
    for part in _parts(definitions, _Part("", "", "Scenario")):
        title = f"## {part.heading or 'At the top'}"
        if part.name in told:
            parts.append(f"{title}\n\nAs {told[part.name]}.")
            continue
        told[part.name] = part.heading
        definition = definitions[part.name]
        rows = [
            _key(key, form, key in definition.get("required", ())) for key, form in definition["properties"].items()
        ]
        about = " ".join(definition["description"].split())
        parts.append(f"{title}\n\n{about}\n\n{_table(('key', 'is', 'left out', 'means'), rows)}")
    return "\n\n".join(parts) + "\n"


def _parts(definitions: Mapping[str, Any], part: _Part) -> Iterator[_Part]:
    """The table, then those within it; what was told before is not gone into again."""
    seen: set[str] = set()
    waiting = [part]
    while waiting:
        part = waiting.pop(0)
        yield part
        if part.name in seen:
            continue
        seen.add(part.name)
        inner = []
        for key, form in definitions[part.name]["properties"].items():
            for name, pattern in _references(form):
                path = pattern.format(".".join(filter(None, (part.path, key))))
                inner.append(_Part(f"`[[{path}]]`" if _is_list(form) else f"`[{path}]`", path, name))
        waiting = inner + waiting


def _is_list(form: Mapping[str, Any]) -> bool:
    return any(each.get("type") == "array" for each in form.get("anyOf", (form,)))


def _references(form: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Definitions that a key leads to, and its path: with a NAME where it holds several by name."""
    for each in form.get("anyOf", (form,)):
        for place, pattern in ((each, "{}"), (each.get("items"), "{}"), (each.get("additionalProperties"), "{}.NAME")):
            if isinstance(place, Mapping) and "$ref" in place:
                yield place["$ref"].rpartition("/")[2], pattern


def _key(key: str, form: Mapping[str, Any], is_required: bool) -> tuple[str, ...]:
    about = form.get("description", "")
    found = _FORM.fullmatch(about)
    meaning = (found[1] or "") if found else about
    default = form.get("default")
    written = "" if is_required or default in (None, [], {}) else f"`{json.dumps(default)}`"
    return f"`{key}`", _is(form), written or ("required" if is_required else "-"), meaning


def _is(form: Mapping[str, Any]) -> str:
    """What may be written there."""
    if "anyOf" in form:
        return " or ".join(_is(each) for each in form["anyOf"] if each.get("type") != "null")
    if "enum" in form:
        return ", ".join(f"`{each}`" for each in form["enum"])
    if "$ref" in form:
        return "a table"
    if (found := _FORM.fullmatch(form.get("description", ""))) is not None:
        return found[2]
    if form.get("type") == "array":
        inner = _is(form.get("items", {}))
        return "tables" if inner == "a table" else f"a list: {inner}"
    if form.get("type") == "object":
        return "tables, by name" if isinstance(form.get("additionalProperties"), Mapping) else "a table"
    return TYPES.get(form.get("type", ""), "anything")


def _faults() -> str:
    head = f"# Faults\n\nEvery kind there is. {WRITTEN} [Breaking things](../faults.md) explains how they are used."
    overview = _table(
        ("kind", "what is broken"), [(f"[`{kind}`](#{_anchor(kind)})", summary(kind, FAULTS)) for kind in FAULTS]
    )
    kinds = []
    for kind in FAULTS:
        _, _, *lines = described(kind, FAULTS)
        at = lines.index("[[fault]]")
        about, block = "\n".join(lines[:at]).strip(), "\n".join(lines[at:])
        kinds.append(f"## {kind}\n\n{about}\n\n```toml\n{block}\n```")
    found = _LLM_FAULT.findall(inspect.getsource(models))
    answers = _table(("`fault` of `[[llm.fault]]`", "what happens"), [(f"`{kind}`", told) for kind, told in found])
    return "\n\n".join([head, overview, *kinds, f"## Models that misbehave\n\n{answers}"]) + "\n"


def _anchor(heading: str) -> str:
    """Of a heading, as GitHub makes it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _metrics() -> str:
    return "\n\n".join([
        f"# Metrics\n\nEverything that a limit can be set on. {WRITTEN} A metric with bounds is judged by its exact "
        "one-sided 95 % bounds; one without decides by its value. What was not measured in a run has no number there.",
        f"## Of a level\n\nA limit is written `p95 = \"< 2 s\"`.\n\n{_metric_table(METRICS)}",
        f"## Of an agent\n\n`agent.NAME.p95 = \"< 1 s\"`.\n\n{_metric_table(AGENT_METRICS)}",
        f"## Of a service\n\n`service.redis.response_p99 = \"< 20 ms\"`.\n\n{_metric_table(SERVICE_METRICS)}",
    ]) + "\n"  # fmt: skip


def _metric_table(metrics: Mapping[str, MetricType]) -> str:
    rows = [
        (
            f"`{name}`",
            kind.unit,
            "-" if kind.better == "neither" else kind.better,
            "yes" if kind.bounded else "",
            kind.meaning,
        )
        for name, kind in metrics.items()
    ]
    return _table(("metric", "unit", "better", "bounds", "is"), rows)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
