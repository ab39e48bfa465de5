"""The witness, a real process: it performs once, writes first and answers then, and forgets nothing."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from harness.child import Child, Children, expect_line
from harness.observation.effects import Effects, WitnessUnavailable
from harness.observation.ledger import Act, Acted, Effect, Unable
from harness.observation.witness import WitnessConfig

READY_S = 20.0


class Stand:
    """A folder with a ledger and a socket, and the witnesses that serve them."""

    def __init__(self, folder: Path, children: Children) -> None:
        self.folder = folder
        self.socket = str(folder / "w.sock")
        self.ledger = folder / "ledger.jsonl"
        self._children = children
        self._started = 0

    def start(self, ledger: Path | None = None) -> Child:
        """A witness that listens."""
        child = self.start_unready(ledger)
        assert json.loads(expect_line(child, READY_S)) == {"type": "ready"}
        return child

    def start_unready(self, ledger: Path | None = None) -> Child:
        """A witness that may not get as far."""
        self._started += 1
        config = WitnessConfig(run_id="test", t0=0.0, socket=self.socket, path=str(ledger or self.ledger))
        first_line = msgspec.json.encode(config)
        return self._children.start(f"witness-{self._started}", "harness.observation.witness", first_line=first_line)

    def effects(self) -> list[Effect]:
        """The ledger."""
        return [msgspec.json.decode(line, type=Effect) for line in self.ledger.read_bytes().splitlines()]

    def act_as_another(self, *acts: Act) -> tuple[int, list[str]]:
        """Acts of a process of its own: its pid and the answers."""
        program = (
            "import asyncio, json, os, sys\nfrom harness.observation.effects import Effects\n"
            "async def main():\n"
            "    effects = await Effects.connect(sys.argv[1])\n"
            "    print(os.getpid(), json.dumps([await effects.act(*act) for act in json.loads(sys.argv[2])]))\n"
            "    await effects.close()\n"
            "asyncio.run(main())"
        )
        told = json.dumps([(act.workflow, act.step, act.op_id, act.token) for act in acts])
        command = [sys.executable, "-c", program, self.socket, told]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        pid, answers = done.stdout.split(" ", 1)
        return int(pid), json.loads(answers)


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    """Everything that was started ends with the test; the socket's folder has a short name."""
    with (
        tempfile.TemporaryDirectory(prefix="hw-") as folder,
        Children(f"test-witness-{os.getpid()}", tmp_path / "logs") as children,
    ):
        yield Stand(Path(folder), children)


def raw(stand: Stand, sent: bytes) -> Acted | Unable:
    """What the witness answers to these bytes first."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(READY_S)
        peer.connect(stand.socket)
        peer.sendall(sent)
        with peer.makefile("rb") as lines:
            return msgspec.json.decode(lines.readline(), type=Acted | Unable)


def test_an_act_is_performed_once(stand: Stand) -> None:
    """However often it is sent, one after the other or at once; every time is in the ledger."""
    stand.start()

    async def acts() -> list[str]:
        effects = await Effects.connect(stand.socket)
        answers = [await effects.act("10-1", "data", "a"), await effects.act("10-1", "data", "a")]
        answers += await asyncio.gather(*(effects.act("10-1", "join", "b") for _ in range(50)))
        await effects.close()
        return [str(answer) for answer in answers]

    assert asyncio.run(acts()) == ["performed", "replayed", "performed", *["replayed"] * 49]
    ledger = stand.effects()
    assert len(ledger) == 52
    first = ledger[0]
    assert (first.workflow, first.step, first.op_id, first.answer, first.owner) == ("10-1", "data", "a", "performed", 1)
    assert [effect.at for effect in ledger] == sorted(effect.at for effect in ledger)


def test_tokens_of_another_scope_are_no_successors(stand: Stand) -> None:
    """A level begins with token 1, however many owners the level before it had; also after a restart."""

    async def main() -> None:
        for scope, token in (("level-1", 7), ("level-2", 1)):
            effects = await Effects.connect(stand.socket, scope=scope)
            assert await effects.act("10-1", "data", f"{scope}/a", token) == "performed"
            await effects.close()

    witness = stand.start()
    asyncio.run(main())
    witness.end(grace_s=5.0)
    stand.start()

    async def again() -> None:
        effects = await Effects.connect(stand.socket, scope="level-2")
        assert await effects.act("10-1", "data", "b", 1) == "performed"
        await effects.close()
        effects = await Effects.connect(stand.socket, scope="level-1")
        assert await effects.act("10-1", "data", "c", 6) == "refused"
        await effects.close()

    asyncio.run(again())


def test_a_sender_that_was_replaced_is_refused(stand: Stand) -> None:
    """Also for what it had done before, so that it learns of it; a sender without a token never is."""
    stand.start()

    async def acts() -> list[str]:
        effects = await Effects.connect(stand.socket)
        sent = [("a", 5), ("b", 6), ("c", 5), ("a", 5), ("a", 0), ("d", 0), ("e", 6)]
        answers = [await effects.act("10-1", "data", op_id, token) for op_id, token in sent]
        await effects.close()
        return [str(answer) for answer in answers]

    assert asyncio.run(acts()) == [
        "performed", "performed", "refused", "refused", "replayed", "performed", "performed",
    ]  # fmt: skip


def test_the_kernel_tells_who_acts(stand: Stand) -> None:
    """The first process is owner 1 and stays so, whatever it says; connecting again makes nobody new."""
    stand.start()
    first, _ = stand.act_as_another(Act("10-1", "data", "a"), Act("10-1", "data", "b"))
    second, _ = stand.act_as_another(Act("10-1", "data", "c"))
    assert raw(stand, msgspec.json.encode(Act("10-1", "data", "d")) + b"\n") == Acted("d", "performed")
    assert raw(stand, msgspec.json.encode(Act("10-1", "data", "e")) + b"\n") == Acted("e", "performed")
    owners = [(effect.owner, effect.pid) for effect in stand.effects()]
    assert owners == [(1, first), (1, first), (2, second), (3, os.getpid()), (3, os.getpid())]


def test_a_witness_that_is_killed_and_started_again_loses_nothing(stand: Stand) -> None:
    """Operation ids, tokens and owners are known again; the line that was being written then is dropped."""
    killed = stand.start()

    async def acts() -> list[str]:
        effects = await Effects.connect(stand.socket)
        answers = [await effects.act("10-1", "data", "a", 7)]
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait(READY_S)
        with stand.ledger.open("ab") as file:
            file.write(b'{"type":"effect","at":1.0,"workf')
        later = asyncio.ensure_future(effects.act("10-1", "data", "a", 7))
        stand.start()  # in this thread: it would end with another
        answers += [await later, await effects.act("10-1", "data", "b", 6), await effects.act("10-1", "data", "c", 7)]
        await effects.close()
        return [str(answer) for answer in answers]

    assert asyncio.run(acts()) == ["performed", "replayed", "refused", "performed"]
    assert [effect.owner for effect in stand.effects()] == [1, 1, 1, 1]
    stand.act_as_another(Act("10-1", "data", "d"))
    assert stand.effects()[-1].owner == 2


def test_acts_survive_any_number_of_kills(stand: Stand) -> None:
    """Fifty callers, five kills in the middle: each act is performed once, and everybody is answered."""

    def kill_after(witness: Child, acts: int) -> None:
        while len(stand.ledger.read_bytes().splitlines()) < acts:
            assert witness.returncode() is None
        os.kill(witness.pid, signal.SIGKILL)
        witness.wait(READY_S)

    async def acts() -> list[str]:
        effects = await Effects.connect(stand.socket, timeout_s=60.0)

        async def caller(number: int) -> list[str]:
            return [await effects.act(f"10-{number}", str(n), f"{number}/{n}") for n in range(100)]

        callers = asyncio.gather(*(caller(number) for number in range(50)))
        for kill in range(1, 6):
            nonlocal witness
            await asyncio.to_thread(kill_after, witness, kill * 800)
            witness = stand.start()  # in this thread: it would end with another
        answers = [answer for told in await callers for answer in told]
        await effects.close()
        return answers

    witness = stand.start()
    assert len(asyncio.run(acts())) == 5000
    performed = [effect.op_id for effect in stand.effects() if effect.answer == "performed"]
    assert len(performed) == len(set(performed)) == 5000


def test_what_is_answered_is_in_the_file(stand: Stand) -> None:
    """At the moment of the answer, not later."""
    stand.start()

    async def acts() -> None:
        effects = await Effects.connect(stand.socket)
        for number in range(20):
            await effects.act("10-1", "data", str(number))
            assert stand.effects()[-1].op_id == str(number)
        await effects.close()

    asyncio.run(acts())


@pytest.mark.parametrize(
    "line",
    [b"{}", b"not json", b"\xff\xfe", b'{"type":"act","workflow":1}', b'{"type":"acted","op_id":"a","answer":"no"}',
     b'{"type":"act","workflow":"w","step":"s","op_id":"o","token":-1}', b"x" * 100_000],
)  # fmt: skip
def test_a_broken_line_is_refused_and_harms_nobody_else(stand: Stand, line: bytes) -> None:
    """The connection that sent it is told why and ended; what it sent before was answered, and others go on."""
    stand.start()
    good = msgspec.json.encode(Act("10-1", "data", "a")) + b"\n"
    told = raw(stand, line + b"\n")
    assert isinstance(told, Unable)
    assert told.message.startswith(("not an act: ", "a line is longer"))
    assert raw(stand, good) == Acted("a", "performed")
    assert len(stand.effects()) == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit stands in for a full disk; Linux only")
def test_a_disk_that_refuses_is_said_and_never_answered_over(stand: Stand) -> None:
    """The client is told, the process ends with the reason, and what was answered is what a new one reads."""
    witness = stand.start()
    resource.prlimit(witness.pid, resource.RLIMIT_FSIZE, (1000, 1000))  # type: ignore[attr-defined]

    answered = 0

    async def acts() -> None:
        nonlocal answered
        effects = await Effects.connect(stand.socket)
        while True:
            await effects.act("10-1", "data", str(answered))
            answered += 1

    with pytest.raises(WitnessUnavailable, match="the witness cannot write its ledger: File too large"):
        asyncio.run(acts())
    assert answered > 0
    assert witness.wait(READY_S) == 5
    assert "File too large" in json.loads(expect_line(witness, 1.0))["message"]
    assert "File too large" in witness.log.read_text()
    stand.start()
    assert [effect.op_id for effect in stand.effects()] == [str(number) for number in range(answered)]


async def _one_act(path: str, timeout_s: float = 5.0) -> str:
    effects = await Effects.connect(path, timeout_s=timeout_s)
    try:
        return await effects.act("10-1", "data", "a")
    finally:
        await effects.close()


def test_a_ledger_that_cannot_be_opened_is_said_at_once(stand: Stand) -> None:
    """Before anybody could act."""
    witness = stand.start_unready(stand.folder / "no" / "folder" / "ledger.jsonl")
    told = json.loads(expect_line(witness, READY_S))
    assert told["type"] == "failed"
    assert "cannot start" in told["message"]
    assert witness.wait(READY_S) == 5


def test_without_a_witness_an_act_fails_in_time(stand: Stand) -> None:
    """At connecting, and when it is stopped later: the caller is never left waiting."""
    with pytest.raises(WitnessUnavailable, match="no witness at"):
        asyncio.run(_one_act(stand.socket, timeout_s=0.2))
    witness = stand.start()
    psutil.Process(witness.pid).suspend()
    try:
        with pytest.raises(WitnessUnavailable, match=r"no answer of the witness in 0\.3 s"):
            asyncio.run(_one_act(stand.socket, timeout_s=0.3))
    finally:
        psutil.Process(witness.pid).resume()


def test_it_ends_with_its_input(stand: Stand) -> None:
    """In order, with what it was told on disk."""
    witness = stand.start()
    assert asyncio.run(_one_act(stand.socket)) == "performed"
    witness.end(grace_s=READY_S)
    assert witness.returncode() == 0
    assert len(stand.effects()) == 1


def test_a_closed_client_refuses_to_act(stand: Stand) -> None:
    """A mistake of the caller, said as such."""
    stand.start()

    async def act_after_close() -> None:
        effects = await Effects.connect(stand.socket)
        await effects.close()
        await effects.act("10-1", "data", "a")

    with pytest.raises(WitnessUnavailable, match="was closed"):
        asyncio.run(act_after_close())
