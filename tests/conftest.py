"""What the tests of several packages share: the golden option, and hand-written runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings

from harness.child import Children
from harness.observation.faults import FaultEvent, Turn
from harness.observation.history import Answered, Called
from harness.observation.ledger import Answer, Effect
from harness.observation.llm import LlmCall
from harness.observation.manifest import LevelEnd, Machine, Manifest, ServiceUsed
from harness.observation.observation import (
    AuditResult,
    CrashFired,
    Difference,
    HealthSample,
    HostUse,
    JournalLine,
    LlmUse,
    LoadCheck,
    Observation,
    Opened,
    Outcome,
    Phase,
    PhaseMark,
    PoolUse,
    ProcessUse,
    ResourceSample,
    StepRecord,
)
from harness.scenario.models import Llm, LlmFault
from harness.scenario.scenario import Agent, Crash, Load, Outage, Scenario, Shared, Work, Workflow
from harness.scenario.shapes import Step
from harness.service.service import provide, settings_from

MEBIBYTE = 2**20
MEASURE_FROM_S = 10.0
MEASURE_TO_S = 30.0


settings.register_profile("harness", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("harness")  # how fast examples are drawn says something about the machine only


def pytest_addoption(parser: pytest.Parser) -> None:
    """`make golden` renews the golden files instead of comparing with them."""
    parser.addoption("--update-golden", action="store_true", help="write tests/golden anew; look at the diff")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was not tested is not passed over in silence, whichever process skipped it."""
    skipped = [report.longrepr for report in terminalreporter.stats.get("skipped", [])]
    reasons = [words[2].removeprefix("Skipped: ") for words in skipped if isinstance(words, tuple)]
    for reason in dict.fromkeys(each for each in reasons if each.startswith("NOT TESTED: ")):
        what, _, why = reason.removeprefix("NOT TESTED: ").partition(": ")
        terminalreporter.section(f"NOT TESTED: {what}", red=True)
        terminalreporter.line(why)


@dataclass
class RunBuilder:
    """A run's folder written by hand: measure lasts from 10 to 30 s of each level, resources are sampled each second.

    Lines are written in the order they were added, at `write`.
    """

    folder: Path
    levels: tuple[str, ...] = ("10",)
    target: str = "embedded"
    agents: tuple[str, ...] = ("data",)
    load: Load = field(default_factory=lambda: Load(closed=(10,), measure=20.0))
    limits: str | None = None
    finished: bool = True
    ended: list[LevelEnd] = field(default_factory=list)
    lines: list[JournalLine] = field(default_factory=list)
    samples: list[ResourceSample] = field(default_factory=list)
    state: str = "memory"
    llm: str = ""
    services: tuple[ServiceUsed, ...] = ()
    unremoved: tuple[str, ...] = ()
    work: Work = field(default_factory=Work)  # of every agent
    workflow_steps: tuple[Step, ...] = ()
    crash: Crash | None = None
    outage: tuple[Outage, ...] = ()
    fault: tuple[Mapping[str, Any], ...] = ()
    llm_faults: tuple[LlmFault, ...] = ()
    objective: float | None = None
    sometimes: tuple[str, ...] = ()
    others: dict[str, list[Any]] = field(default_factory=dict)  # by file name; a file without an entry is not written

    def phases(self, level: str = "10", *, last: str = "end") -> None:
        """The marks of a level, up to `last`; its end in the manifest too, when that is `end`."""
        for phase, at in (("warmup", 0.0), ("measure", MEASURE_FROM_S), ("drain", MEASURE_TO_S), ("end", 32.0)):
            self.lines.append(PhaseMark(level, phase, at))
            if phase == last:
                break
        if last == "end":
            self.ended.append(LevelEnd(level=level, status="complete"))

    def workflow(self, latency_s: float | None = 1.0, outcome: Outcome = Outcome.OK, **fields: Any) -> Observation:
        """One arrival, by default intended at 15 s in measure and started on time."""
        at = fields.setdefault("intended", 15.0)
        if latency_s is not None:
            fields.setdefault("started", at)
            fields.setdefault("ended", at + latency_s)
        whole = {"id": f"w{len(self.lines)}", "kind": "simple", "level": "10", "phase": Phase.MEASURE, "seed": 1}
        observation = Observation(outcome=outcome, **{**whole, **fields})
        self.lines.append(observation)
        return observation

    def workflows(self, count: int, latency_s: float = 1.0, **fields: Any) -> None:
        """Many alike, spread evenly over measure."""
        for number in range(count):
            at = MEASURE_FROM_S + (MEASURE_TO_S - MEASURE_FROM_S) * number / count
            self.workflow(latency_s, **{"intended": at, **fields})

    def opened(self, name: str, *, accepted: bool, level: str = "10") -> None:
        """A workflow that was in flight when a batch was written."""
        self.lines.append(Opened(name, "simple", level, Phase.MEASURE, 15.0, 15.0, 15.1 if accepted else None))

    def step(self, agent: str = "data", *, waited_s: float = 0.1, took_s: float = 0.5, **fields: Any) -> StepRecord:
        """A step asked for at 15 s."""
        started = 15.0 + waited_s
        return StepRecord("step", agent, 15.0, started, started + took_s, fields.pop("outcome", Outcome.OK), **fields)

    def check(self, *, lag_s: float, at: float = 20.0, in_flight: int = 5, level: str = "10") -> None:
        """What the load process noted of itself."""
        self.lines.append(LoadCheck(level, at, 10, in_flight, lag_s))

    def resources(
        self,
        rss_mib: Callable[[float], float] = lambda at: 100.0,
        *,
        cpu: float = 0.5,
        load_cpu: float = 0.1,
        busy: float = 9.0,
        llm_cpu: float | None = None,
        sdk_cpu: float | None = None,
        level: str = "10",
    ) -> None:
        """Samples from 0 to 32 s. `cpu` and the like are shares of a core, `busy` of 10 instances of agent data.

        With `llm_cpu` there is a provider of models, with `sdk_cpu` the host tells of 10 calls a second.
        """
        for second in range(33):
            at = float(second)
            use = ProcessUse(
                cpu_s=cpu * at,
                rss_bytes=round(rss_mib(at) * MEBIBYTE),
                fds=20,
                threads=4,
                switches_voluntary=100 * second,
                switches_involuntary=10 * second,
                processes=1,
            )
            host = HostUse(
                queue_depth=second % 3,
                queue_peak=7,
                pools={"data": PoolUse(size=10, busy=9, waiting=1, busy_s=busy * at, wait_s=0.0)},
                loop_lags_s=(0.001, 0.002),
                llm=None
                if sdk_cpu is None
                else LlmUse(calls=10 * second, sdk_cpu_s=sdk_cpu * at, process_cpu_s=cpu * at),
            )
            mine = msgspec.structs.replace(use, cpu_s=load_cpu * at)
            models = None if llm_cpu is None else msgspec.structs.replace(use, cpu_s=llm_cpu * at)
            self.samples.append(ResourceSample(level, at, target=use, load=mine, host=host, llm=models))

    def effect(self, workflow: str, step: str, answer: Answer = "performed", *, owner: int = 1, token: int = 0) -> None:
        """An act that the witness wrote down."""
        acts = self.others.setdefault("ledger.jsonl", [])
        acts.append(Effect(15.0, workflow, step, f"{workflow}/{step}/{len(acts)}", token, owner, answer))

    def call(self, workflow: str = "", step: str = "", at: float = 15.0, *, took_s: float = 0.5, **fields: Any) -> None:
        """An attempt to call a model, as its provider wrote it: by agent data, and answered, unless told otherwise."""
        whole = {
            "level": "10",
            "api": "openai.chat",
            "model": "some-model",
            "complete": fields.get("status", 200) == 200,
        }
        whole |= {"agent": "data", "input_tokens": 300, "output_tokens": 51, "cost_usd": 0.001}
        call = LlmCall(workflow=workflow, step=step, at=at, ended_s=took_s, **{**whole, **fields})
        self.others.setdefault("calls.jsonl", []).append(call)

    def update(self, op_id: str, version: int | None, at: float = 15.0, *, key: str = "hot", process: int = 1) -> None:
        """A merge of a shared document that took 10 ms and made `version`; None: it was never answered."""
        number = len(self.others.setdefault("history.jsonl", []))
        self.others["history.jsonl"].append(Called(number, process, key, "merge", at, op_id))
        if version is not None:
            self.others["history.jsonl"].append(Answered(number, process, at + 0.01, True, version))

    def health(self, *responses_s: float | None, service: str = "redis", level: str = "10", begun: float = 0.0) -> None:
        """How a service answered, each second; None: not at all."""
        self.others.setdefault("health.jsonl", []).extend(
            HealthSample(level, begun + second, service, response_s, "" if response_s is not None else "no answer")
            for second, response_s in enumerate(responses_s)
        )

    def crashed(self, point: str, at: float, how: str = "kill", level: str = "10") -> None:
        """The orchestrator was ended there."""
        self.others.setdefault("crashes.jsonl", []).append(CrashFired(level, at, how, point, 7))

    def broke(self, kind: str, *turns: Turn, fault: int = 0, at: float = 15.0, level: str = "10") -> None:
        """A fault took these turns, a second apart, with seven bites from the moment that it bit."""
        found = self.others.setdefault("faults.jsonl", [])
        for second, turn in enumerate(turns):
            bites = 7 if "bit" in turns[: second + 1] else 0
            found.append(FaultEvent(level=level, fault=fault, kind=kind, turn=turn, at=at + second, bites=bites))

    def audit(self, compared: int, *different: str, level: str = "10") -> None:
        """Both stores were compared after the level."""
        found = tuple(Difference(key, "version 3 in PostgreSQL, 2 in Redis") for key in different)
        self.others.setdefault("audit.jsonl", []).append(AuditResult(level, compared, found))

    def sound(self, count: int = 400, level: str = "10", latency_s: float = 1.0) -> None:
        """A whole level in which nothing is wrong."""
        self.workflows(count, latency_s, level=level)
        self.phases(level)
        self.resources(level=level)

    def write(self) -> Path:
        """Put everything on disk; the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        scenario = Scenario(
            name="hand_written",
            description="written by a test",
            target=self.target,
            load=self.load,
            workflow=(Workflow(kind="simple", steps=self.workflow_steps),),
            agent={name: Agent(work=self.work) for name in self.agents},
            shared={name: Shared() for name in self.work.update},
            crash=self.crash,
            outage=self.outage,
            fault=self.fault,
            llm=Llm(fault=self.llm_faults) if self.llm_faults else None,
            objective=self.objective,
            sometimes=self.sometimes,
        )
        (self.folder / "scenario.json").write_bytes(msgspec.json.encode(scenario))
        if self.limits is not None:
            (self.folder / "limits.toml").write_text(self.limits)
        for name, lines in (("journal.jsonl", self.lines), ("resources.jsonl", self.samples), *self.others.items()):
            (self.folder / name).write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        machine = Machine(
            system="Linux 6", cpu="some CPU", cores=2, memory_bytes=2**34, python="3.11.7", versions={"msgspec": "0.22"}
        )
        Manifest(
            run_id="20260101-000000-hand_written-0001",
            scenario=scenario.name,
            target=self.target,
            seed=7,
            started_at="2026-01-01T00:00:00+00:00",
            command="harness run hand_written",
            levels=self.levels,
            machine=machine,
            t0=0.0,
            state=self.state,
            llm=self.llm,
            services=self.services,
            unremoved=self.unremoved,
            finished=self.finished,
            ended=tuple(self.ended),
        ).write(self.folder)
        return self.folder


@pytest.fixture
def run(tmp_path: Path) -> RunBuilder:
    """A run to be written by hand."""
    return RunBuilder(tmp_path / "run")


QUICKEST_FIRST = {"HARNESS_SERVICES": "embedded,program,container"}  # the environment may pin others


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Children]:
    """What the session's servers belong to: they end with it, also when pytest is killed."""
    with Children(f"tests-{os.getpid()}", tmp_path_factory.mktemp("servers")) as children:
        yield children
    assert children.leftovers == ()


@pytest.fixture(scope="session")
def redis_url(servers: Children) -> Iterator[str]:
    """A real Redis of this session; tests keep to a namespace of their own."""
    with provide("redis", settings_from(QUICKEST_FIRST | os.environ), servers) as running:
        yield running.url


@pytest.fixture(scope="session")
def postgres_url(servers: Children) -> Iterator[str]:
    """A real PostgreSQL of this session; tests keep to a schema of their own."""
    with provide("postgres", settings_from(QUICKEST_FIRST | os.environ), servers) as running:
        yield running.url
