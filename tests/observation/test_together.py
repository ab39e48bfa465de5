"""Several processes as one."""

from __future__ import annotations

from harness.observation.observation import HostUse, LlmUse, PoolUse, ProcessUse, StateUse
from harness.observation.together import hosts_together, processes_together


def process(cpu_s: float, uss_bytes: int | None = None) -> ProcessUse:
    return ProcessUse(cpu_s, 10, 3, 2, 5, 1, 1, uss_bytes, None)


def test_processes_are_summed_and_none_may_be_missing() -> None:
    """A sum without one of them would look like less use; what was not looked at this time stays unknown."""
    both = processes_together([process(1.5, 7), process(2.0, 8)])
    assert both is not None
    assert (both.cpu_s, both.rss_bytes, both.processes, both.uss_bytes, both.pss_bytes) == (3.5, 20, 2, 15, None)
    partly = processes_together([process(1.0, 7), process(1.0)])
    assert partly is not None
    assert partly.uss_bytes is None
    assert processes_together([process(1.0), None]) is None
    assert processes_together([]) is None


def test_hosts_are_summed_pool_by_pool() -> None:
    """Lags are everyone's; one that did not answer makes the whole unknown."""
    one = HostUse(in_flight=3, queue_peak=4, pools={"a": PoolUse(2, 1, 0, 0.5, 0.1)}, loop_lags_s=(0.1,))
    other = HostUse(
        in_flight=2,
        pools={"a": PoolUse(2, 2, 1, 1.5, 0.2), "b": PoolUse(1, 0, 0, 0.0, 0.0)},
        loop_lags_s=(0.2,),
        state=StateUse(provisional=True, conflicts=2),
        llm=LlmUse(calls=4),
    )
    both = hosts_together([one, other])
    assert both is not None
    assert (both.in_flight, both.queue_peak, both.loop_lags_s) == (5, 4, (0.1, 0.2))
    assert both.pools["a"] == PoolUse(4, 3, 1, 2.0, 0.30000000000000004)
    assert both.pools["b"].size == 1
    assert both.state == StateUse(provisional=True, conflicts=2)
    assert both.llm == LlmUse(calls=4)
    assert hosts_together([one, None]) is None
    assert hosts_together([one]) is one
    assert hosts_together([]) is None
