"""What an agent does beyond its own work: acts in the outside world, and updates of documents shared by all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.errors import TargetError, UsageError
from harness.observation.effects import Effects, WitnessUnavailable
from harness.observation.history import FILE
from harness.orchestrator.call import Call
from harness.orchestrator.crash import CrashPoints
from harness.orchestrator.options import Options
from harness.orchestrator.owned import Owned, Replaced
from harness.orchestrator.shared import PREFIX, History, SharedDocuments
from harness.store.store import StateStore
from harness.target.target import Services


class Outside:
    """The outside of one orchestrator. `token` is its fencing token, 0 when it has none."""

    def __init__(
        self, effects: Effects | None, shared: SharedDocuments | None, *, token: int, points: CrashPoints
    ) -> None:
        self._effects = effects
        self._shared = shared
        self._token = token
        self._points = points

    @property
    def conflicts(self) -> int:
        """Compare-and-set writes of shared documents that were refused so far."""
        return self._shared.conflicts if self._shared else 0

    async def act(self, call: Call) -> None:
        """The step's effect. Its operation id is the step's own, so a step that runs again does not act again."""
        workflow, step = call.request.id, call.step.name
        assert self._effects is not None, "whoever declares effects is given a witness"
        self._points.passed("before_effect", workflow, step)
        try:
            answer = await self._effects.act(workflow, step, f"{workflow}/{step}", self._token)
        except WitnessUnavailable as error:
            raise TargetError(str(error), definite=False, error_class="witness_unavailable") from error
        self._points.passed("after_effect", workflow, step)
        if answer == "refused":
            raise Replaced(f"the effect of step {step!r} of {workflow} was refused: a newer orchestrator acts")

    async def update(self, names: tuple[str, ...], call: Call) -> None:
        """Write to each of these shared documents."""
        assert self._shared is not None, "whoever declares updates is given the documents"
        for name in names:
            await self._shared.update(name, call)

    async def close(self) -> None:
        """Let go of the witness and of the history."""
        if self._effects is not None:
            await self._effects.close()
        if self._shared is not None:
            self._shared.close()


async def open_outside(
    options: Options,
    services: Services,
    store: StateStore,
    *,
    token: int,
    points: CrashPoints,
    clock: Callable[[], float],
) -> Outside | None:
    """The outside that the declared works reach for; None when none does."""
    works = [work for _, work in options.works]
    acts, updates = any(work.effect for work in works), any(work.update for work in works)
    if not acts and not updates:
        return None
    effects = None
    if acts:
        if services.witness is None:
            raise UsageError("agents with effects need a witness, and none was started")
        effects = await Effects.connect(services.witness, scope=services.namespace)
    place = options.placement
    disarmed = CrashPoints(None, path=None, level="", t0=0.0, clock=clock)
    owned = Owned(store, prefix=PREFIX, token=token, points=disarmed)
    if updates and token:  # so that whoever it replaced cannot write to them, in no store: not from now on
        for name in options.shared:
            await owned.claim(name)
    shared = SharedDocuments(
        owned,
        options.shared,
        seed=options.seed,
        history=History(Path(place.run_dir) / FILE, t0=place.t0, clock=clock) if place and updates else None,
    )
    return Outside(effects, shared, token=token, points=points)
