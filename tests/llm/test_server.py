"""The provider's process: how it begins, what it says, and that no call is missing from its log however it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from harness.llm.config import MeasureBegan, ProviderConfig
from harness.observation.llm import LlmCall
from harness.scenario.models import Llm, LlmFault
from tests.llm.wire import CHAT, HEADERS, Wire, body, whole

MAIN = ("-m", "harness.llm.server")
SLOW = Llm(fault=(LlmFault(fault="slow_first_token", delay=600.0),))


@dataclass
class Running:
    """A process and the URL it said; its standard error is a pipe."""

    process: subprocess.Popen[bytes]
    url: str

    def said(self) -> dict[str, Any]:
        """Its next line."""
        assert self.process.stdout is not None
        line: dict[str, Any] = json.loads(self.process.stdout.readline())
        return line

    def tell(self, line: bytes) -> None:
        """On its standard input, as it is."""
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def end(self) -> tuple[int, bytes]:
        """Its input ends: its exit code, and what it said on standard error."""
        _, words = self.process.communicate(timeout=20.0)
        return self.process.returncode, words


@contextmanager
def started(*arguments: str, **config: Any) -> Iterator[subprocess.Popen[bytes]]:
    """The process, given its first line."""
    given = ProviderConfig(**{"run_id": "test", "t0": time.monotonic(), "time_scale": 0.001} | config)
    process = subprocess.Popen(
        [sys.executable, *(arguments or MAIN)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(given) + b"\n")
        process.stdin.flush()
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def running(**config: Any) -> Iterator[Running]:
    """The process, serving."""
    with started(**config) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        assert said["type"] == "ready", said
        yield Running(process, said["url"])


def refused(*arguments: str, **config: Any) -> tuple[dict[str, Any], int]:
    """The line that a process says which does not serve, and its exit code."""
    with started(*arguments, **config) as process:
        words, errors = process.communicate(timeout=20.0)
        assert errors == b""
        return json.loads(words), process.returncode


def ask(url: str, workflow: str = "10-1", **other: Any) -> httpx2.Response:
    return httpx2.post(url + CHAT, content=body(workflow, **other), headers=HEADERS)


def calls(log: Path) -> list[LlmCall]:
    """Every line, which must be whole."""
    return [msgspec.json.decode(line, type=LlmCall) for line in log.read_bytes().splitlines()]


def in_flight(url: str, count: int) -> list[Wire]:
    """So many calls that have begun: another one was answered after all of them were sent, on a connection each."""
    wires = [Wire(url) for _ in range(count)]
    for number, wire in enumerate(wires):
        wire.send(whole(body(f"10-{number}", stream=number % 2 == 0)))
    assert httpx2.get(url + "/health").status_code == 200
    return wires


# Beginning.


def test_it_listens_on_loopback_only() -> None:
    """Unless it is told otherwise."""
    with running() as provider:
        assert provider.url.startswith("http://127.0.0.1:")
        port = int(provider.url.rsplit(":", 1)[1])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # sends nothing: tells which address of ours would
            other = probe.getsockname()[0]
        if not other.startswith("127."):
            with pytest.raises(ConnectionRefusedError), socket.create_connection((other, port), 5.0):
                pass


def test_an_address_of_the_other_family() -> None:
    """The URL has brackets then."""
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with running(host="::1") as provider:
        assert provider.url.startswith("http://[::1]:")
        assert ask(provider.url).status_code == 200


def test_connections_wait_from_the_moment_the_url_is_told() -> None:
    """Nobody has to try again."""
    with running() as provider, Wire(provider.url) as wire:
        wire.send(whole(body()))
        assert wire.answer()[0] == 200


def test_a_port_that_is_taken() -> None:
    """A mistake of whoever chose it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said, code = refused(port=port)
    assert said == {
        "type": "failed",
        "message": f"cannot listen on 127.0.0.1 port {port}: Address already in use",
        "usage": True,
    }
    assert code == 2


def test_a_port_can_be_had_again_at_once() -> None:
    """Levels follow one another on the port of the scenario."""
    with running() as provider:
        port = int(provider.url.rsplit(":", 1)[1])
        ask(provider.url)
        assert provider.end()[0] == 0
    with running(port=port) as provider:
        assert ask(provider.url).status_code == 200


@pytest.mark.parametrize(
    ("config", "words"), [({"mode": "live"}, "cap on cost"), ({"mode": "replay"}, "path of a recording")]
)
def test_a_mode_that_lacks_what_it_needs(config: dict[str, Any], words: str) -> None:
    """Said in one sentence, before anything is served."""
    said, code = refused(**config)
    assert words in said["message"]
    assert (said["usage"], code) == (True, 2)


def test_a_log_that_cannot_be_opened(tmp_path: Path) -> None:
    """Nothing is served that would not be written down."""
    said, code = refused(log=str(tmp_path / "nowhere" / "calls.jsonl"))
    assert "No such file" in said["message"]
    assert (said.get("usage", False), code) == (False, 5)


@pytest.mark.parametrize("package", ["uvicorn", "uvloop"])
def test_an_extra_that_is_missing(package: str) -> None:
    """Which, and how to get it."""
    program = f"import sys; sys.modules[{package!r}] = None; from harness.llm.server import main; main()"
    said, code = refused("-c", program)
    assert said["message"] == f"{package} is missing: pip install 'orchestration-harness[llm]'"
    assert (said["usage"], code) == (True, 2)


def test_no_configuration() -> None:
    """Its input ended before a line was whole."""
    done = subprocess.run([sys.executable, *MAIN], input=b'{"run_id":', capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr == b"no configuration on standard input\n"


# Going on.


def test_it_learns_when_the_measure_phase_begins() -> None:
    """From a line on its input, in however many parts it comes; until then faults with a time wait."""
    fault = LlmFault(fault="error", status=503, at=0.0)
    began = time.monotonic()
    with running(t0=began, llm=Llm(fault=(fault,))) as provider:
        assert ask(provider.url).status_code == 200
        line = msgspec.json.encode(MeasureBegan(at=0.0)) + b"\n"
        provider.tell(line[:7])
        assert ask(provider.url).status_code == 200
        provider.tell(line[7:])
        deadline = time.monotonic() + 10.0
        while ask(provider.url).status_code == 200:
            assert time.monotonic() < deadline
        assert ask(provider.url).status_code == 503


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_ends_it() -> None:
    """What cannot be written down must not be served: it says why, and a run is invalid by its exit code."""
    with running(log="/dev/full") as provider:
        ask(provider.url)
        said = provider.said()
        assert said["type"] == "failed"
        assert said["message"] == "/dev/full cannot be written: No space left on device"
        assert provider.process.wait(20.0) == 5


# Ending.


def test_its_input_ends(tmp_path: Path) -> None:
    """Exit code 0, nothing on standard error; what had been answered is written down, and what was under way is cut
    and written down, too."""
    log = tmp_path / "calls.jsonl"
    with running(log=str(log), llm=SLOW) as provider:
        wires = in_flight(provider.url, 20)
        assert provider.end() == (0, b"")
        for wire in wires:
            assert wire.ended() in ("closed", "reset")
            wire.socket.close()
    cut = calls(log)
    assert sorted(call.workflow for call in cut) == sorted(f"10-{number}" for number in range(20))
    assert not any(call.complete or call.gone for call in cut)
    assert {(call.output_tokens, call.unread_tokens) for call in cut} == {(0, 60)}


def test_its_end_cuts_a_stream_within_and_a_whole_answer_before_it_begins(tmp_path: Path) -> None:
    """Neither may look like an answer that is whole, or like one of another status."""
    log = tmp_path / "calls.jsonl"
    still = Llm(fault=(LlmFault(fault="stall", delay=600.0),))
    with running(log=str(log), llm=still) as provider, Wire(provider.url) as stream, Wire(provider.url) as answer:
        answer.send(whole(body("10-1")))
        stream.send(whole(body("10-2", stream=True)))
        stream.read(b"data: ")
        began = time.monotonic()
        assert provider.end() == (0, b"")
        assert time.monotonic() - began < 4.0
        seen = stream.rest
        try:
            while piece := stream.socket.recv(65536):
                seen += piece
        except ConnectionResetError:
            pass
        assert b"[DONE]" not in seen
        assert not seen.endswith(b"0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            assert answer.socket.recv(65536) == b"never", "an answer"
    cut = {call.workflow: call for call in calls(log)}
    assert not any(call.complete or call.gone for call in cut.values())
    assert cut["10-1"].unread_tokens == 60
    assert 0 < cut["10-2"].output_tokens < 60
    assert cut["10-2"].output_tokens + cut["10-2"].unread_tokens == 60


def test_it_is_asked_to_end(tmp_path: Path) -> None:
    """By SIGTERM: the same."""
    log = tmp_path / "calls.jsonl"
    with running(log=str(log), llm=SLOW) as provider:
        wires = in_flight(provider.url, 3)
        provider.process.send_signal(signal.SIGTERM)
        assert provider.process.wait(20.0) == 0
        for wire in wires:
            wire.socket.close()
    assert len(calls(log)) == 3


def test_ctrl_c_is_not_meant_for_it(tmp_path: Path) -> None:
    """The terminal sends it to everybody; whoever started the process decides."""
    log = tmp_path / "calls.jsonl"
    with running(log=str(log)) as provider:
        provider.process.send_signal(signal.SIGINT)
        assert ask(provider.url).status_code == 200
        assert provider.end()[0] == 0
    assert len(calls(log)) == 1


def test_it_is_killed(tmp_path: Path) -> None:
    """What was written by then can be read: whole lines, in the order in which the calls ended."""
    log = tmp_path / "calls.jsonl"
    with running(log=str(log)) as provider:
        for number in range(50):
            assert ask(provider.url, f"10-{number}").status_code == 200
        deadline = time.monotonic() + 10.0
        while len(calls(log)) < 50:
            assert time.monotonic() < deadline
            time.sleep(0.02)  # until the next batch
        ask(provider.url, "10-50")
        os.kill(provider.process.pid, signal.SIGKILL)
        provider.process.wait(20.0)
    assert [call.workflow for call in calls(log)][:50] == [f"10-{number}" for number in range(50)]


def test_levels_share_a_log(tmp_path: Path) -> None:
    """Each appends, under its own name."""
    log = tmp_path / "calls.jsonl"
    for level in ("10", "25"):
        with running(log=str(log), level=level) as provider:
            ask(provider.url)
            assert provider.end()[0] == 0
    assert [call.level for call in calls(log)] == ["10", "25"]
