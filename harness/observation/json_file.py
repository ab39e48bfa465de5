"""JSON files that a reader never sees half of."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec


def replace_json(path: Path, document: Any) -> None:
    """Write `document`, indented, as the whole content of the file at `path`, at once."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    os.replace(part, path)
