"""How workflows and the files of a level are named.

A workflow is `LEVEL-ORDINAL`, so that a witness who is told only the name still knows the level.
"""

from __future__ import annotations

import re


def level_prefix(label: str) -> str:
    """What the ids of a level's workflows begin with, before their `-`: the label, without what a path may not hold."""
    return re.sub(r"[^0-9A-Za-z.]+", "_", label)


def prefix_of(workflow: str) -> str:
    """The prefix of the level that a workflow belongs to; empty for a name that is none of ours."""
    return workflow.partition("-")[0]


def ordinal_of(workflow: str) -> int:
    """Which of its level's workflows it is, from 0. Raises ValueError for a name that is none of ours."""
    return int(workflow.rpartition("-")[2])


def file_stem(label: str) -> str:
    """What the files of a level are called, before their ending."""
    return label.replace("/", "-per-")


def label_of(stem: str) -> str:
    """The level whose files are called so."""
    return stem.replace("-per-", "/")
