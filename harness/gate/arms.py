"""The builds that a duet compares: what a name on the command line stands for, and how that build is run.

Only the target's process runs as the arm says; what drives and measures both arms is this harness.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, UsageError
from harness.gate.builds import copy, export, fetched, lock_of, made, python_of
from harness.observation.build import Build, repository, sources, this_build
from harness.run.arm import Arm

REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.!+_-]*")
HOST = "harness/target/host.py"
"""What every build of the embedded target holds."""


Make = Callable[[], Arm]


def resolve_arms(
    names: Sequence[str], *, target: str, folder: Path, locks: Sequence[str | None] = (), tell: Callable[[str], None]
) -> list[Arm]:
    """The builds that `names` stand for, made ready to run; `tell` hears what is being made.

    A name is a git revision, a wheel, `name==version` on the package index, the folder of a checkout,
    `python:module:attribute`, or `.` for what is here.
    `target` and `folder` are the scenario's; `locks` the lock texts of the builds, where known. Raises UsageError with
    every name that stands for nothing, before anything is made, and when a build cannot be made.
    """
    if target == "http":
        raise UsageError(
            'a black box (target = "http") is not started by the harness, so two builds of it cannot be run in turn: '
            'serve the system as target = "python:module:attribute", and compare two of those or two revisions'
        )
    mistakes: list[str] = []
    makes: list[Make] = []
    for index, named in enumerate(names):
        naming = _Naming(named, target, folder.resolve(), locks[index] if index < len(locks) else None, tell)
        try:
            makes.append(naming.found())
        except UsageError as error:
            mistakes += error.mistakes
    if mistakes:
        raise UsageError(mistakes)
    return [make() for make in makes]


@dataclass(frozen=True, slots=True)
class _Naming:
    """One name, and what it may stand for in a scenario of this target that lies in this folder."""

    named: str
    target: str
    folder: Path
    lock: str | None
    tell: Callable[[str], None]

    def found(self) -> Make:
        """What makes the arm, once the name is known to stand for something. Raises UsageError."""
        named, path = self.named, Path(self.named)
        if named.startswith("python:"):
            if not all(part for part in named.split(":")) or named.count(":") != 2:
                raise UsageError(f"{named}: should be python:module:attribute")
            return lambda: Arm(named=named, build=this_build(named, self.folder), folder=self.folder, target=named)
        if named == ".":
            return lambda: Arm(named=named, build=this_build(self.target, self.folder), folder=self.folder)
        if path.suffix == ".whl":
            return self._wheel(path)
        if REQUIREMENT.fullmatch(named):
            return self._wheel(fetched(named, self.tell))
        return self._checkout(path.resolve()) if path.is_dir() else self._revision()

    def _wheel(self, path: Path) -> Make:
        try:
            content = path.read_bytes()
            with zipfile.ZipFile(path) as wheel:
                held = set(wheel.namelist())
        except OSError as error:
            raise UsageError(f"{self.named}: cannot be read: {error.strerror}") from None
        except zipfile.BadZipFile:
            raise UsageError(f"{self.named}: is no wheel") from None
        self._check_wheel(held)
        digest = hashlib.sha256(content).hexdigest()
        build = Build(kind="wheel", revision=f"{path.name}@{digest[:12]}", lock=lock_of(self.lock))

        def make() -> Arm:
            place = made(digest, path.resolve(), self.lock, self.tell)
            return Arm(named=self.named, build=build, folder=self.folder, python=python_of(place))

        return make

    def _check_wheel(self, held: set[str]) -> None:
        """A wheel has to hold the target, and nothing beside the scenario may be imported in its place."""
        if self.target == "embedded":
            if HOST not in held:
                raise UsageError(f"{self.named}: is a wheel of something else, not of this harness")
            return
        module = self.target.split(":")[1].replace(".", "/")
        if not held & {f"{module}.py", f"{module}/__init__.py"}:
            raise UsageError(f"{self.named}: does not hold {module}, which is the scenario's target")
        top = self.folder / module.partition("/")[0]
        if top.exists() or top.with_suffix(".py").exists():
            raise UsageError(f"{self.named}: {top.name} lies beside the scenario, too, and would be imported instead")

    def _checkout(self, root: Path) -> Make:
        """A folder as it stands, committed or not."""
        if repository(root) != root:
            raise UsageError(f"{self.named}: is a folder, but not the top of a git checkout")
        listed = _git(root, "ls-files", "--cached", "--others", "--exclude-standard", "-z").split(b"\0")
        files = sorted({name for each in listed if each and (root / (name := os.fsdecode(each))).is_file()})
        relative = self._relative(lambda name: (root / name).exists())
        digest = hashlib.sha256()
        for name in files:
            digest.update(f"{name}\0{hashlib.sha256((root / name).read_bytes()).hexdigest()}\0".encode())
        build = this_build("python:", root)
        return lambda: self._from_source(build, digest.hexdigest(), relative, copy(root, files))

    def _revision(self) -> Make:
        if shutil.which("git") is None:
            raise UsageError(f"{self.named}: is no file or folder, and a revision needs git, which is not installed")
        root = sources(self.target, self.folder)
        if root is None:
            here = "this harness is" if self.target == "embedded" else f"{self.folder} is"
            raise UsageError(f"{self.named}: is no file or folder, and for a revision {here} in no git repository")
        try:
            asked = f"{self.named}^{{commit}}"
            revision = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", asked).decode().strip()
        except HarnessError:
            shallow = _git(root, "rev-parse", "--is-shallow-repository").strip() == b"true"
            more = "; this clone is shallow, so perhaps after: git fetch --unshallow" if shallow else ""
            raise UsageError(f"{self.named}: is no file, and no revision of the repository at {root}{more}") from None
        held = set(os.fsdecode(_git(root, "ls-tree", "-r", "-t", "-z", "--name-only", revision)).split("\0"))
        relative = self._relative(held.__contains__)
        now = this_build(self.target, self.folder)
        if now.dirty and now.revision == revision:
            self.tell(f"{self.named} is what was committed; {len(now.dirty)} changed files here are not part of it")
        build = Build(kind="git", revision=revision, lock=lock_of(self.lock))
        return lambda: self._from_source(build, revision, relative, export(root, revision))

    def _relative(self, holds: Callable[[str], bool]) -> str | None:
        """Where the scenario's folder is in its sources; None for the embedded target, whose scenarios are ours.

        Raises UsageError when the sources do not hold what is to be run.
        """
        if self.target == "embedded":
            if not holds(HOST):
                raise UsageError(f"{self.named}: holds no {HOST}, so it is no build of this harness")
            return None
        top = repository(self.folder)
        relative = str(self.folder.relative_to(top)) if top is not None else "."
        if relative != "." and not holds(relative):
            raise UsageError(f"{self.named}: has no folder {relative}, in which the scenario is here")
        return relative

    def _from_source(self, build: Build, digest: str, relative: str | None, fetch: Callable[[Path], None]) -> Arm:
        place = made(digest, fetch, self.lock, self.tell)
        own = self.folder if relative is None else place / "source" / relative
        return Arm(named=self.named, build=build, folder=own, python=python_of(place))


def _git(root: Path, *words: str) -> bytes:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, check=False)
    if done.returncode:
        raise HarnessError(f"git {words[0]} failed in {root}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
