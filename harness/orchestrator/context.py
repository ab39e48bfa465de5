"""The shared context of a workflow: a document in the state store under the workflow's id, one field a step.

Nothing that a step learns from another passes by the store: it is written there and read back, so a store that
loses, mixes up or forgets shows in the outcome. The engine talks to the store itself; here is what it makes of the
answers; a wrong one becomes a `TargetError` of one of these classes:

    version_conflict    somebody else has a document of this workflow's id
    cross_talk          the version went further than the workflow's own writes took it: somebody else writes to it
    state_lost          the document is gone, or a write to it was lost
    state_expired       its time to live ran out while the workflow still ran
    missing_dependency  a need that a step declared is not in it
    state_unavailable   the store did not answer
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from harness.errors import TargetError
from harness.orchestrator.workflow import Plan, PlannedStep
from harness.store.store import Expired, Versioned, WriteResult

FINISHED_KEPT_S = 1.0
"""A finished workflow's document expires after this, so that memory follows the load and not its history. The
document of one that failed half-way expires this long after the workflow's deadline."""


def not_created(result: WriteResult, key: str) -> TargetError:
    """What it means that the document could not be created."""
    return state_error("version_conflict", key, f"exists already, at version {result.version}")


def not_written(result: WriteResult, key: str, expected_version: int) -> TargetError:
    """What it means that a write was refused, or did not make the version that it should have made."""
    if not result.ok:
        return state_error("state_expired", key, f"expired at version {result.version}")
    return _diverged(key, result.version, expected_version)


def needed_findings(
    found: Versioned | Expired | Mapping[str, bytes] | None, key: str, step: PlannedStep
) -> tuple[bytes, ...]:
    """The findings of the steps that `step` declared to need, in that order: of a document, or of its known fields."""
    if found is None or isinstance(found, Expired):
        raise _absent(found, key)
    try:
        return step.pick_needs(found.fields if isinstance(found, Versioned) else found)
    except KeyError as missing:
        what = f"step {step.name!r} needs {missing.args[0]!r}, which is not in it"
        raise state_error("missing_dependency", key, what) from None


def final_digest(found: Versioned | Expired | None, key: str, plan: Plan) -> str:
    """Hex of blake2b-128 over `step=finding` of all steps in declared order, joined by `|`."""
    if not isinstance(found, Versioned):
        raise _absent(found, key)
    if found.version != plan.last_version:
        raise _diverged(key, found.version, plan.last_version)
    try:
        text = plan.digested % plan.pick_all(found.fields)
    except KeyError as missing:
        raise state_error("state_lost", key, f"lost the finding of step {missing.args[0]!r}") from None
    return blake2b(text, digest_size=16).hexdigest()


def state_error(error_class: str, key: str, what: str) -> TargetError:
    """Definite: the orchestrator stopped the workflow, whatever the store did last."""
    return TargetError(f"shared context {key!r}: {what}", definite=True, error_class=error_class)


def _absent(found: Expired | None, key: str) -> TargetError:
    if found is None:
        return state_error("state_lost", key, "is gone")
    return state_error("state_expired", key, f"expired at version {found.version}")


def _diverged(key: str, version: int, expected: int) -> TargetError:
    error_class = "cross_talk" if version > expected else "state_lost"
    return state_error(error_class, key, f"is at version {version} where the workflow's own writes make {expected}")
