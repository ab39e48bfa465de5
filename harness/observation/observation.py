"""What is known of one workflow, and of the run it belongs to: the lines of `journal.jsonl` and `resources.jsonl`.

All times are seconds from the run's t0 on the machine's monotonic clock, as floats. One line, one JSON object,
its `type` first; fields left at their default are not written.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

SCHEMA_VERSION = 1


class Outcome(StrEnum):
    """How a workflow ended. A timeout is `unknown`, never `failed`: it may have happened."""

    OK = "ok"
    FAILED = "failed"  # definitely not done
    UNKNOWN = "unknown"  # may have happened
    NOT_STARTED = "not_started"  # shed by us, or rejected by the target's queue


class Phase(StrEnum):
    """Where in a level an arrival's intended start lies."""

    WARMUP = "warmup"
    MEASURE = "measure"
    DRAIN = "drain"


class StepRecord(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One agent's part of a workflow, as the target reported it; a JSON array in this order."""

    name: str
    agent: str
    queued: float  # asked its agent's pool
    started: float  # got an instance
    ended: float
    outcome: Outcome
    attempts: int = 1
    llm_wait_s: float = 0.0


class Observation(msgspec.Struct, tag_field="type", tag="observation", frozen=True, omit_defaults=True, gc=False):
    """One arrival, exactly once.

    `ended` of a censored workflow is when we stopped waiting, so its latency is a lower bound.
    The target's own stamps are None when it has none (a black box) or never told them.
    """

    id: str
    kind: str
    level: str
    phase: Phase
    seed: int
    intended: float
    outcome: Outcome
    started: float | None = None  # really sent; None for not_started arrivals that were never sent
    accepted: float | None = None  # acceptance seen by the load process
    ended: float | None = None
    target_accepted: float | None = None
    target_started: float | None = None
    target_ended: float | None = None
    error_class: str = ""
    message: str = ""
    rejected: bool = False  # not_started because the target said no
    queue_depth: int = -1  # found by a rejected arrival
    retry_after_s: float = 0.0
    censored: bool = False  # still unfinished when the drain ended
    degraded: tuple[str, ...] = ()
    attempts: int = 1  # of the whole workflow: 1 + retries of its steps
    digest: str = ""
    tokens: int = 0
    cost_usd: float = 0.0
    steps: tuple[StepRecord, ...] = ()


class Opened(msgspec.Struct, tag_field="type", tag="opened", frozen=True, gc=False):
    """A workflow that was submitted and had not ended when a batch was written; its observation follows later.

    If the load process dies, these lines are how the report knows what was in flight, and `accepted` what the
    target had promised.
    """

    id: str
    kind: str
    level: str
    phase: Phase
    intended: float
    started: float
    accepted: float | None = None


class PhaseMark(msgspec.Struct, tag_field="type", tag="phase", frozen=True, gc=False):
    """A phase of a level began. `end` marks the end of the level: everything of it was written."""

    level: str
    phase: str  # warmup | measure | drain | end
    at: float


class LoadCheck(msgspec.Struct, tag_field="type", tag="load", frozen=True, omit_defaults=True, gc=False):
    """A load process's view of itself over the last second, for the self-check."""

    level: str
    at: float
    users: int
    in_flight: int
    hub_lag_max_s: float
    worker: str = ""  # of several load processes, which
    cpu: float | None = None  # share of a core
    late_max_s: float = 0.0  # of the workflows begun, from the intended start


class LoadWorker(msgspec.Struct, tag_field="type", tag="worker", frozen=True, omit_defaults=True, gc=False):
    """One of a level's several load processes: written when it joined, and again when it was lost.

    Its clock is `offset_s` ahead of that of the process that writes, give or take `offset_error_s`; what it reports is
    on the writer's clock.
    """

    level: str
    at: float
    name: str
    index: int
    offset_s: float
    offset_error_s: float
    lost: str = ""  # why, if it was


JournalLine = Observation | Opened | PhaseMark | LoadCheck | LoadWorker


class ProcessUse(msgspec.Struct, frozen=True, gc=False):
    """Resources of a process tree at one moment. CPU is cumulative, ended children included as far as seen."""

    cpu_s: float
    rss_bytes: int
    fds: int
    threads: int
    switches_voluntary: int
    switches_involuntary: int
    processes: int
    uss_bytes: int | None = None
    pss_bytes: int | None = None


class PoolUse(msgspec.Struct, frozen=True, gc=False):
    """One agent's pool at one moment. `busy_s` and `wait_s` are cumulative (instance seconds, step seconds)."""

    size: int
    busy: int
    waiting: int
    busy_s: float
    wait_s: float


class StateUse(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What the target's stores of state went through; counts are of one process's life."""

    provisional: bool = False  # serves from memory now, because Redis is away
    provisional_writes: int = 0
    promotions: int = 0  # Redis came back and was given what memory held
    diverged: int = 0  # documents whose provisional writes could not be taken over
    conflicts: int = 0  # compare-and-set writes of shared documents that were refused, and tried again
    fenced: int = 0  # our writes that were refused, because another owner had taken over
    taken_up: int = 0  # workflows of an earlier owner that this one went on with
    repairs: int = 0  # documents of Redis that were brought up to PostgreSQL's
    requeued: int = 0  # accepted workflows that the queue had lost


class LlmUse(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The target's own view of its calls to models; all but `in_flight` are cumulative over its process's life."""

    in_flight: int = 0
    calls: int = 0  # attempts that ended, one way or the other
    sdk_cpu_s: float = 0.0  # thread CPU time inside the SDKs' code
    process_cpu_s: float = 0.0  # CPU time of the process they are in, read in the same moment
    ttft_s: float = 0.0  # sum over streamed answers, as the agents saw it
    streamed: int = 0  # streamed answers behind that sum


class HostUse(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What the target's host knows of itself. Loop lags are the ticks since the last sample, in seconds."""

    in_flight: int = 0
    running: int = 0
    queue_depth: int = 0
    queue_peak: int = 0
    accepted: int = 0
    rejected: int = 0
    shed: int = 0  # of those, before the queue was full, because waiting took too long
    pools: dict[str, PoolUse] = {}
    loop_lags_s: tuple[float, ...] = ()
    state: StateUse | None = None
    llm: LlmUse | None = None


class HealthSample(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One line of `health.jsonl`: a service was asked for a sign of life, over a connection of our own.

    `response_s` is None when none came within the time we wait; `error` then says what was seen instead.
    """

    level: str
    at: float  # asked; s from t0
    service: str  # redis | postgres
    response_s: float | None = None
    error: str = ""
    commands: int | None = None  # (Redis) or transactions (PostgreSQL) that the server carried out since its start


class CrashFired(msgspec.Struct, frozen=True, gc=False):
    """One line of `crashes.jsonl`, written by the orchestrator just before it ended or stopped itself."""

    level: str
    at: float
    how: str  # kill | pause
    point: str
    pid: int
    workflow: str = ""
    step: str = ""


class Difference(msgspec.Struct, frozen=True, gc=False):
    """A document that the two stores do not agree on."""

    key: str
    why: str


class AuditResult(msgspec.Struct, frozen=True, gc=False):
    """One line of `audit.jsonl`: both stores were compared, after a level, when nothing was written any more."""

    level: str
    compared: int
    different: tuple[Difference, ...] = ()


class MachineUse(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """CPU seconds of the whole machine, over the cores that the run may use. All but `cores` are cumulative."""

    cores: int
    busy_s: float  # user, nice, system, interrupts; without idle, waiting for a disk, and stolen
    own_s: float | None = None  # of it, by this run's processes, ended ones included; None: not all can be seen
    stolen_s: float | None = None  # by the hypervisor; None: nobody tells
    pressure_s: float | None = None  # some task waited for a core (PSI); seconds, whatever the number of cores


class ResourceSample(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One line of `resources.jsonl`."""

    level: str
    at: float
    target: ProcessUse | None = None
    load: ProcessUse | None = None
    host: HostUse | None = None
    llm: ProcessUse | None = None  # the provider of models: the simulator, a replay, or the relay to the real ones
    machine: MachineUse | None = None  # the whole machine; in every fifth line or so
