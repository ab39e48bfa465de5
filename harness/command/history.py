"""`harness history`: what became of a scenario, accepted run by accepted run, and when it changed. Blocks nothing."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.command.arguments import EXISTING_FOLDER
from harness.errors import UsageError, unknown_name
from harness.terminal import shown

if TYPE_CHECKING:
    from harness.verdict.trend import Trend

BASELINES = "baselines"
HISTORY_VERSION = 1


@click.command()
@click.argument("scenario")
@click.option("--level", "levels", multiple=True, metavar="LABEL", help="Only this level; may be repeated.")
@click.option(
    "--metric", "metrics", metavar="NAMES", help="With commas.  [default: p50,p95,throughput,cpu_per_workflow]"
)
@click.option("--baselines", type=EXISTING_FOLDER, help="Folder of accepted runs.  [default: baselines/ beside the "
              "scenario's folder, or here]")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print only JSON on standard output.")
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Draw it there, too.")
def history(
    scenario: str, levels: tuple[str, ...], metrics: str | None, baselines: Path | None, as_json: bool, svg: Path | None
) -> None:
    """The accepted runs of SCENARIO (a file, or a name), on every class of machines, and where they changed.

    It never blocks: whatever it finds, the exit code is 0.
    """
    import msgspec

    from harness.report.history import write_history
    from harness.report.history_picture import history_svg

    if svg is not None and not svg.absolute().parent.is_dir():
        raise UsageError(f"--svg {svg}: there is no folder {str(svg.parent)!r}")
    trends = _trends(scenario, levels, _metrics(metrics), baselines)
    if svg is not None:
        svg.write_text(history_svg(trends), encoding="utf-8")
    if as_json:
        document = msgspec.json.encode({"schema_version": HISTORY_VERSION, "histories": trends})
        click.echo(msgspec.json.format(document, indent=2))
        return
    write_history(trends, sys.stdout)
    if svg is not None:
        click.echo(f"picture: {shown(svg)}")


def _metrics(words: str | None) -> Sequence[str]:
    """The metrics asked for. Raises UsageError with every one that is not known."""
    from harness.statistics.reading import COMPARED
    from harness.verdict.trend import TREND_METRICS

    if words is None:
        return TREND_METRICS
    names = list(dict.fromkeys(name.strip() for name in words.split(",")))
    mistakes = [unknown_name("--metric", name, COMPARED) for name in names if name not in COMPARED]
    if mistakes:
        raise UsageError(mistakes)
    return names


def _trends(scenario: str, levels: Sequence[str], metrics: Sequence[str], baselines: Path | None) -> list[Trend]:
    """Raises UsageError when there is nothing, RunInvalid for a damaged baseline."""
    from harness.verdict.baseline_file import read_baseline
    from harness.verdict.trend import trend_of

    name = _name(scenario)
    folder = baselines or next((found for found in _folders(scenario) if found.is_dir()), Path(BASELINES))
    files = sorted((folder / name).glob("*/*.json"))
    if not files:
        way_out = f"record some with `harness baseline record {scenario}`"
        raise UsageError(f"{shown(folder / name)}: no accepted runs of {name}; {way_out}")
    found = [read_baseline(path) for path in files]
    known = {baseline.level for baseline in found}
    if unknown := [level for level in levels if level not in known]:
        raise UsageError([unknown_name("--level", level, known) for level in unknown])
    chosen = [baseline for baseline in found if not levels or baseline.level in levels]
    return [trend_of(baseline, metrics) for baseline in chosen]


def _name(scenario: str) -> str:
    """The scenario's name: as its file says, or as it was given."""
    path = Path(scenario)
    if path.suffix != ".toml":
        return scenario
    try:
        return str(tomllib.loads(path.read_text(encoding="utf-8")).get("name", path.stem))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{scenario} cannot be read: {error}") from None


def _folders(scenario: str) -> Iterator[Path]:
    """Where baselines may lie: beside the scenario's folder, or here."""
    if scenario.endswith(".toml"):
        yield from (folder / BASELINES for folder in list(Path(scenario).absolute().parents)[:3])
    yield Path(BASELINES)
