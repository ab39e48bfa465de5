"""Which build of the system under test a run drove, and how that build can be run again beside another."""

from __future__ import annotations

import hashlib
import json
import subprocess
from importlib.metadata import distribution, distributions
from pathlib import Path
from typing import Literal

import msgspec

PRODUCT = "orchestration-harness"
GIT_TIMEOUT_S = 20.0
NOT_PRODUCT = ("baselines", "reports")
"""Folders of a repository whose changes leave the build as it was."""


class Build(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`kind` git: `revision` is a commit; wheel: a distribution's name==version.

    `none`: nothing is known by which it could be run again, as of a black box.
    """

    kind: Literal["git", "wheel", "none"] = "none"
    revision: str = ""
    dirty: tuple[str, ...] = ()  # files that differ from the commit; such a build cannot be had again
    lock: str = ""  # SHA-256 of the lock text: which versions of everything else were installed


def this_build(target: str, folder: Path) -> Build:
    """The build that a run of `target` drives; `folder` is the scenario's, whose Python it may import.

    The embedded orchestrator is this package's own; a `python:` target belongs to its scenario's repository.
    """
    if target == "http":
        return Build()
    lock = lock_digest(lock_text())
    top = sources(target, folder)
    revision = None if top is None else _git(top, "rev-parse", "HEAD")
    if revision is not None and top is not None:
        excluded = [f":(exclude,top){name}" for name in NOT_PRODUCT]
        changed = _git(top, "status", "--porcelain", "--", ".", *excluded) or ""
        dirty = tuple(line[3:] for line in changed.splitlines())
        return Build(kind="git", revision=revision, dirty=dirty, lock=lock)
    if target == "embedded":
        return Build(kind="wheel", revision=f"{PRODUCT}=={distribution(PRODUCT).version}", lock=lock)
    return Build(lock=lock)


def sources(target: str, folder: Path) -> Path | None:
    """The top folder of the repository that the target's code is in; None when it is in none.

    A package that is installed inside of somebody's repository is not of it.
    """
    if target != "embedded":
        return repository(folder)
    here = Path(__file__).resolve()
    return None if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None else repository(here.parent)


def repository(folder: Path) -> Path | None:
    """The top folder of the git repository that `folder` is in; None when it is in none."""
    top = _git(folder, "rev-parse", "--show-toplevel")
    return None if top is None else Path(top)


def lock_text() -> str:
    """The installed distributions, `name==version` a line, sorted; this package and what is installed from a folder
    are left out, as no index has them."""
    lines = set()
    for each in distributions():
        name = each.metadata["Name"]
        if name and name.lower() != PRODUCT and not _is_from_folder(each.read_text("direct_url.json")):
            lines.add(f"{name}=={each.version}")
    return "".join(f"{line}\n" for line in sorted(lines, key=str.lower))


def lock_digest(text: str) -> str:
    """SHA-256 of a lock text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def _is_from_folder(direct_url: str | None) -> bool:
    return direct_url is not None and "dir_info" in json.loads(direct_url)


def _git(folder: Path, *words: str) -> str | None:
    """What git says there; None when there is no git, no repository, or no commit yet."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.rstrip("\n") if done.returncode == 0 else None
