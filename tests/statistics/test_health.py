"""How services answered: a slow one is seen as slow, a silent one as down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.observation.health import ANSWER_S
from harness.observation.manifest import ServiceUsed
from harness.observation.observation import HealthSample
from harness.statistics.summary import summarise

if TYPE_CHECKING:
    from tests.conftest import RunBuilder

REDIS = ServiceUsed(service="redis", provider="embedded", version="9.1.2", address="127.0.0.1:4711")


def measured(run: RunBuilder, *names: str) -> list[float | None]:
    """Metrics of redis in the run's only level."""
    run.phases()
    [level] = summarise(run.write()).levels
    return [level.metric(f"service.redis.{name}").value for name in names]


def test_silence_is_a_lower_bound_of_a_response(run: RunBuilder) -> None:
    """A dead service must not look fast: it took at least as long as we waited."""
    run.health(*[0.001] * 90, *[0.5] * 8, None, None)
    run.phases()
    [level] = summarise(run.write()).levels
    found = [level.metric(f"service.redis.response_{name}") for name in ("p50", "p95", "p99")]
    assert [(metric.value, metric.at_least) for metric in found] == [(0.001, False), (0.5, False), (ANSWER_S, True)]


def test_down_is_a_share_of_time(run: RunBuilder) -> None:
    """A silent service is asked less often, and counts for as long as it was silent."""
    run.others["health.jsonl"] = [
        HealthSample("10", at, "redis", response_s)
        for at, response_s in ((0.0, 0.001), (1.0, None), (4.0, None), (7.0, 0.001), (7.5, 0.001), (10.0, 0.001))
    ]
    assert measured(run, "down") == [0.6]


def test_a_series_tells_the_worst_of_each_stretch(run: RunBuilder) -> None:
    """At most sixty stretches of at least a second, however long the level."""
    run.health(0.001, 0.02, None, 0.003)
    run.health(*[0.001] * 590, 0.5, *[0.001] * 9, service="postgres")
    run.phases()
    [level] = summarise(run.write()).levels
    assert level.service_series["redis"].worst_s == (0.001, 0.02, None, 0.003)
    long = level.service_series["postgres"]
    assert len(long.worst_s) == 60
    assert long.worst_s[58] == 0.5
    assert set(long.worst_s) == {0.001, 0.5}


def test_an_outage_lasts_from_silence_to_the_next_answer(run: RunBuilder) -> None:
    """The longest of them; a sample a second."""
    run.health(0.001, None, 0.001, None, None, None, 0.001, None, 0.001)
    assert measured(run, "outage") == [pytest.approx(4.0)]  # answered at 2 s, and again at 6 s


def test_an_outage_that_did_not_end_is_at_least_as_long_as_was_seen(run: RunBuilder) -> None:
    """Nobody saw its end."""
    run.health(0.001, None, 0.001, None, None, None)
    run.phases()
    [level] = summarise(run.write()).levels
    outage = level.metric("service.redis.outage")
    assert (outage.value, outage.at_least) == (pytest.approx(3.0, abs=0.01), True)


def test_without_an_outage_it_is_zero(run: RunBuilder) -> None:
    """And down is none."""
    run.health(0.001, 0.002)
    assert measured(run, "outage", "down") == [0.0, 0.0]


def test_commands_are_counted_at_the_server(run: RunBuilder) -> None:
    """A workflow, without our own questions; a server that started again counts from zero, and loses nothing else."""
    counts = (1000, 1401, None, 1802, 51, 101)  # one of each hundred is ours; the third was not answered
    run.others["health.jsonl"] = [
        HealthSample("10", float(at), "redis", None if count is None else 0.001, commands=count)
        for at, count in enumerate(counts)
    ]
    run.sound(count=100)
    [level] = summarise(run.write()).levels
    assert level.metric("service.redis.commands").value == (400 + 400 + 50 + 49) / 100


def test_commands_of_older_runs_are_not_known(run: RunBuilder) -> None:
    """Nobody counted them."""
    run.health(0.001, 0.001)
    run.sound()
    [level] = summarise(run.write()).levels
    assert level.metric("service.redis.commands").value is None


def test_services_and_levels_are_kept_apart(run: RunBuilder) -> None:
    """Each by its name."""
    run.levels = ("10", "25")
    run.health(0.001, level="10")
    run.health(0.002, level="25")
    run.health(0.003, level="25", service="postgres")
    levels = summarise(run.write()).levels
    assert [sorted(level.services) for level in levels] == [["redis"], ["postgres", "redis"]]
    assert levels[1].metric("service.postgres.response_p50").value == 0.003


@pytest.mark.parametrize("sampled", [True, False])
def test_a_service_that_nobody_sampled_is_missed(run: RunBuilder, sampled: bool) -> None:
    """It was used, so its health must be in the file."""
    run.services = (REDIS,)
    run.sound()
    run.health(0.001, service="redis" if sampled else "postgres")
    [level] = summarise(run.write()).levels
    assert level.missing == (() if sampled else ("redis was used, and health.jsonl holds no sample of it",))
