"""`harness runbook`: a page for every scenario that breaks something."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from harness.command.arguments import EXISTING_FOLDER, FOLDER
from harness.errors import HarnessError


@click.command()
@click.argument("scenarios", type=EXISTING_FOLDER)
@click.argument("folder", type=FOLDER)
@click.option("--baselines", type=EXISTING_FOLDER, default=Path("baselines"), help="Where their limits are.")
def runbook(scenarios: Path, folder: Path, baselines: Path) -> None:
    """Write into FOLDER what each of the SCENARIOS breaks, how it shows and what to do, from their own text."""
    from harness.report.runbook import runbook as pages_of

    pages = pages_of(scenarios, baselines)
    write_pages(folder, pages)
    click.echo(f"{folder}: {len(pages) - 1} pages, and an index")


def write_pages(folder: Path, pages: Mapping[str, str]) -> None:
    """Write them, over what is there by their names."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in pages.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise HarnessError(f"{error.filename or folder}: {error.strerror}") from None
