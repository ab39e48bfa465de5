"""Runs workflows: admission, steps in order or side by side, pools, deadlines, retries, shared state.

One task runs a workflow, the caller's own, and awaits its steps one after the other; tasks are made only where steps
run side by side. Every step leaves one tuple on `watch.steps`, failed ones too. What an orchestrator costs beside its
agents is paid here, so this module calls the store and the pools directly, and what can be known before is in `Plan`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

import msgspec

from harness.errors import TargetError, VersionConflict, unknown_name
from harness.observation.observation import HostUse, Outcome, PoolUse
from harness.orchestrator.admission import Admission, Ticket
from harness.orchestrator.agent import Means
from harness.orchestrator.breakers import Breakers
from harness.orchestrator.bulkhead import pool_of
from harness.orchestrator.call import AgentFailed, AgentFunction, Call
from harness.orchestrator.context import (
    FINISHED_KEPT_S,
    final_digest,
    needed_findings,
    not_created,
    not_written,
    state_error,
)
from harness.orchestrator.deadline import Alarm, Deadlines, ending, late
from harness.orchestrator.options import Options
from harness.orchestrator.outside import Outside
from harness.orchestrator.retry import RetryBudget, retry_wait_s
from harness.orchestrator.workflow import Plan, PlannedStep, plan
from harness.store.store import StateStore, StoreUnavailable, Versioned
from harness.target.target import Disturb, Services, StepTuple, Watch, WorkflowRequest, WorkflowResult

_OK, _FAILED = Outcome.OK, Outcome.FAILED


class _Flow(msgspec.Struct, eq=False):
    """One workflow while it runs."""

    request: WorkflowRequest
    plan: Plan
    steps: list[StepTuple]
    zero: float  # the zero of the watch's clock, on the engine's
    version: int = 1  # of the shared context, once written
    done: Collection[str] = ()  # steps whose findings were in it before this run began
    known: dict[str, bytes] | None = None  # what is in it, where fencing keeps everybody else from writing to it
    retries: int = 0
    tokens: int = 0
    degraded: set[str] = msgspec.field(default_factory=set)


class Engine:
    """Workflows of the kinds in `options`, over `store`.

    `agents` replaces the declared work of the agents it names. `clock` gives seconds and is what deadlines, pools and
    rates are counted by; it runs as the loop's timers do. `breakers` that are given are put on record by who gave them.
    """

    def __init__(
        self,
        options: Options,
        *,
        store: StateStore,
        clock: Callable[[], float],
        agents: Mapping[str, AgentFunction] | None = None,
        outside: Outside | None = None,
        breakers: Breakers | None = None,
    ) -> None:
        bounds = options.orchestrator
        self._live_ttl_s = options.state.ttl
        self._finished_ttl_s = FINISHED_KEPT_S if options.state.store == "memory" else options.state.ttl
        self._seed = options.seed
        self._store = store
        self._clock = clock
        self._retry_wait_s = bounds.retry_wait
        self._admission = Admission(bounds.slots, bounds.queue, clock=clock, shed_s=bounds.shed)
        self._budget = RetryBudget(bounds.retry_budget, clock=clock)
        self._deadlines = Deadlines(clock=clock)
        self._tickets: dict[str, Ticket] = {}  # admitted, and not yet in `run`
        scale = options.time_scale
        self._means = Means(seed=options.seed, time_scale=scale, bounds=bounds, clock=clock, outside=outside)
        self._options = options
        self._pools = {agent: pool_of(agent, options.declared(agent), clock) for agent in sorted(options.agents)}
        self._breakers = Breakers(options, clock=clock) if breakers is None else breakers
        self._plans = {
            workflow.kind: plan(workflow, options, self._pools, self._means, agents or {}, self._breakers.agents)
            for workflow in options.workflow
        }

    async def start(self, services: Services) -> None:
        """Warm up. Raises `AgentFailed` when the CPU workers cannot be started, UsageError when no model answers."""
        if any(work.llm for _, work in self._options.works):
            from harness.orchestrator.asking import open_asking  # the SDKs' memory is not every orchestrator's

            breaker = self._breakers.dependencies.get("llm")
            self._means.asking = open_asking(self._options, services.llm_url, clock=self._clock, breaker=breaker)
        if any(work.cpu for _, work in self._options.works):
            await self._means.burners.start()

    async def stop(self) -> None:
        """Release everything. Workflows still running are their callers' to cancel first."""
        self._deadlines.stop()
        await self._means.burners.stop()
        if self._means.asking is not None:
            await self._means.asking.close()

    def admit(self, request: WorkflowRequest, *, promised: bool = False) -> None:
        """Accept the workflow, or raise `Rejected`; its `run` or `withdraw` must follow. `promised`: never refused."""
        self._tickets[request.id] = self._admission.admit(promised=promised)

    def withdraw(self, request: WorkflowRequest) -> None:
        """It was admitted and will not run."""
        self._admission.withdraw(self._tickets.pop(request.id))

    async def run(self, request: WorkflowRequest, watch: Watch, found: Versioned | None = None) -> WorkflowResult:
        """Run a workflow to its end, or raise `TargetError`. One that was not admitted before is admitted now.

        `found` is its document, when there is one that only this engine may write to: steps whose findings are in it
        are not run again, and what this run adds need not be read before the digest, which is of what is stored.
        """
        key, store = request.id, self._store
        accepted_at, place = self._tickets.pop(key) if key in self._tickets else self._admission.admit()
        alarm = self._deadlines.enter(accepted_at, accepted_at + request.deadline_s)
        has_slot = place is None
        try:
            if place is not None:
                await self._admission.slots.granted(place)
                has_slot = True
            watch.started()
            plan = self._plan(request)
            flow = _Flow(request, plan, watch.steps, self._clock() - watch.clock())
            if found is not None:
                flow.version, flow.done, flow.known = found.version, found.fields, dict(found.fields)
            else:
                ttl_s = self._live_ttl_s or request.deadline_s + FINISHED_KEPT_S
                created = await store.write(key, plan.label, if_version=0, op_id=f"{key}/create", ttl_s=ttl_s)
                if not created.ok:
                    raise not_created(created, key)
            if plan.chain:
                for step in plan.steps:
                    if step.name not in flow.done:
                        await self._step(flow, step, alarm)
            else:
                await self._graph(flow, alarm)
            alarm.end_step()
            digest = final_digest(await store.read(key), key, plan)
            return WorkflowResult(digest, 1 + flow.retries, tuple(sorted(flow.degraded)), flow.tokens)
        except asyncio.CancelledError as error:
            if (end := ending(error, alarm, request)) is not None:
                raise end from None
            raise
        except VersionConflict as error:
            raise state_error("version_conflict", key, str(error)) from error
        except StoreUnavailable as error:
            raise state_error("state_unavailable", key, str(error)) from error
        finally:
            self._deadlines.leave(alarm)
            if has_slot:
                self._admission.ended()

    def use(self) -> HostUse:
        """Queue and pools right now."""
        admission, asking, now = self._admission, self._means.asking, self._clock()
        pools = {
            agent: PoolUse(pool.size, pool.busy, pool.waiting, pool.busy_s(now), pool.wait_s(now))
            for agent, pool in self._pools.items()
        }
        return HostUse(
            running=admission.slots.busy,
            queue_depth=admission.slots.waiting,
            queue_peak=admission.queue_peak,
            accepted=admission.accepted,
            rejected=admission.rejected,
            shed=admission.shed,
            pools=pools,
            llm=asking.use() if asking else None,
        )

    def disturb(self, order: Disturb) -> int:
        """Have the agent misbehave; how many attempts it did so far."""
        return self._means.disturbed.take(order)

    def _plan(self, request: WorkflowRequest) -> Plan:
        try:
            return self._plans[request.kind]
        except KeyError:
            message = unknown_name("workflow kind", request.kind, self._plans)
            raise TargetError(message, definite=True, error_class="unknown_kind") from None

    async def _graph(self, flow: _Flow, alarm: Alarm) -> None:
        """Every step as soon as all it needs is done. A failure cancels what runs beside it and waits for its end."""
        done_before = flow.done
        waiting = {
            step: set(step.needs).difference(done_before) for step in flow.plan.steps if step.name not in done_before
        }
        branches: dict[asyncio.Task[None], PlannedStep] = {}
        try:
            while waiting or branches:
                ready = [step for step, needs in waiting.items() if not needs]
                for step in ready:
                    del waiting[step]
                if len(ready) == 1 and not branches:
                    await self._step(flow, ready[0], alarm)  # nothing runs beside it, so it needs no task
                    done = ready
                else:
                    alarm.end_step()
                    for step in ready:
                        branches[asyncio.create_task(self._branch(flow, step, alarm.workflow_due))] = step
                    await asyncio.wait(branches, return_when=asyncio.FIRST_COMPLETED)
                    done = [_ended(task, branches) for task in list(branches) if task.done()]
                for needs in waiting.values():
                    needs.difference_update([step.name for step in done])
        finally:
            for task in branches:
                task.cancel()
            await asyncio.gather(*branches, return_exceptions=True)

    async def _branch(self, flow: _Flow, step: PlannedStep, workflow_due: float) -> None:
        """One step in a task of its own."""
        alarm = self._deadlines.enter(self._clock(), workflow_due)
        try:
            await self._step(flow, step, alarm)
        except asyncio.CancelledError:
            if alarm.overran():
                raise late(alarm, flow.request) from None
            raise
        finally:
            self._deadlines.leave(alarm)

    async def _step(self, flow: _Flow, step: PlannedStep, alarm: Alarm) -> None:
        """One step: an instance of its agent, what it needs, its attempts, its finding into the shared context."""
        clock, pool, store, key = self._clock, step.pool, self._store, flow.request.id
        call, outcome = Call(flow.request, step.step, alarm=alarm, degraded=flow.degraded), _FAILED
        queued = clock()
        started: float | None = None
        alarm.begin_step(step.name, queued, step.deadline_s)
        try:
            place = pool.take(queued)
            if place is not None:
                await pool.granted(place)
            started = queued if place is None else clock()
            if step.needs:
                found = await store.read(key) if flow.known is None else flow.known
                call.findings = needed_findings(found, key, step)
            self._budget.first_attempts += 1
            finding = None
            while finding is None:
                call.attempt += 1
                try:
                    finding = await step.perform(call)
                except AgentFailed as failure:
                    await self._wait_for_retry(flow, step, call, failure, alarm.due)
            if alarm.fired:  # the agent swallowed the cancellation
                raise asyncio.CancelledError
            flow.version = version = flow.version + 1
            ttl_s = self._finished_ttl_s if version == flow.plan.last_version else self._live_ttl_s
            written = await store.merge(key, {step.name: finding}, op_id=f"{key}/{step.name}", ttl_s=ttl_s)
            if not written.ok or (flow.plan.chain and written.version != version):  # side by side, any order is right
                raise not_written(written, key, version)
            if flow.known is not None:
                flow.known[step.name] = finding
            outcome = _OK
        finally:
            try:
                if call.held is not None:
                    await call.held.release()
            finally:
                ended = clock()
                if started is None:
                    started = ended
                else:
                    pool.release(ended)
                flow.tokens += call.tokens
                flow.steps.append((
                    step.name, step.step.agent, queued - flow.zero, started - flow.zero, ended - flow.zero,
                    outcome, call.attempt, call.llm_wait_s,
                ))  # fmt: skip

    async def _wait_for_retry(
        self, flow: _Flow, step: PlannedStep, call: Call, failure: AgentFailed, due: float
    ) -> None:
        """Wait until the next attempt, or raise `TargetError` if there is to be none."""
        back_off_s = retry_wait_s(
            self._retry_wait_s, attempt=call.attempt, seed=self._seed, workflow=flow.request.id, step=step.name
        )
        what = f"step {step.name!r}, attempt {call.attempt} of {step.attempts}: {failure}"
        is_last = call.attempt >= step.attempts
        wait_s = self._budget.wait_s(failure, what, is_last=is_last, back_off_s=back_off_s, left_s=due - self._clock())
        flow.retries += 1
        await asyncio.sleep(wait_s)


def _ended(task: asyncio.Task[None], branches: dict[asyncio.Task[None], PlannedStep]) -> PlannedStep:
    """The step whose branch is done. Raises what the branch raised, and then leaves it in `branches`."""
    task.result()
    return branches.pop(task)
