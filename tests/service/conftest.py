"""Real servers for the tests of where they come from, and a Docker engine where one can be had."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.child import Children
from harness.service.container import engine_trouble

sys.path.insert(0, str(Path(__file__).parent))  # makes `speaking` importable from the tests of this folder
ENGINE = Path(__file__).parents[1] / "docker" / "engine"
ENGINE_S = 120.0
NOT_TESTED = "NOT TESTED"  # the summary shows what was skipped with these words: see tests/conftest.py
REQUIRED = "HARNESS_REQUIRE_DOCKER"


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    """What the test starts; nothing of it may be left for the guardian to end."""
    with Children(f"test-{os.getpid()}-{tmp_path.name}", tmp_path / "logs") as children:
        yield children
    assert children.leftovers == ()


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """DOCKER_HOST of an engine that answers ("" for the default): one that runs, or our own for this session."""
    if engine_trouble() is None:
        yield os.environ.get("DOCKER_HOST", "")
        return
    home = tmp_path_factory.mktemp("engine") / "e"
    ours = subprocess.Popen(
        [sys.executable, ENGINE, "run"],
        env=os.environ | {"HARNESS_ENGINE_HOME": str(home)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert ours.stdout is not None
    first = ours.stdout.readline()
    if not first:
        _, words = ours.communicate()
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set, and {words.strip()}")
        pytest.skip(f"{NOT_TESTED}: servers in containers: {words.strip()}; set {REQUIRED}=1 to make this a failure")
    yield first.strip().partition("DOCKER_HOST=")[2]
    ours.communicate()  # the end of its input ends it
    assert not home.exists(), "the engine left something behind"


@pytest.fixture
def docker_host(engine: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """For one test, the environment names the engine."""
    if engine:
        monkeypatch.setenv("DOCKER_HOST", engine)
    return engine
