"""From a TOML file to a `Scenario`, or to one UsageError that lists every mistake with its place and the way out."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.scenario.agent_checks import check_agents
from harness.scenario.checks import Draft, Known, check_load, check_scenario
from harness.scenario.fault_checks import check_faults, check_sometimes
from harness.scenario.fleet_checks import check_fleet
from harness.scenario.http_checks import check_http
from harness.scenario.lines import KeyLines
from harness.scenario.llm_checks import check_llm
from harness.scenario.mistakes import Mistake, dotted, nearest
from harness.scenario.scenario import Scenario
from harness.scenario.schema import scenario_schema
from harness.scenario.state_checks import check_state
from harness.scenario.validation import validate

__all__ = ["Known", "list_scenarios", "load_scenario", "read_toml", "report_mistakes", "scenario_schema"]

CHECKS: tuple[Callable[[Draft], Iterator[Mistake]], ...] = (
    check_scenario,
    check_load,
    check_agents,
    check_state,
    check_fleet,
    check_llm,
    check_http,
    check_faults,
    check_sometimes,
)


def load_scenario(path: Path, *, known: Known, allow_remote: bool = False) -> Scenario:
    """The scenario that the file at `path` describes.

    Raises UsageError with every mistake of the file, in the order of its lines. `allow_remote` lets URLs name other
    hosts than this machine.
    """
    text, document = read_toml(path)
    validated = validate(document)
    draft = Draft(scenario=validated.scenario, written=document, stem=path.stem, known=known, allow_remote=allow_remote)
    checked = (mistake for check in CHECKS for mistake in check(draft) if not mistake.rests_on(validated.broken))
    report_mistakes(path, text, [*validated.mistakes, *checked])
    return validated.scenario


def read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """The text of a file and the TOML document it holds. Raises UsageError when there is none."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UsageError(_no_such_file(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        place = f"{path}:{line[1] if line else len(text.splitlines())}"
        raise UsageError(f"{place}: is not TOML: {error}") from None
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits; brackets in brackets in …
        raise UsageError(f"{path}: is not TOML that can be read: {error}") from None


def report_mistakes(path: Path, text: str, mistakes: list[Mistake]) -> None:
    """Raise UsageError for `mistakes` in the TOML `text` of the file at `path`; do nothing when there are none."""
    if not mistakes:
        return
    lines = KeyLines(text)
    placed = sorted(((lines.line(mistake.path), mistake) for mistake in mistakes), key=lambda pair: pair[0] or 0)
    sentences = (
        f"{path}{f':{line}' if line else ''}: {dotted(mistake.path)}: {mistake.text}" for line, mistake in placed
    )
    raise UsageError(list(dict.fromkeys(sentences)))


def _no_such_file(path: Path) -> str:
    if not path.parent.is_dir():
        return f"{path}: there is no folder {str(path.parent)!r}"
    names = sorted(file.stem for file in path.parent.glob("*.toml"))
    near = nearest(path.stem, names)
    hint = f"; did you mean {str(path.parent / f'{near}.toml')!r}?" if near else ""
    return f"{path}: no such scenario{hint} (there: {', '.join(names) or 'none'})"


def list_scenarios(folder: Path) -> list[tuple[Path, str, str]]:
    """Path, name and one-line description of every scenario below `folder`, by path.

    A file that cannot be read is listed too, with the reason in place of its description.
    Raises UsageError when there is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {str(folder)!r}")
    return [(path, *_title(path)) for path in sorted(folder.rglob("*.toml"))]


def _title(path: Path) -> tuple[str, str]:
    try:
        _, document = read_toml(path)
    except UsageError as error:
        return path.stem, str(error)
    return path.stem, str(document.get("description", "has no description"))
