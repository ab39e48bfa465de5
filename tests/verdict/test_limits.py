"""Limits as people write them: what is read, and every mistake with its place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.verdict.limits import Limit, Limits, load_limits


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the limits are written."""
    return tmp_path / "limits.toml"


def load(
    path: Path,
    text: str,
    *,
    levels: Sequence[str] = ("10",),
    agents: Sequence[str] = ("data",),
    drain_s: float = 30.0,
    target: str = "embedded",
) -> Limits:
    """The limits of a scenario with these facts."""
    path.write_text(text)
    return load_limits(path, levels=levels, agents=agents, drain_s=drain_s, target=target)


def mistakes(path: Path, text: str, **facts: object) -> tuple[str, ...]:
    """What is wrong with the file, without its path."""
    with pytest.raises(UsageError) as caught:
        load(path, text, **facts)  # type: ignore[arg-type]
    return tuple(mistake.removeprefix(str(path)) for mistake in caught.value.mistakes)


def test_limits_are_read_in_the_metrics_own_units(path: Path) -> None:
    """Seconds, bytes, shares, rates and counts."""
    text = """
        [limits."10"]
        success    = ">= 80 %"
        p95        = "<5 s"
        rss_peak   = "< 512 MiB"
        throughput = "> 5/s"
        rejected_count = "== 50"
    """
    found = {limit.metric: (limit.operator, limit.bound) for limit in load(path, text).limits}
    assert found == {
        "success": (">=", 0.8),
        "p95": ("<", 5.0),
        "rss_peak": ("<", 512 * 2**20),
        "throughput": (">", 5.0),
        "rejected_count": ("==", 50.0),
    }


def test_names_of_limits_are_stable(path: Path) -> None:
    """CI demands them by name; how an agent's metric was quoted does not matter."""
    quoted = load(path, '[limits."10"]\np95 = "< 5 s"\n[ours."10"]\n"agent.data.pool_use" = ">= 90 %"')
    nested = load(path, '[limits."10"]\np95 = "< 5 s"\n[ours."10"]\nagent.data.pool_use = ">= 90 %"')
    assert [limit.name for limit in quoted.limits] == ['limits."10".p95', 'ours."10".agent.data.pool_use']
    assert quoted == nested


def test_our_own_limits_concern_only_our_own_orchestrator(path: Path) -> None:
    """The floor is for everybody."""
    text = '[limits."10"]\np95 = "< 5 s"\n[ours."10"]\np95 = "< 1 s"'
    assert [limit.section for limit in load(path, text, target="http").limits] == ["limits"]
    assert [limit.section for limit in load(path, text).limits] == ["limits", "ours"]


def test_all_mistakes_come_at_once_with_line_and_way_out(path: Path) -> None:
    """In the order of the lines."""
    text = """[limit."10"]
p95 = "< 5 s"
[limits."12"]
p95 = "< 5 s"
[limits."10"]
p59 = "< 5 s"
p95 = "< 5 MiB"
p50 = "5 s"
success = 80
"agent.date.p95" = "< 1 s"
"agent.data.pool" = ">= 1 %"
p99 = "< 31 s"
error = "< 101 %"
"""
    expected = (
        ":1: limit: section 'limit' is unknown; did you mean 'limits'? (known: limits, ours)",
        ":3: limits.12: level '12' is unknown (known: 10)",
        ":6: limits.10.p59: metric 'p59' is unknown; did you mean",
        ':7: limits.10.p95: \'5 MiB\' is not a duration: write "5 s" or "200 ms" (units: us, ms, s, min, h)',
        ":8: limits.10.p50: '5 s' is not a limit: write an operator (< <= > >= ==) and a duration, like \"< 5 s\"",
        ':9: limits.10.success: 80 is not a limit: write an operator (< <= > >= ==) and a share, like "< 80 %"',
        ":10: limits.10.\"agent.date.p95\": agent 'date' is unknown; did you mean 'data'? (known: data)",
        ":11: limits.10.\"agent.data.pool\": metric 'agent.data.pool' is unknown; did you mean 'agent.data.pool_use'?",
        ":12: limits.10.p99: < 31 s: the scenario's load.drain is only 30 s; make it at least as long as this limit",
        ":13: limits.10.error: < 101 %: this share is never above 100 %",
    )
    found = mistakes(path, text)
    assert [line[: len(start)] for line, start in zip(found, expected, strict=True)] == list(expected)


def test_an_unknown_metric_is_given_its_nearest_name(path: Path) -> None:
    """Of the level or of an agent."""
    [level] = mistakes(path, '[limits."10"]\nrss_peek = "< 5 MiB"')
    [agent] = mistakes(path, '[limits."10"]\nagent.data.pool_usage = "< 5 %"')
    assert "did you mean 'rss_peak'?" in level
    assert "did you mean 'agent.data.pool_use'?" in agent


def test_agents_of_a_target_that_declares_none_cannot_be_checked(path: Path) -> None:
    """A Python target's steps name its agents only when it runs."""
    limits = load(path, '[limits."10"]\nagent.anybody.p95 = "< 5 s"', agents=(), target="python:bot:run")
    assert [limit.metric for limit in limits.limits] == ["agent.anybody.p95"]


def test_limits_on_services_are_read(path: Path) -> None:
    """As those on agents are, quoted or as nested tables."""
    text = """
        [limits."10"]
        service.redis.response_p99  = "< 20 ms"
        "service.postgres.down" = "== 0 %"
        service.postgres.outage = "< 5 s"
        dup_effects = "== 0"
    """
    assert {limit.metric: limit.bound for limit in load(path, text).limits} == {
        "service.redis.response_p99": 0.02,
        "service.postgres.down": 0.0,
        "service.postgres.outage": 5.0,
        "dup_effects": 0.0,
    }


def test_an_unknown_service_or_metric_of_one_lists_what_there_is(path: Path) -> None:
    """With the nearest first."""
    text = """[limits."10"]
"service.reddis.down" = "== 0 %"
"service.redis.response_p90" = "< 1 s"
"""
    first, second = mistakes(path, text)
    assert "service 'reddis' is unknown; did you mean 'redis'? (known: postgres, redis)" in first
    assert "did you mean 'service.redis.response_p" in second


@pytest.mark.parametrize(
    ("floor", "ours", "count"),
    [
        ("< 5 s", "< 1 s", 0),
        ("< 5 s", ">= 5 s", 1),
        ("<= 5 s", ">= 5 s", 0),
        ("< 5 s", "> 4 s", 0),
        ("== 5 s", "< 5 s", 1),
        ("== 5 s", "== 6 s", 1),
    ],
)
def test_limits_that_no_value_can_hold_together_contradict(path: Path, floor: str, ours: str, count: int) -> None:
    """Between the sections; within one, TOML itself refuses a second line."""
    text = f'[limits."10"]\np95 = "{floor}"\n[ours."10"]\np95 = "{ours}"'
    if not count:
        load(path, text)
        return
    [mistake] = mistakes(path, text)
    assert f"{ours} contradicts {floor}" in mistake


def test_the_same_metric_in_two_spellings_is_given_twice(path: Path) -> None:
    """Quoted and nested."""
    [mistake] = mistakes(path, '[limits."10"]\n"agent.data.p95" = "< 5 s"\nagent.data.p95 = "< 4 s"')
    assert "given twice" in mistake


def test_a_forgotten_level_is_a_mistake(path: Path) -> None:
    """It would pass unjudged."""
    [mistake] = mistakes(path, '[limits."10"]\np95 = "< 5 s"', levels=("10", "6/s"))
    assert 'level 6/s of the scenario has no limits; add [limits."6/s"]' in mistake


@pytest.mark.parametrize("text", ["limits = 1", "[limits]\n10 = 1", '[limits."10"]\np95 = ["< 5 s"]'])
def test_tables_where_others_belong_are_mistakes(path: Path, text: str) -> None:
    """Never a traceback."""
    assert any("must" in mistake or "not a limit" in mistake for mistake in mistakes(path, text))


def test_a_file_that_is_not_toml_says_where(path: Path) -> None:
    """With the line."""
    assert ":2: is not TOML" in mistakes(path, '[limits."10"]\np95 = < 5 s')[0]


@pytest.mark.parametrize(
    ("operator", "below", "at", "above"),
    [("<", 1, 0, 0), ("<=", 1, 1, 0), ("==", 0, 1, 0), (">=", 0, 1, 1), (">", 0, 0, 1)],
)
def test_operators_mean_what_they_say(operator: str, below: bool, at: bool, above: bool) -> None:
    """Below, at and above the bound."""
    limit = Limit("limits", "10", "p95", operator, 5.0, f"{operator} 5 s")  # type: ignore[arg-type]
    assert [limit.holds(value) for value in (4.9, 5.0, 5.1)] == [below, at, above]
