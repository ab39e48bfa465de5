"""One limit against one metric: a breach must be proven, a pass must be measured."""

from __future__ import annotations

import numpy as np
import pytest

from harness.statistics.latency import percentiles, share_metric
from harness.statistics.metrics import Metric
from harness.verdict.check import Check
from harness.verdict.limit_checks import check_limit
from harness.verdict.limits import Limit, Operator


def check(metric: str, operator: Operator, bound: float, measured: Metric) -> Check:
    """The check of one limit of level 10."""
    return check_limit(Limit("limits", "10", metric, operator, bound, f"{operator} {bound:g}"), measured)


@pytest.mark.parametrize(
    ("ok", "n", "result"),
    [
        (80, 100, "held"),
        (79, 100, "unsure"),  # upper bound 85.4 %
        (72, 100, "breached"),  # upper bound 79.3 %
        (7, 10, "unsure"),
        (790, 1000, "unsure"),  # upper bound 81.1 %
        (770, 1000, "breached"),  # upper bound 79.2 %
    ],
)
def test_a_share_breaks_its_limit_only_if_its_bound_does(ok: int, n: int, result: str) -> None:
    """>= 80 %, by Clopper-Pearson."""
    assert check("success", ">=", 0.8, share_metric(ok, n)).result == result


@pytest.mark.parametrize(
    ("beyond", "n", "result"),
    [
        (5, 100, "held"),  # the 95th of 100 is still within
        (6, 100, "unsure"),
        (9, 100, "unsure"),  # P(X <= 90) = 2.8 % but P(X <= 91) = 6.3 %
        (10, 100, "breached"),
        (1, 1, "breached"),  # were p95 within, 95 % of single workflows would be
        (1, 2, "unsure"),
        (60, 1000, "unsure"),
        (65, 1000, "breached"),
    ],
)
def test_a_percentile_breaks_its_limit_only_if_its_bound_does(beyond: int, n: int, result: str) -> None:
    """p95 < 5 s, with so many workflows of 9 s among those of 1 s."""
    measured = percentiles(np.array([9.0] * beyond + [1.0] * (n - beyond)))["p95"]
    assert check("p95", "<", 5.0, measured).result == result


def test_a_floor_on_a_percentile_is_judged_by_its_upper_bound() -> None:
    """A canary demands slowness."""
    measured = percentiles(np.full(100, 1.0))["p95"]
    assert check("p95", ">", 2.0, measured).result == "breached"
    assert check("p95", ">", 0.5, measured).result == "held"


@pytest.mark.parametrize(("ok", "result"), [(100, "held"), (99, "breached")])
def test_all_must_succeed_where_the_limit_says_so(ok: int, result: str) -> None:
    """A single failure proves that the share is below 100 %."""
    assert check("success", ">=", 1.0, share_metric(ok, 100)).result == result


@pytest.mark.parametrize(("ok", "result"), [(50, "held"), (52, "unsure"), (70, "breached"), (30, "breached")])
def test_an_exact_share_is_broken_from_either_side(ok: int, result: str) -> None:
    """== 50 %."""
    assert check("success", "==", 0.5, share_metric(ok, 100)).result == result


@pytest.mark.parametrize(("value", "result"), [(0.79, "held"), (0.8, "breached"), (0.81, "breached")])
def test_other_numbers_decide_by_their_value(value: float, result: str) -> None:
    """CPU < 80 %."""
    assert check("cpu", "<", 0.8, Metric(value=value, n=200)).result == result


def test_what_was_not_measured_is_not_held() -> None:
    """Nor broken."""
    found = check("rss_peak", "<", 1.0, Metric(value=None))
    assert found.result == "unsure"
    assert "was not measured" in found.sentence


def test_a_percentile_whose_workflows_had_not_ended_is_not_held() -> None:
    """It may be anything above what was seen."""
    values = np.array([1.0] * 90 + [2.0] * 10)
    measured = percentiles(values, values == 2.0)["p95"]
    assert check("p95", "<", 5.0, measured).result == "unsure"
    assert check("p95", "<", 1.5, measured).result == "breached"


def test_too_few_samples_are_said_beside_the_pass() -> None:
    """Held, with its n."""
    found = check("p99", "<", 5.0, percentiles(np.full(100, 1.0))["p99"])
    assert found.result == "held"
    assert "n = 100, too few for a 95 % interval" in found.sentence


@pytest.mark.parametrize(("ok", "n"), [(78, 100), (70, 80), (7, 10)])
def test_the_n_that_would_settle_it_does(ok: int, n: int) -> None:
    """Within a factor of two: the same share of that many workflows is decided, of a quarter of them is not."""
    limit = 0.8 if ok / n < 0.8 else 0.9
    sentence = check("success", ">=", limit, share_metric(ok, n)).sentence
    needed = int(sentence.split("about ")[1].split(" ")[0].replace(",", ""))
    assert check("success", ">=", limit, share_metric(round(2 * needed * ok / n), 2 * needed)).result == "breached"
    assert check("success", ">=", limit, share_metric(needed // 4 * ok // n, needed // 4)).result == "unsure"


def test_a_value_on_the_limit_is_settled_by_no_n() -> None:
    """A strict limit met to the last digit."""
    assert "more workflows" in check("success", ">", 0.8, share_metric(80, 100)).sentence
    assert "no run will tell" in check("success", ">=", 0.80001, share_metric(80, 100)).sentence


def test_a_limit_on_no_metric_is_a_programming_error() -> None:
    """Loading refuses it; judging does not guess."""
    with pytest.raises(ValueError, match="does not exist"):
        check("p51", "<", 1.0, Metric(value=None))
