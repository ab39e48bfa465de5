"""What `health.jsonl` says of real services: answering, held still, dead."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from harness.child import Children
from harness.errors import HarnessError
from harness.observation.health import ANSWER_S, SAMPLE_S, HealthSampler
from harness.observation.observation import HealthSample
from harness.service.service import Pausable, Running, ServiceSettings, provide

PATIENCE_S = 20.0
BOTH = ("redis", "postgres")


@contextmanager
def a_redis(folder: Path) -> Iterator[Running]:
    """One of the test's own, to be held still and ended."""
    with (
        Children(f"test-health-{os.getpid()}", folder / "logs") as children,
        provide("redis", ServiceSettings(order=("embedded",)), children) as running,
    ):
        yield running


def read(path: Path) -> list[HealthSample]:
    """All lines of the file."""
    return [msgspec.json.decode(line, type=HealthSample) for line in path.read_bytes().splitlines()]


def until(path: Path, holds: Callable[[list[HealthSample]], bool]) -> list[HealthSample]:
    """The lines, as soon as they are as expected; or as they are when our patience ends."""
    give_up = time.monotonic() + PATIENCE_S
    while True:
        found = read(path) if path.exists() else []
        if holds(found) or time.monotonic() > give_up:
            return found
        time.sleep(0.02)


def test_services_that_answer_have_response_times(tmp_path: Path, redis_url: str, postgres_url: str) -> None:
    """Each is sampled on its own; times are seconds on the run's clock."""
    path = tmp_path / "health.jsonl"
    t0 = time.monotonic()
    with HealthSampler(path, {"redis": redis_url, "postgres": postgres_url}, level="10", t0=t0) as sampler:
        until(path, lambda found: all(sum(s.service == name for s in found) >= 3 for name in BOTH))
    took_s = time.monotonic() - t0
    found = read(path)
    assert sampler.error is None
    assert {sample.service for sample in found} == set(BOTH)
    for sample in found:
        assert sample.error == ""
        assert sample.response_s is not None
        assert 0 < sample.response_s < ANSWER_S
        assert 0 <= sample.at < took_s
        assert sample.level == "10"
    for name in BOTH:
        assert sum(sample.service == name for sample in found) <= took_s / SAMPLE_S + 1
    assert sampler.latest["redis"] == [sample for sample in found if sample.service == "redis"][-1]


def test_one_held_still_is_seen_and_delays_no_other(tmp_path: Path, postgres_url: str) -> None:
    """Its samples say that no answer came, the other's go on; when it wakes it is seen to answer again."""
    path = tmp_path / "health.jsonl"
    with a_redis(tmp_path) as running:
        assert isinstance(running, Pausable)
        services = {"redis": running.url, "postgres": postgres_url}
        with HealthSampler(path, services, level="10", t0=time.monotonic()):
            until(path, lambda found: any(s.service == "redis" and s.response_s is not None for s in found))
            running.pause()
            still = until(path, lambda found: sum(s.service == "redis" and bool(s.error) for s in found) >= 2)
            running.resume()
            woken = until(path, lambda found: any(s.response_s for s in found[len(still) :] if s.service == "redis"))
    silent = [sample for sample in still if sample.error]
    assert {(sample.service, sample.error) for sample in silent} == {("redis", "no answer within 1 s")}
    begun, ended = silent[0].at, silent[-1].at + ANSWER_S
    beside = [sample for sample in woken if sample.service == "postgres" and begun < sample.at < ended]
    assert len(beside) >= 3
    assert all(sample.response_s is not None for sample in beside)
    assert any(sample.response_s for sample in woken[len(still) :] if sample.service == "redis")


def test_a_dead_service_is_a_line_with_its_error_and_without_credentials(tmp_path: Path) -> None:
    """So is one that refuses us; nothing is raised."""
    path = tmp_path / "health.jsonl"
    with a_redis(tmp_path) as running:
        password = running.url.split(":")[2].split("@")[0]
        wrong = running.url.replace(password, "mistaken-secret")
        with HealthSampler(path, {"redis": wrong}, level="10", t0=time.monotonic()):
            refused = until(path, bool)
    assert refused[0].response_s is None
    assert refused[0].error.startswith("AuthenticationError")
    path.unlink()
    with HealthSampler(path, {"redis": running.url}, level="10", t0=time.monotonic()) as sampler:
        dead = until(path, bool)
    assert sampler.error is None
    assert dead[0].error == "ConnectionError: Connection refused"
    gone = running.url.replace("redis://", "postgresql://")
    with HealthSampler(path, {"postgres": gone}, level="10", t0=time.monotonic()):
        until(path, lambda found: len(found) > len(dead))
    assert read(path)[-1].error == "ConnectionRefusedError: Connection refused"
    assert password not in path.read_text()
    assert "mistaken-secret" not in path.read_text()


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path, redis_url: str) -> None:
    """Health that was not recorded must not look like health."""
    sampler = HealthSampler(tmp_path / "no" / "folder.jsonl", {"redis": redis_url}, level="10", t0=0.0)
    with pytest.raises(HarnessError, match=r"could not be written: .*No such file"), sampler:
        pass
    assert isinstance(sampler.error, FileNotFoundError)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_an_error(redis_url: str) -> None:
    """Also in the middle of sampling, from a task."""
    sampler = HealthSampler(Path("/dev/full"), {"redis": redis_url}, level="10", t0=0.0)
    sampler.start()
    sampler._thread.join(PATIENCE_S)
    sampler.stop()
    assert isinstance(sampler.error, OSError)
    assert "No space left" in str(sampler.error)
