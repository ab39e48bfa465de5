"""What happens to a run when its servers are not there, or go away; and that nobody is told their passwords."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from harness.errors import UsageError
from harness.run.plan import Options, prepare
from harness.target.target import Services

ROOT = Path(__file__).parents[2]
SCENARIO = ROOT / "scenarios" / "state_shared_context.toml"
SECRET = "s3cr3t"


def command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "harness", "run", str(SCENARIO), "--level", "10", "--reports", str(folder), *words]


def test_a_given_server_that_is_not_there_ends_in_one_sentence(tmp_path: Path) -> None:
    """Exit 3: nothing was driven, so there is no run's folder, and the option is named; the password is not."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"redis://:{SECRET}@127.0.0.1:{port}/0"
    done = subprocess.run(command(tmp_path, "--redis-url", url), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert (
        f"the Redis that was given (--redis-url or HARNESS_REDIS_URL): nothing answers at 127.0.0.1:{port}"
        in done.stderr
    )
    assert SECRET not in done.stderr + done.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_empty_url_is_a_mistake() -> None:
    """An empty secret of a CI job must not measure another server."""
    with pytest.raises(UsageError, match="--redis-url: is empty"):
        prepare(SCENARIO, Options(redis_url=" "), command="")


def test_a_server_of_ours_that_dies_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 4, and the cause is said instead of what followed from it."""
    monkeypatch.setenv("HARNESS_SERVICES", "embedded,program")
    run = subprocess.Popen(command(tmp_path), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    give_up = time.monotonic() + 60
    while not any(b"observation" in path.read_bytes() for path in tmp_path.glob("*/journal.jsonl")):
        assert time.monotonic() < give_up
        assert run.poll() is None
    servers = [
        child
        for child in psutil.Process(run.pid).children(recursive=True)
        if child.name().startswith(("valkey", "redis"))
    ]
    assert servers
    for server in servers:
        server.kill()
    out, _ = run.communicate(timeout=60)
    assert run.returncode == 4, out
    assert "the redis server that we started" in out


def test_nobody_is_told_a_password() -> None:
    """Neither by what a target prints of its services, nor by the command that repeats a run."""
    url = f"redis://:{SECRET}@127.0.0.1/0"
    assert SECRET not in repr(Services(redis_url=url, postgres_url=url, llm_url=url))
    options = Options(redis_url=url, postgres_url=url)
    assert SECRET not in repr(options)
    assert options.words() == ["--redis-url", "URL", "--postgres-url", "URL"]
