"""Builds of the system under test made ready to run, each in an environment of its own, kept in a cache.

An environment holds what the build brings along; whatever else it needs comes from the packages installed here, which
a path file puts behind its own. The repository that a build comes from is never touched.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

from harness.errors import HarnessError, UsageError
from harness.observation.build import lock_digest, lock_text

CACHE_VARIABLE = "HARNESS_CACHE"
INSTALL_TIMEOUT_S = 900.0
LAST_LINES = 16  # the installer's own are eight of them
LOG = "install.log"
DONE = "done"
"""The file that a build which was made in full holds; one without it was cut short and is made again."""

INSTALLERS = ("pip", "setuptools", "wheel")
UNUSED_DAYS = 60
OURS = Path(__file__).resolve().parents[2]
Fetch = Callable[[Path], None]
"""Puts a build's sources into a new folder."""


def made(digest: str, source: Path | Fetch, lock: str | None, tell: Callable[[str], None]) -> Path:
    """The folder that holds the build: `venv`, and `source` unless it is a wheel. Made when it is not there yet.

    `digest` names the content, `source` is a wheel or gets the sources, `lock` is the lock text that the build was
    measured with, if known. Raises UsageError with the installer's last words.
    """
    words = f"{digest} {sys.version} {sys.prefix} {OURS} {lock_of(lock)} {lock_digest(lock_text())}"
    key = hashlib.sha256(words.encode()).hexdigest()[:20]
    place = cache() / "builds" / key
    _forget_unused(place.parent)
    with _locked(place):
        if (place / DONE).exists():
            (place / DONE).touch()  # used
            return place
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        project = source if isinstance(source, Path) else place / "source"
        tell(f"making {project.name if isinstance(source, Path) else digest[:7]} in an environment of its own")
        if not isinstance(source, Path):
            source(project)
        _install(place / "venv", project, lock)
        (place / DONE).touch()
    return place


def fetched(requirement: str, tell: Callable[[str], None]) -> Path:
    """The wheel of `name==version`, from the package index that pip knows. Raises UsageError with pip's last words."""
    place = cache() / "wheels" / requirement
    with _locked(place):
        if not (place / DONE).exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            tell(f"fetching {requirement}")
            pip = _with_installer(place / "venv")
            _run(
                [*pip, "wheel", "--no-deps", "--wheel-dir", str(place), requirement],
                f"fetching {requirement}",
                place / LOG,
            )
            shutil.rmtree(place / "venv")
            (place / DONE).touch()
    [wheel] = place.glob("*.whl")
    return wheel


def _forget_unused(builds: Path) -> None:
    """Remove what no duet has used for so long."""
    for done in builds.glob(f"*/{DONE}"):
        with _locked(done.parent):
            if done.exists() and time.time() - done.stat().st_mtime > UNUSED_DAYS * 86400:
                shutil.rmtree(done.parent)


def python_of(place: Path) -> str:
    """The interpreter of a build that was made."""
    return str(place / "venv" / "bin" / "python")


def cache() -> Path:
    """The user's cache folder of the harness; all of it may be removed at any time that no duet runs."""
    named = os.environ.get(CACHE_VARIABLE)
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "orchestration-harness"
    return Path(named).resolve() if named else usual


def lock_of(lock: str | None) -> str:
    """The digest of the versions that a build runs with: those it was measured with where known, else ours."""
    return lock_digest(lock_text() if lock is None else lock)


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Nobody else makes the same build meanwhile."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _install(venv: Path, project: Path, lock: str | None) -> None:
    """Make the environment: the project, if it is one; what the lock names and is not here; what still lacks."""
    is_project = project.is_file() or (project / "pyproject.toml").exists()
    differing = [] if lock is None else sorted(set(lock.splitlines()) - set(lock_text().splitlines()))
    if not is_project and not differing:
        _run([sys.executable, "-m", "venv", "--without-pip", str(venv)], "making an environment", venv.parent / LOG)
        _behind(venv, project)
        return
    pip = _with_installer(venv)
    if is_project:
        # Before ours are in sight: an installer that sees the same version installed here would leave it at that.
        _run([*pip, "install", "--no-deps", str(project)], f"installing {project.name}", venv.parent / LOG)
    own = [f"{each.name}=={each.version}" for each in distributions(path=[str(_packages(venv))])]
    if differing:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("\n".join(differing))
            file.flush()
            _run(
                [*pip, "install", "--no-deps", "-r", file.name],
                "installing the versions that the baseline was run with",
                venv.parent / LOG,
            )
    _behind(venv, project)
    if project_names := [each for each in own if each.partition("==")[0].lower() not in INSTALLERS]:
        _run([*pip, "install", *project_names], "installing what the build needs and is not here", venv.parent / LOG)


def _with_installer(venv: Path) -> list[str]:
    """Make the environment; how a command of its pip begins. By pip, which sees what is installed here; uv does not."""
    uv = shutil.which("uv")
    if find_spec("ensurepip") is not None:
        making = [sys.executable, "-m", "venv", str(venv)]
    elif uv is not None:
        making = [uv, "venv", "--quiet", "--seed", "--python", sys.executable, str(venv)]
    else:
        raise UsageError("a build needs an environment of its own: install Python's venv module, or uv")
    _run(making, "making an environment", venv.parent / LOG)
    return [str(venv / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]


def _packages(venv: Path) -> Path:
    [found] = (venv / "lib").glob("python*/site-packages")
    return found


def _behind(venv: Path, project: Path) -> None:
    """Let the environment find, after everything of its own, the build's sources and what is installed here."""
    behind = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), str(OURS)]
    sources = [] if project.is_file() else [str(project)]
    (_packages(venv) / "behind.pth").write_text("".join(f"{path}\n" for path in dict.fromkeys([*sources, *behind])))


def _run(words: Sequence[str], what: str, log: Path) -> None:
    # Builds that ask git for their version find no repository in an exported folder.
    env = {"SETUPTOOLS_SCM_PRETEND_VERSION": "0"} | {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False, env=env)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"{what} failed: {error}") from None
    if done.returncode:
        log.write_text(done.stdout + done.stderr)
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-LAST_LINES:])
        raise UsageError(f"{what} failed; all of it is in {log}, its end is:\n{last}")


def export(root: Path, revision: str) -> Fetch:
    """Gets the files of a commit, without a working tree of git's. Raises HarnessError."""

    def fetch(to: Path) -> None:
        with tempfile.TemporaryFile() as file:
            words = ["git", "-C", str(root), "archive", "--format=tar", revision]
            done = subprocess.run(words, stdout=file, stderr=subprocess.PIPE, check=False)
            if done.returncode:
                raise HarnessError(f"git archive {revision} failed: {done.stderr.decode(errors='replace').strip()}")
            file.seek(0)
            try:
                with tarfile.open(fileobj=file) as archive:
                    if hasattr(tarfile, "data_filter"):  # Python 3.11.4 and later: it takes nothing that leads outside
                        archive.extraction_filter = tarfile.data_filter
                    archive.extractall(to)  # git's own files of a commit, whose paths it has checked
            except tarfile.TarError as error:
                raise HarnessError(f"the files of {revision} cannot be had: {error}") from error

    return fetch


def copy(root: Path, files: Sequence[str]) -> Fetch:
    """Gets these files of a folder as they are now."""

    def fetch(to: Path) -> None:
        for name in files:
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, to / name)

    return fetch
