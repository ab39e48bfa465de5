"""The scripts of our own pages: what they share, and a content policy that lets exactly one of them run."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

UNITS = "units.js"
"""How numbers are told, as by `scenario/units.py`; the first part of each page's script."""


def with_units(script: str) -> str:
    """The whole script of a page: it begins with what tells its numbers."""
    return files(__package__).joinpath(UNITS).read_text(encoding="utf-8") + script


def policy(script: str, *further: str) -> str:
    """What a page may do: run this very script and use its own styles, and `further`; load and send nothing else."""
    digest = b64encode(sha256(script.encode()).digest()).decode()
    allowed = (f"script-src 'sha256-{digest}'", "style-src 'unsafe-inline'", *further)
    return "; ".join(("default-src 'none'", *allowed, "base-uri 'none'", "form-action 'none'"))
