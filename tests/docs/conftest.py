"""A user's project for the tests of a file."""

from __future__ import annotations

import shutil

import pytest

from tests.docs.documents import ROOT
from tests.docs.project import QUICK, Project, limits_of


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """With a run in `RUN`, and other limits in `stricter`."""
    project = Project(tmp_path_factory.mktemp("project"))
    for name in ("scenarios", "baselines"):
        shutil.copytree(ROOT / name, project.folder / name)
    written = project.run("harness", "init")
    assert written.returncode == 0, written.stderr
    done = project.run("harness", "run", "my_bot", "--level", "10", *QUICK, "--reports", "first")
    assert done.returncode in (0, 3), done.stdout + done.stderr
    [run] = (project.folder / "first").iterdir()
    run.rename(project.folder / "RUN")
    project.write("stricter/my_bot.toml", limits_of("p50", "< 1 us"))
    return project
