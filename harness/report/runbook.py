"""A runbook of the resilience catalogue: a page a scenario, made of the scenario's own text.

What was broken comes from its `[[fault]]` tables and the kinds' documentation, what it is held to from its limits; why,
how it shows and what to do from its comments `# Hypothesis:`, `# Shows:` and `# Do:`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.fault import FAULTS
from harness.fault.documentation import summary
from harness.scenario.loading import read_toml

SAID = ("Hypothesis", "Shows", "Do")
_HEAD = re.compile(rf"# ({'|'.join(SAID)}): (.*)")
INDEX = "README.md"
FOR_WHOM = {"limits": "any", "ours": "embedded"}
"""Section of a file of limits -> which orchestrator is held to it."""


def runbook(scenarios: Path, baselines: Path) -> dict[str, str]:
    """File name -> page, for every scenario in the folder, and an index. Raises UsageError with every comment that a
    scenario lacks."""
    paths = sorted(scenarios.glob("*.toml"))
    if not paths:
        raise UsageError(f"{scenarios}: holds no scenario")
    pages, rows, mistakes = dict[str, str](), list[str](), list[str]()
    for path in paths:
        text, document = read_toml(path)
        said = comments(text)
        if lacking := [f"`# {head}: …`" for head in SAID if head not in said]:
            mistakes.append(f"{path}: has no comment {', '.join(lacking)}")
        if said.keys() >= set(SAID):
            pages[f"{path.stem}.md"] = _page(path, document, said, baselines / path.name)
            kinds = ", ".join(dict.fromkeys(f"`{kind}`" for kind, _ in _broken(document)))
            rows.append(f"| [{path.stem}]({path.stem}.md) | {document['description']} | {kinds} |")
    if mistakes:
        raise UsageError(mistakes)
    head = (
        "# Runbook\n\nWhat each row of the catalogue breaks, how that shows, and what to do. `make runbook` writes it."
    )
    return pages | {INDEX: "\n".join([head, "", "| row | what | broken by |", "|---|---|---|", *rows]) + "\n"}


def comments(text: str) -> dict[str, str]:
    """What a scenario's comments say under each of SAID: to the end of the comment, or to the next of them."""
    found: dict[str, str] = {}
    current: str | None = None
    for line in text.splitlines():
        begun = _HEAD.match(line)
        if begun:
            current = begun[1]
            found[current] = begun[2].strip()
        elif current is not None and line.startswith("# "):
            found[current] += " " + line[2:].strip()
        else:
            current = None
    return found


def _page(path: Path, document: Mapping[str, Any], said: Mapping[str, str], limits: Path) -> str:
    """One page."""
    lines = [f"# {path.stem}", "", document["description"], "", f"**Hypothesis:** {said['Hypothesis']}", ""]
    lines += ["## What is broken", "", *(f"- `{kind}`{how}" for kind, how in _broken(document)), ""]
    lines += ["## How it shows", "", _sentence(said["Shows"]), "", "## What to do", "", _sentence(said["Do"]), ""]
    lines += ["## What it is held to", ""]
    if document.get("sometimes"):
        lines += [f"To have happened: {', '.join(f'`{name}`' for name in document['sometimes'])}.", ""]
    lines += [*_limits(limits), "", "## See it", "", f"    harness run {path.as_posix()}"]
    return "\n".join(lines) + "\n"


def _sentence(text: str) -> str:
    """It begins with a capital letter, unless its first word is a name."""
    return text if "_" in text.split()[0] else text[:1].upper() + text[1:]


def _broken(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each thing that is broken, and when and how."""
    for table in document.get("fault", ()):
        rest = {key: value for key, value in table.items() if key not in ("kind", "at", "for")}
        told = "".join(f", {key} {value}" for key, value in rest.items())
        what = summary(table["kind"], FAULTS)
        yield table["kind"], f" at {table.get('at', '0 s')} for {table['for']}{told}: {what[0].lower()}{what[1:]}"
    for table in document.get("outage", ()):
        yield f"{table['service']} silent", f" at {table['at']} for {table['lasts']}"
    crash = document.get("crash", {})
    for how in ("kill", "pause"):
        if crash.get(how):
            yield f"orchestrator: {how}", f" at {', '.join(crash[how])}"
    for table in document.get("llm", {}).get("fault", ()):
        rest = {key: value for key, value in table.items() if key not in ("fault", "at", "lasts")}
        told = "".join(f", {key} {value}" for key, value in rest.items())
        window = f" at {table['at']} for {table.get('lasts', 'the rest')}" if "at" in table else " always"
        yield f"models: {table['fault']}", f"{window}{told}"


def _limits(path: Path) -> Iterator[str]:
    """Each limit, with whom and which levels it is for."""
    levels: dict[tuple[str, str, str], list[str]] = {}
    if not path.exists():
        yield "It has no limits."
        return
    _, document = read_toml(path)
    for section, of_levels in document.items():
        for level, limits in of_levels.items():
            for metric, limit in limits.items():
                levels.setdefault((FOR_WHOM.get(section, section), metric, limit), []).append(level)
    yield from ("| orchestrator | metric | limit | levels |", "|---|---|---|---|")
    for (whose, metric, limit), where in levels.items():
        yield f"| {whose} | {metric} | {limit} | {', '.join(where)} |"
