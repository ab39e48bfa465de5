"""Names of builds, and what they are made into."""

from __future__ import annotations

import os
import subprocess
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.child import Children
from harness.errors import UsageError
from harness.gate.arms import resolve_arms
from harness.gate.builds import DONE, UNUSED_DAYS
from harness.observation.build import sources
from harness.observation.manifest import read_manifest
from harness.run.arm import Arm
from harness.run.listening import Interrupt, Silent
from harness.run.plan import Options, prepare
from harness.run.run import execute

TARGET = "python:agent:run"
AGENT = 'VERSION = "old"\nasync def run(request, watch): return VERSION\n'
EMBEDDED = """
name = "embedded"
description = "in another build"
[load]
closed = [2]
warmup = "0 s"
measure = "10 s"
until_ok = 5
[[workflow]]
kind = "job"
steps = [{ name = "only", agent = "data" }]
[agent.data]
work = { wait = "5 ms" }
"""


def git(folder: Path, *words: str) -> str:
    """What git says there."""
    me = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *me, "-C", str(folder), *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of builds of the test's own."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def scenarios(tmp_path: Path) -> Path:
    """A scenarios' folder in a small repository, with the target beside them; two commits."""
    folder = tmp_path / "repository" / "scenarios"
    folder.mkdir(parents=True)
    git(folder.parent, "init", "--quiet")
    (folder.parent / "README").write_text("before there was a scenario\n")
    git(folder.parent, "add", ".")
    git(folder.parent, "commit", "--quiet", "-m", "first")
    (folder / "agent.py").write_text(AGENT)
    (folder.parent / "probe.py").write_text("print('the build')\n")
    git(folder.parent, "add", ".")
    git(folder.parent, "commit", "--quiet", "-m", "second")
    return folder


def resolved(
    *names: str, folder: Path, target: str = TARGET, tell: Callable[[str], None] = lambda _: None
) -> list[Arm]:
    """The builds of these names."""
    return resolve_arms(names, target=target, folder=folder, tell=tell)


def wheel(folder: Path, name: str, version: str, **files: str) -> Path:
    """A wheel, written by hand."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for module, text in files.items():
            archive.writestr(f"{module}.py", text)
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return path


def says(python: str | None, program: str, folder: Path) -> str:
    """What a program prints in an environment, which is not to see the current folder."""
    assert python is not None
    done = subprocess.run([python, "-P", "-c", program], capture_output=True, text=True, cwd=folder, check=True)
    return done.stdout.strip()


def test_what_is_here_needs_no_environment(scenarios: Path, cache: Path) -> None:
    """Neither `.` nor another target of the same scenario, which is then run in the place of its own."""
    here, other = resolved(".", "python:agent:other", folder=scenarios)
    assert (here.python, here.target, here.folder) == (None, None, scenarios)
    assert (other.python, other.target, other.folder) == (None, "python:agent:other", scenarios)
    assert here.build.revision == git(scenarios, "rev-parse", "HEAD")
    assert not cache.exists()


def test_a_revision_is_what_was_committed(scenarios: Path) -> None:
    """What was changed since is not part of it, which is said; the repository stays as it was."""
    (scenarios / "agent.py").write_text(AGENT.replace("old", "new"))
    before, said = git(scenarios, "status", "--porcelain"), list[str]()
    [arm] = resolved("HEAD", folder=scenarios, tell=said.append)
    assert (arm.folder / "agent.py").read_text() == AGENT
    assert arm.build.kind == "git"
    assert arm.build.revision == git(scenarios, "rev-parse", "HEAD")
    assert arm.build.dirty == ()
    assert "HEAD is what was committed; 1 changed files here are not part of it" in said
    assert git(scenarios, "status", "--porcelain") == before
    assert git(scenarios, "worktree", "list").count("\n") == 0


def test_a_folder_is_what_stands_in_it(scenarios: Path, tmp_path: Path) -> None:
    """Committed or not; but not what git is to ignore."""
    other = tmp_path / "other"
    git(tmp_path, "clone", "--quiet", str(scenarios.parent), str(other))
    (other / "scenarios" / "agent.py").write_text(AGENT.replace("old", "other"))
    (other / "scenarios" / "new.py").write_text("")
    (other / ".git" / "info" / "exclude").write_text("ignored.py\n")
    (other / "scenarios" / "ignored.py").write_text("")
    [arm] = resolved(str(other), folder=scenarios)
    assert sorted(path.name for path in arm.folder.iterdir()) == ["agent.py", "new.py"]
    assert "other" in (arm.folder / "agent.py").read_text()
    assert arm.build.dirty == ("scenarios/agent.py", "scenarios/new.py")


def test_a_build_is_made_once(scenarios: Path) -> None:
    """And again when its making was cut short, as nobody knows what is in it then."""
    said: list[str] = []
    [first] = resolved("HEAD", folder=scenarios, tell=said.append)
    [second] = resolved("HEAD", folder=scenarios, tell=said.append)
    assert second == first
    assert len(said) == 1
    (first.folder / "agent.py").write_text("half")
    (first.folder.parents[1] / DONE).unlink()
    [third] = resolved("HEAD", folder=scenarios, tell=said.append)
    assert len(said) == 2
    assert (third.folder / "agent.py").read_text() == AGENT


def test_its_process_finds_its_own_modules(scenarios: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those of the current folder, nor what PYTHONPATH names: they would be the other build's."""
    (tmp_path / "probe.py").write_text("print('the current folder')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    [arm] = resolved("HEAD", folder=scenarios)
    with Children("test-arms", tmp_path / "logs") as children:
        assert children.start("probe", "probe", python=arm.python).stdout.readline() == b"the build\n"
    assert says(arm.python, "import harness; print(harness.__file__)", tmp_path).endswith("harness/__init__.py")


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("no-such-revision", "is no file, and no revision of the repository at"),
        ("-x", "is no file, and no revision of the repository at"),
        ("missing.whl", "cannot be read: No such file or directory"),
        ("text.whl", "is no wheel"),
        ("something-1-py3-none-any.whl", "does not hold agent, which is the scenario's target"),
        ("agent-1-py3-none-any.whl", "agent lies beside the scenario, too, and would be imported instead"),
        ("plain", "is a folder, but not the top of a git checkout"),
        ("HEAD^", "has no folder scenarios, in which the scenario is here"),
        ("python:agent", "should be python:module:attribute"),
    ],
)
def test_a_name_that_stands_for_nothing(
    named: str, said: str, scenarios: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    """It is said, with every other one, before anything is made."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain").mkdir()
    (tmp_path / "text.whl").write_text("no zip")
    wheel(tmp_path, "something", "1", something="")
    wheel(tmp_path, "agent", "1", agent=AGENT)
    with pytest.raises(UsageError) as caught:
        resolved("HEAD", named, "neither/this", folder=scenarios)
    [first, second] = caught.value.mistakes
    assert first.startswith(f"{named}: {said}")
    assert second.startswith("neither/this: is no file")
    assert not cache.exists()


def test_a_shallow_clone_says_how_to_get_the_rest(scenarios: Path, tmp_path: Path) -> None:
    """The revision may well be one that was not fetched."""
    before = git(scenarios, "rev-parse", "HEAD^")
    git(tmp_path, "clone", "--quiet", "--depth", "1", scenarios.parent.as_uri(), str(tmp_path / "shallow"))
    with pytest.raises(UsageError, match="git fetch --unshallow"):
        resolved(before, folder=tmp_path / "shallow" / "scenarios")


def test_a_revision_needs_a_repository(tmp_path: Path) -> None:
    """Else there is nothing that it could be one of."""
    with pytest.raises(UsageError, match=r"for a revision .* is in no git repository"):
        resolved("HEAD", folder=tmp_path)


def test_a_revision_without_git(scenarios: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is said."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="needs git, which is not installed"):
        resolved("HEAD", folder=scenarios)


def test_a_black_box_has_no_builds(tmp_path: Path) -> None:
    """The way out is named."""
    with pytest.raises(UsageError, match="python:module:attribute"):
        resolved(".", "HEAD", folder=tmp_path, target="http")


def test_a_wheel_of_something_else_is_no_build_of_this_harness(tmp_path: Path) -> None:
    """The embedded target is in ours alone."""
    path = wheel(tmp_path, "something", "1", something="")
    with pytest.raises(UsageError, match="is a wheel of something else"):
        resolved(str(path), folder=tmp_path, target="embedded")


def test_a_wheel_brings_its_own_packages_and_the_locked_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the lock names in another version than is installed here is installed beside it; the rest is ours."""
    index = tmp_path / "index"
    index.mkdir()
    wheel(index, "tinylib", "1.5", tinylib="VERSION = 'locked'")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_NO_INDEX", "1")
    for variable in ("PIP_FIND_LINKS", "UV_FIND_LINKS"):
        monkeypatch.setenv(variable, str(index))
    path = wheel(tmp_path, "agentpackage", "2", agent=AGENT)
    scenarios = tmp_path / "scenarios"
    scenarios.mkdir()
    [arm] = resolve_arms([str(path)], target=TARGET, folder=scenarios, locks=["tinylib==1.5\n"], tell=lambda _: None)
    program = "import agent, tinylib, msgspec, harness; print(agent.VERSION, tinylib.VERSION)"
    assert says(arm.python, program, tmp_path) == "old locked"
    assert arm.build.kind == "wheel"
    assert arm.build.revision.startswith(path.name)
    assert arm.folder == scenarios


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index of the test's own."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    (tmp_path / "index").mkdir()
    return tmp_path / "index"


def test_a_published_version_is_fetched_once(tmp_path: Path, index: Path) -> None:
    """From the package index, as a wheel."""
    published = wheel(index, "agentpackage", "2", agent=AGENT)
    scenarios = tmp_path / "scenarios"
    scenarios.mkdir()
    [arm] = resolved("agentpackage==2", folder=scenarios)
    assert says(arm.python, "import agent; print(agent.VERSION)", tmp_path) == "old"
    assert (arm.named, arm.build.kind) == ("agentpackage==2", "wheel")
    published.unlink()
    assert resolved("agentpackage==2", folder=scenarios) == [arm]


def test_a_version_that_nobody_published(tmp_path: Path, index: Path, cache: Path) -> None:
    """Said with pip's own words, and asked for again the next time."""
    with pytest.raises(UsageError, match=r"(?s)fetching agentpackage==3 failed.*No matching distribution"):
        resolved("agentpackage==3", folder=tmp_path)
    assert not list(cache.rglob(DONE))


def test_builds_that_nobody_uses_are_forgotten(scenarios: Path, cache: Path) -> None:
    """Two months after the last duet with them; using one counts."""
    resolved("HEAD", folder=scenarios)
    [done] = cache.rglob(DONE)
    long_ago = time.time() - (UNUSED_DAYS + 1) * 86400
    os.utime(done, (long_ago, long_ago))
    resolved("HEAD~1", folder=scenarios.parent, target="python:probe:run")
    assert not done.exists()
    [other] = cache.rglob(DONE)
    os.utime(other, (long_ago + 2 * 86400,) * 2)
    resolved("HEAD~1", folder=scenarios.parent, target="python:probe:run")
    assert time.time() - other.stat().st_mtime < 3600


def test_a_build_that_cannot_be_made_says_the_last_words(scenarios: Path, cache: Path) -> None:
    """And is not taken for made the next time."""
    (scenarios.parent / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "broken"\nversion = "1"\n'
    )
    (scenarios.parent / "backend.py").write_text("raise RuntimeError('this project cannot be built')\n")
    git(scenarios, "add", "-A", str(scenarios.parent))
    git(scenarios, "commit", "--quiet", "-m", "broken")
    with pytest.raises(UsageError, match=r"(?s)installing source failed.*this project cannot be built"):
        resolved("HEAD", folder=scenarios)
    assert not list(cache.rglob(DONE))


def test_the_embedded_target_of_another_build(tmp_path: Path) -> None:
    """This project's last commit is built in an environment of its own, and serves there."""
    if sources("embedded", tmp_path) is None:
        pytest.skip("NOT TESTED: a build of this project: it is in no git checkout")
    (tmp_path / "embedded.toml").write_text(EMBEDDED)
    [arm] = resolved("HEAD", folder=tmp_path, target="embedded")
    where = says(arm.python, "import harness.target.host as host; print(host.__file__)", tmp_path)
    assert Path(where).is_relative_to(tmp_path / "cache")
    plan = prepare(tmp_path / "embedded.toml", Options(reports=tmp_path / "reports"), "harness duet")

    run_dir = execute(replace(plan, arm=arm), Silent(), Interrupt())
    manifest = read_manifest(run_dir)
    assert [end.status for end in manifest.ended] == ["complete"]
    assert manifest.build == arm.build
