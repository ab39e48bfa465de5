"""Several load processes: those that the run starts itself, and where the others find the target."""

from __future__ import annotations

import socket

import msgspec

from harness.child import Child, Children
from harness.errors import HarnessError, UsageError
from harness.load.control import EXIT_UNREACHED, Crew, Join, Listening
from harness.run.listening import Interrupt
from harness.scenario.scenario import Scenario

MODULE = "harness.load.crew.joining"
LEAVE_S = 10.0
"""For a load process to tell all that it has and go."""


class Hands:
    """The load processes of our own, of one level."""

    def __init__(self, children: Children, name: str, crew: Crew | None) -> None:
        self._children = children
        self._name = name
        self._crew = crew
        self._started: list[Child] = []

    def join(self, at: Listening) -> None:
        """The master listens: they may come."""
        assert self._crew is not None
        word = msgspec.json.encode(Join(host=at.host, port=at.port, ours=True))
        for number in range(self._crew.here):
            name = f"load-{self._name}-{number + 1}"
            self._started.append(self._children.start(name, MODULE, first_line=word))

    def end(self) -> None:
        """The master told them to leave, if it could."""
        for child in self._started:
            child.end(grace_s=5.0)


def work_once(children: Children, join: Join, interrupt: Interrupt) -> None:
    """Drive load for one level of the run that listens there, whenever it does. Raises HarnessError."""
    child = children.start("worker", MODULE, first_line=msgspec.json.encode(join))
    while (code := child.wait(0.2)) is None and not interrupt.asked.is_set():
        pass
    if code is None:
        child.end(grace_s=LEAVE_S)
    elif code not in (0, EXIT_UNREACHED):
        raise HarnessError(child.with_last_words(f"the load process ended with {code}"))


def check_host(option: str, host: str) -> None:
    """Whether the name leads anywhere, before somebody waits for it. Raises UsageError."""
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        raise UsageError(f"{option} {host}: no such host ({error.strerror}); give its name or its address") from None


def free_port(host: str) -> int:
    """One that nobody listens on at the moment."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def crew_mistakes(scenario: Scenario, crew: Crew | None) -> list[str]:
    """What a scenario cannot have done by so many load processes."""
    if crew is None:
        return []
    few = [level.label for level in scenario.load.levels if level.mode == "closed" and level.amount < crew.size]
    mistakes = [f"{crew.size} load processes: level {label} of {scenario.name} has fewer users; take fewer processes"
                for label in few]  # fmt: skip
    if crew.joining and scenario.crash is not None and scenario.crash.pause:
        mistakes.append("--join: with crash.pause a target's successor could not listen at its address; use --workers")
    return mistakes


def parse_address(option: str, text: str, usual_port: int) -> tuple[str, int]:
    """HOST or HOST:PORT, as `option` gives it. Raises UsageError."""
    host, _, port = text.rpartition(":") if text.count(":") == 1 else (text, "", "")
    if not host.strip("[]") or (port and not (port.isdigit() and 0 < int(port) < 65536)):
        raise UsageError(f"{option} {text}: say HOST or HOST:PORT, like 10.0.0.1:{usual_port}")
    return host.strip("[]"), int(port or usual_port)
