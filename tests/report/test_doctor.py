"""What `harness doctor` found, in words that say what to do."""

from __future__ import annotations

import io

import msgspec
import pytest

from harness.gate.doctor import Conditions, Diagnosis, Subject
from harness.observation.manifest import Machine
from harness.report.doctor import sentences, write_diagnosis
from harness.statistics.noise import METRICS, PAIRS, SITTINGS, WORKFLOWS, Sight, Spread

HERE = Machine(
    system="Linux 6.1",
    cpu="A processor",
    cores=2,
    memory_bytes=4 * 2**30,
    python="3.11.7",
    versions={},
    quota_cores=1.5,
)


def diagnosis(*, history: float | None, duet: float | None, others: float | None = 0.02) -> Diagnosis:
    """Every history sees `history`, every duet `duet` (shares)."""
    conditions = Conditions(
        others=others, others_worst=0.4, stolen=None, pressure=0.03, loop_lag_p99_s=0.002, late_p99_s=0.0001
    )
    spread = Spread(
        metric="p50", typical_s=0.25, between=0.0123, calibrated=None, correlation=0.31, within=0.021, chance=0.004
    )
    subjects = tuple(
        Subject(
            scenario=name,
            level="10",
            n=118,
            spreads=(spread, msgspec.structs.replace(spread, metric="p95", calibrated=0.0077)),
            conditions=(conditions,) * 6,
        )
        for name in ("chain_sequential", "reference")
    )
    found = [
        Sight(metric=metric, by=by, n=n, times=times, mde=mde)
        for metric in METRICS
        for n in WORKFLOWS
        for by, all_times, mde in (("history", SITTINGS, history), ("duet", PAIRS, duet))
        for times in all_times
    ]
    return Diagnosis(
        machine=HERE,
        notes=("a quota of 1.5 cores",),
        rounds=6,
        seconds=3.0,
        subjects=subjects,
        sights=tuple(found),
    )


def said(found: Diagnosis) -> str:
    return "\n".join(sentences(found))


def test_a_quiet_machine_sees_it_from_history() -> None:
    """And is told under what condition."""
    text = said(diagnosis(history=0.06, duet=0.04))
    assert "p50: history sees 6 % here, with 2000 workflows and 10 sittings as alike as these rounds." in text
    assert "cannot see" not in text


def test_a_noisy_machine_is_sent_to_the_duet() -> None:
    """To the cheapest that sees it."""
    text = said(diagnosis(history=0.23, duet=0.08))
    assert (
        "p95: this machine cannot see +10 % of chain_sequential from history "
        "(with 2000 workflows and 10 sittings: 23 %): use the duet. 10 pairs see 8 %, with 500 workflows a run."
    ) in text


@pytest.mark.parametrize("duet", [0.3, None])
def test_where_no_duet_sees_it_either_that_is_said(duet: float | None) -> None:
    """With another way out."""
    text = said(diagnosis(history=None, duet=duet))
    assert "nor by a duet of 30 pairs: measure longer, or on a machine of its own." in text


def test_what_is_smaller_than_the_gate_looks_at_is_not_promised() -> None:
    """A change below 3 % is no regression, however surely it is seen."""
    assert "history sees < 3 % here" in said(diagnosis(history=0.001, duet=0.001))


def test_the_limits_of_one_sitting_are_always_said() -> None:
    """With how well a spread is known from so few rounds: 1 / sqrt(2 x 5) = 32 %."""
    text = said(diagnosis(history=0.06, duet=0.04))
    assert "Rounds of one sitting understate what sittings hours or hosts apart differ by" in text
    assert "A spread known from 6 rounds may be off by 32 %." in text


def test_a_busy_machine_and_shared_draws_are_pointed_out() -> None:
    """Only where it is so."""
    quiet = diagnosis(history=0.06, duet=0.04)
    assert "Others took" not in said(quiet)
    assert "one seed" not in said(quiet)
    assert "Others took" not in said(diagnosis(history=0.06, duet=0.04, others=None))
    assert "Others took 40 % of the machine meanwhile" in said(diagnosis(history=0.06, duet=0.04, others=0.4))
    [first, *rest] = quiet.subjects
    alike = tuple(msgspec.structs.replace(spread, between=0.0001) for spread in first.spreads)
    same = msgspec.structs.replace(quiet, subjects=(msgspec.structs.replace(first, spreads=alike), *rest))
    assert "one seed, the same draws" in said(same)


def test_the_tables_hold_every_number() -> None:
    """What nobody knows is a dash; in a pipe nothing is cut."""
    out = io.StringIO()
    write_diagnosis(diagnosis(history=0.23, duet=0.08), out)
    rows = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert "chain_sequential 10 118 2 % 40 % - 3 % 2 ms 0.1 ms" in rows
    assert "chain_sequential 10 p95 250 ms 1.2 % 0.4 % 0.77 % +0.31 2.1 %" in rows
    assert "reference 10 p50 250 ms 1.2 % 0.4 % - +0.31 2.1 %" in rows
    assert "p95 2000 23 % 23 % 23 % 8 % 8 % 8 %" in rows
    assert "A processor · 2 cores · quota 1.5 cores · 4 GiB · Linux 6.1" in out.getvalue()
    assert "a quota of 1.5 cores" in out.getvalue()
