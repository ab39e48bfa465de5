"""What the README and docs/ show: their fenced blocks, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
"""Those that people wrote; the reference and the runbook are generated."""
LANGUAGES = ("sh", "bash", "python", "toml", "yaml", "cron", "text")
_FENCE = re.compile(r"^([ \t]*)```(\w*)\n(.*?)^[ \t]*```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block."""

    page: str
    language: str
    text: str


def blocks(language: str = "") -> Iterator[Block]:
    """Of every page; of one language, if it is named."""
    for path in PAGES:
        for indent, found, text in _FENCE.findall(path.read_text(encoding="utf-8")):
            plain = re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)
            if language in ("", found):
                yield Block(path.name, found, plain)


def snippet(page: str, language: str, containing: str) -> str:
    """The one block of that page and language that contains the words."""
    [block] = [block for block in blocks(language) if block.page == page and containing in block.text]
    return block.text


def commands() -> Mapping[str, tuple[str, ...]]:
    """Every command of the `sh` blocks as it is written, comments apart -> its words."""
    lines = [line for block in blocks("sh") for line in block.text.replace("\\\n", " ").splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    return {shlex.join(each): tuple(each) for each in words if each}
