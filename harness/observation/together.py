"""Several processes of one target as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from harness.observation.observation import HostUse, LlmUse, PoolUse, ProcessUse, StateUse

Use = TypeVar("Use", ProcessUse, PoolUse, StateUse, LlmUse)


def processes_together(uses: Sequence[ProcessUse | None]) -> ProcessUse | None:
    """Sums over all of them; None once one is gone."""
    seen = [use for use in uses if use is not None]
    return _sum(seen) if seen and len(seen) == len(uses) else None


def hosts_together(uses: Sequence[HostUse | None]) -> HostUse | None:
    """Sums over all of them, pool by pool, and every loop's lags; None when one did not answer."""
    seen = [use for use in uses if use is not None]
    if not seen or len(seen) < len(uses):
        return None
    if len(seen) == 1:
        return seen[0]
    names = dict.fromkeys(name for use in seen for name in use.pools)
    states = [use.state for use in seen if use.state is not None]
    models = [use.llm for use in seen if use.llm is not None]
    return HostUse(
        in_flight=sum(use.in_flight for use in seen),
        running=sum(use.running for use in seen),
        queue_depth=sum(use.queue_depth for use in seen),
        queue_peak=sum(use.queue_peak for use in seen),
        accepted=sum(use.accepted for use in seen),
        rejected=sum(use.rejected for use in seen),
        shed=sum(use.shed for use in seen),
        pools={name: _sum([use.pools[name] for use in seen if name in use.pools]) for name in names},
        loop_lags_s=tuple(lag for use in seen for lag in use.loop_lags_s),
        state=_sum(states) if states else None,
        llm=_sum(models) if models else None,
    )


def _sum(uses: Sequence[Use]) -> Use:
    """Field by field; what is None anywhere is None, what is a flag is whether any is set."""
    first = uses[0]
    total: dict[str, Any] = {}
    for name in first.__struct_fields__:
        values = [getattr(use, name) for use in uses]
        if any(value is None for value in values):
            total[name] = None
        else:
            total[name] = any(values) if isinstance(values[0], bool) else sum(values)
    return msgspec.structs.replace(first, **total)
