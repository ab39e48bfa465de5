"""The pages hang together: links lead somewhere, names exist, nothing is left out."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.command.commands import commands
from harness.fault import FAULTS
from harness.statistics.metrics import AGENT_METRICS, METRICS, SERVICE_METRICS
from tests.docs.documents import LANGUAGES, PAGES, ROOT, blocks

README = (ROOT / "README.md").read_text()
FURTHER = [ROOT / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")]
LINKED = [*PAGES, *FURTHER, *sorted((ROOT / "docs").glob("*/*.md"))]


def anchors(path: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), flags=re.M)
    return {re.sub(r"[^\w -]", "", re.sub(r"`", "", heading).lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", LINKED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_inside_the_project_leads_somewhere(path: Path) -> None:
    """To a file or a folder, and to a heading of it."""
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        place, _, anchor = link.partition("#")
        if "://" in link:
            continue
        there = path.parent / place if place else path
        assert there.exists(), link
        assert not anchor or anchor in anchors(there), link


def test_the_index_has_every_page() -> None:
    """And each folder of generated ones."""
    index = (ROOT / "docs" / "README.md").read_text()
    for path in (ROOT / "docs").glob("*.md"):
        assert path.name == "README.md" or f"]({path.name})" in index
    for path in (ROOT / "docs" / "reference").glob("*.md"):
        assert f"](reference/{path.name})" in index


def test_every_block_says_what_it_is_written_in() -> None:
    """So that nothing that is shown escapes the tests of its language."""
    for block in blocks():
        assert block.language in LANGUAGES, block
    for path in PAGES:
        assert not re.search(r"^ {4,}(harness|make|pip) ", path.read_text(), flags=re.M), f"{path}: use ```sh"


def test_the_readme_has_every_command() -> None:
    """In its table; and no other."""
    named = set(re.findall(r"^\| `harness (\w+)", README, flags=re.M))
    assert named == set(commands.commands)


def test_every_command_explains_itself() -> None:
    """`--help` works for each, and says something."""
    for name in commands.commands:
        result = CliRunner().invoke(commands, [name, "--help"])
        assert result.exit_code == 0
        assert len(result.output.splitlines()) > 4


@pytest.mark.parametrize("page", ["scenarios.md", "llm.md", "faults.md"])
def test_every_metric_that_is_explained_exists(page: str) -> None:
    """The names in the first column of a table of metrics are those that limits can be set on."""
    tables = (ROOT / "docs" / page).read_text().split("| metric | is |\n")[1:]
    known = {*METRICS, *AGENT_METRICS, *SERVICE_METRICS, "agent", "service", "NAME"}
    for table in tables:
        cells = re.findall(r"^\| (`.*?`.*?) \|", table.split("\n\n")[0], flags=re.M)
        assert {name for cell in cells for name in re.findall(r"[A-Za-z]\w+", cell)} <= known
    assert tables


def test_what_is_counted_is_counted_right() -> None:
    """Kinds of faults, rows of the catalogue."""
    rows = len(list((ROOT / "scenarios" / "resilience").glob("*.toml")))
    assert f"{len(FAULTS)} kinds of faults" in README
    assert f"a catalogue of {rows} rows" in README


def test_the_makefile_has_what_is_named() -> None:
    """And `make` alone lists it."""
    makefile = (ROOT / "Makefile").read_text()
    text = "".join(path.read_text() for path in (*PAGES, ROOT / "CONTRIBUTING.md"))
    for target in set(re.findall(r"^(?: {4})?make ([a-z-]+)|`make ([a-z-]+)`", text, flags=re.M)):
        name = "".join(target)
        assert re.search(rf"^{name}:.*## ", makefile, flags=re.M), name
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "make run" in listed
    assert "make test" in listed
