"""What a scenario file means, as frozen types without behaviour.

A field's comment is its documentation in the generated JSON Schema. Units: durations are seconds, sizes bytes,
shares fractions of one, rates per second; files write them as people do (`"5 s"`, `"512 MiB"`, `"80 %"`, `"6/s"`).
Standard library only: the target host decodes its part of a scenario without importing a validator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.scenario.fleet import Fleet
from harness.scenario.models import Ask, Llm
from harness.scenario.shapes import SHAPES, HandOver, Step
from harness.scenario.units import Bytes, PerSecond, Seconds, Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Think:
    """Waiting for a model: a time drawn from the latency model of that class, scaled by the scenario's time_scale."""

    model: str  # a class of models; an unknown one is answered with those that there are
    output_tokens: int = 60  # of the answer that it waits for


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What an agent really does in one attempt. All parts that are given happen, one after the other."""

    think: Think | None = None  # wait for a model without asking one
    llm: Ask | None = None  # ask a model over HTTP
    hand_over: HandOver | None = None  # after thinking or asking: another agent's finding is taken for its own
    wait: Seconds = 0.0  # a fixed wait; never scaled
    cpu: Seconds = 0.0  # thread CPU time burnt in the target's process pool
    memory: Bytes = 0  # held for the whole step, every page written
    failure: Share = 0.0  # share of attempts that fail and may be retried; drawn by seed
    effect: bool = False  # an act in the outside world, done and recorded by the witness, once for each step
    update: tuple[str, ...] = ()  # shared documents it writes to, each by the policy declared for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """A circuit breaker: when it opens, for how long, and how it finds out that it may close again.

    A call is an attempt of an agent's step, an operation of a store, or one question to a model. What ended by the
    step's own deadline has failed; what was cancelled otherwise is not counted.
    """

    failures: Share = 0.5  # of the last calls; at this share it opens
    slow: Seconds | None = None  # a call that takes longer is slow, failed or not; left out: none is
    slow_share: Share = 0.5  # of the last calls; when so many of them were slow it opens, too
    calls_min: int = 10  # calls before it may open
    window: int = 100  # how many calls are the last ones
    window_s: Seconds | None = None  # instead of `window`: the calls of the last so many seconds
    open: Seconds = 10.0  # calls are refused for so long; after it calls probe, and close or open it again
    half_open: int = 1  # probes: calls let through then, in all; judged by the same shares


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """One agent type: a bounded pool that does one kind of work."""

    pool: int = 20  # instances: steps of this agent that run at once
    deadline: Seconds = 30.0  # of one step, all its attempts and its wait for the pool together
    attempts: int = 3  # tries of one step, the first included
    work: Work = field(default_factory=Work)  # what it does; nothing when left out
    waiting: int | None = None  # steps that may wait for an instance; one more fails (bulkhead_full); left out: any
    breaker: Breaker | None = None  # shared by all workflows; none when left out
    verify: bool = False  # its findings are checked before others build on them; a wrong one fails the attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """One kind of job. For the embedded target it has a shape or steps of its own; for others, an input."""

    kind: str  # its name: reports and limits tell kinds apart
    weight: int = 1  # share of arrivals: kinds come in shuffled decks holding each kind `weight` times
    shape: str | None = None  # sequential, supervisor, enterprise, or fan-out; or `steps`
    steps: tuple[Step, ...] = ()  # instead of a shape: any graph without cycles
    work: Mapping[str, Work] = field(default_factory=dict)  # by agent: instead of the agent's own work
    deadline: Seconds = 30.0  # from acceptance; an unfinished workflow then fails
    input: Mapping[str, Any] = field(default_factory=dict)  # what is submitted, any JSON

    @property
    def declared_steps(self) -> tuple[Step, ...]:
        """The steps to run, in an order in which each comes after what it needs."""
        return self.steps or SHAPES[self.shape or "sequential"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How workflows arrive. Exactly one of closed, open and burst is given; each entry of it is one level."""

    closed: tuple[int, ...] = ()  # concurrent users: submit, wait for the end, submit again
    open: tuple[PerSecond, ...] = ()  # arrivals per second, blind to replies
    burst: tuple[int, ...] = ()  # workflows in all, arriving in bursts of burst_size every burst_every
    arrivals: Literal["constant", "poisson", "steps"] = "poisson"  # open only
    step_shares: tuple[Share, ...] = (0.25, 0.5, 0.75, 1.0)  # arrivals = "steps": shares of the level's rate, in turn
    burst_size: int | None = None  # burst only; all at once when left out
    burst_every: Seconds = 1.0  # burst only
    in_flight_max: int = 1000  # open and burst: users at most; later arrivals wait for a free one and count as late
    warmup: Seconds = 3.0  # not judged; the target's first steps are not its pace
    measure: Seconds = 22.0  # arrivals due within it are judged
    drain: Seconds = 30.0  # how long to wait for what is in flight; what has not ended then counts as a lower bound
    until_ok: int | None = None  # end `measure` early once this many workflows of it were ok

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels, in the order of the file."""
        return (
            *(Level(label=str(users), mode="closed", amount=users) for users in self.closed),
            *(Level(label=f"{rate:g}/s", mode="open", amount=rate) for rate in self.open),
            *(Level(label=str(total), mode="burst", amount=total) for total in self.burst),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One amount of load: a concurrency, a rate, or a number of workflows. Limits are keyed by `label`."""

    label: str
    mode: Literal["closed", "open", "burst"]
    amount: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Orchestrator:
    """Bounds of the embedded orchestrator."""

    slots: int = 1000  # workflows running at once
    queue: int = 1000  # accepted workflows waiting for a slot; the next one is rejected
    cpu_workers: int = 1  # processes that burn the agents' CPU time
    retry_budget: Share = 0.2  # retries / first attempts, over all agents; beyond it a failed attempt is final
    retry_wait: Seconds = 0.05  # before the second attempt; doubles, with seeded jitter
    hand_overs: int = 3  # of one task, from agent to agent; one more fails it for good (hand_over_loop)
    shed: Seconds | None = None  # workflows are rejected when the queue is so long that others wait longer than this
    breaker: Mapping[str, Breaker] = field(default_factory=dict)  # on what it depends on: redis, postgres, llm


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where the embedded orchestrator keeps what must outlive a step; `--state` sets `store`.

    With any store but memory every step is a checkpoint, and workflows outlive their orchestrator.
    """

    store: Literal["memory", "redis", "postgres", "both"] = "memory"  # both: PostgreSQL is right, Redis its mirror
    ttl: Seconds | None = None  # of a workflow's document, renewed by each checkpoint; its deadline when left out
    lease: Seconds = 1.0  # an orchestrator that is silent for so long may be replaced
    kept: Seconds = 60.0  # a finished workflow's result can be asked for so long; not with memory
    queue: Literal["memory", "redis"] = "memory"  # of accepted workflows; redis: a stream
    fallback: bool = False  # to memory while Redis is away; what rests on it alone is degraded
    fallback_max: int = 10_000  # documents held then; beyond it writes are refused
    fsync: bool = False  # of a PostgreSQL that we start: whether a commit waits for the disk
    pool: int | None = None  # connections to PostgreSQL, one operation on each; left out: few, shared by all that waits


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A document that all workflows write to, and what happens when two do so at once."""

    policy: Literal["merge", "refuse", "last_writer"] = "merge"  # field by field; compare and set; whole and blind
    attempts: int = 100  # refuse only: compare-and-set tries of one update, with jitter, before the attempt fails


CrashPoint = Literal[
    "before_claim", "after_claim",
    "before_effect", "after_effect",
    "before_checkpoint", "after_checkpoint",
    "between_stores",
    "before_ack", "after_ack",
]  # fmt: skip
"""Claim: a workflow becomes this orchestrator's own. Effect: an agent acts outside. Checkpoint: a finding is stored.
Between stores: PostgreSQL has a write that Redis has not. Ack: the end is stored, of which the client is then told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """Ends the orchestrator at named points, one after the other, and starts it again each time."""

    kill: tuple[CrashPoint, ...] = ()  # SIGKILL when it next passes the point
    pause: tuple[CrashPoint, ...] = ()  # after those: SIGSTOP; a second one takes over, then SIGCONT
    every: Seconds = 2.0  # after each start, before the next point is armed


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A service that does not answer for a while (SIGSTOP: connections are taken, replies never come)."""

    service: Literal["redis", "postgres"]  # one that the run started itself
    at: Seconds  # after the measure phase began
    lasts: Seconds  # then it goes on (SIGCONT)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCall:
    """A request template: `{id}`, `{kind}`, `{seed}`, `{input}` and `{input.KEY}` are filled in, JSON types kept."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"  # of HTTP
    url: str  # where to; a host of this machine, or --allow-remote
    headers: Mapping[str, str] = field(default_factory=dict)  # sent with it
    json: Any = None  # the body


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpPoll:
    """The end is found by asking a URL, whose template may also hold `{reply/POINTER}`: a part of the submit's answer.

    Pointers are JSON pointers (RFC 6901).
    """

    url: str  # what to ask
    every: Seconds = 0.1  # between an answer and the next question
    until: Mapping[str, tuple[Any, ...]]  # pointer -> values; one of them there is the end
    ok: Mapping[str, Any]  # pointer -> the value that says it went well


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpEvents:
    """The end is a named server-sent event of the submit's own reply. A stream that ends without it is `unknown`."""

    until: tuple[str, ...]  # names of events that end it
    ok: tuple[str, ...]  # which of them say that it went well
    step: str | None = None  # an event name that reports steps; read by `steps`


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSteps:
    """Where a reply reports steps: `at` points to a list, the others into each item. Times are seconds."""

    at: str = ""  # a JSON pointer to the list
    agent: str = "/agent"  # pointer to the agent's name
    started: str = "/started"  # pointer to when it began
    ended: str = "/ended"  # pointer to when it ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """A black-box service. Without poll and events the submit's own response is the end."""

    submit: HttpCall  # how a workflow is begun
    ok: Mapping[str, Any] = field(default_factory=dict)  # pointers the response must equal; status 2xx always
    poll: HttpPoll | None = None  # how its end is found, if not in the answer
    events: HttpEvents | None = None  # how it is found in a stream
    rejected_status: tuple[int, ...] = (429, 503)  # definitely not started; Retry-After is obeyed
    expect: Mapping[str, Any] = field(default_factory=dict)  # pointer -> "exists", { equals = … }, { python = "m:f" }
    steps: HttpSteps | None = None  # where the answer tells of its steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Python:
    """Rules for a target given as `python:module:attribute`."""

    expect: Mapping[str, Any] = field(default_factory=dict)  # pointer -> rule, as for http


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Which process of a black-box target to measure. Exactly one."""

    pid: int | None = None  # this process
    port: int | None = None  # the process that listens there, on this machine
    command: str | None = None  # a substring of the command line


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One file in `scenarios/`: the target, what arrives, how, and for how long."""

    name: str  # the file's name without .toml
    description: str  # a line, for people
    target: str = "embedded"  # embedded | http | python:module:attribute
    seed: int = 1  # of everything that is drawn: the same one, the same workflows
    time_scale: float = 1.0  # multiplies drawn latencies only
    load: Load  # what arrives, how much of it and for how long
    workflow: tuple[Workflow, ...]  # the kinds of jobs
    agent: Mapping[str, Agent] = field(default_factory=dict)  # by name; the embedded orchestrator's
    orchestrator: Orchestrator = field(default_factory=Orchestrator)  # bounds of the embedded orchestrator
    state: State = field(default_factory=State)  # where state is kept
    fleet: Fleet | None = None  # several instances of the target; one when left out
    shared: Mapping[str, Shared] = field(default_factory=dict)  # by name: documents that all workflows write to
    crash: Crash | None = None  # where the orchestrator is ended and started again
    outage: tuple[Outage, ...] = ()  # services that do not answer for a while
    fault: tuple[Mapping[str, Any], ...] = ()  # kind, at, for, and the kind's own parameters: `harness faults`
    control: bool = False  # run the same load and seed once more with nothing broken, and tell both
    objective: Share | None = None  # of workflows that are to succeed, 99 % when left out; the rest is the error budget
    sometimes: tuple[str, ...] = ()  # metrics (or error.CLASS) that must be above zero at each level, else inconclusive
    llm: Llm | None = None  # the provider of models, simulated
    http: Http | None = None  # of target = "http"
    python: Python = field(default_factory=Python)  # of target = "python:…"
    watch: Watch | None = None  # whose process is measured, when we did not start it
