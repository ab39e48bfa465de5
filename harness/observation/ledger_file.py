"""The witness's side of `ledger.jsonl`: what was performed, by whom, and the file that says so."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.observation.ledger import Act, Answer, Effect


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that connected. `ordinal` 1 is the first that ever did."""

    ordinal: int
    pid: int
    created: float


class LedgerFile:
    """What was performed, in memory and on disk. Every act becomes one line; `write` is not for the event loop."""

    def __init__(self, path: Path) -> None:
        self._performed: set[str] = set()
        self._highest: dict[str, int] = {}  # token, by scope
        self._owners: dict[tuple[int, float], Owner] = {}
        self._last_ordinal = 0
        if path.exists():
            self._read(path)
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.fsync(self._fd)

    def _read(self, path: Path) -> None:
        """Take in a ledger from before. A torn end was never answered, and goes; other damage is left as it is."""
        decode = msgspec.json.Decoder(Effect).decode
        whole = 0
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):  # whoever judges counts the damage
                    self._remember(decode(line))
        if whole < path.stat().st_size:
            os.truncate(path, whole)

    def _remember(self, effect: Effect) -> None:
        if effect.answer == "performed":
            self._performed.add(effect.op_id)
        self._highest[effect.scope] = max(self._highest.get(effect.scope, 0), effect.token)
        self._last_ordinal = max(self._last_ordinal, effect.owner)
        if effect.pid:
            identity = (effect.pid, effect.created)
            self._owners.setdefault(identity, Owner(effect.owner, *identity))

    def owner(self, pid: int, created: float) -> Owner:
        """The process with this pid and creation time; a new one gets the next ordinal."""
        known = self._owners.get((pid, created)) if pid else None
        if known is None:
            self._last_ordinal += 1
            known = self._owners[pid, created] = Owner(self._last_ordinal, pid, created)
        return known

    def answer(self, act: Act) -> Answer:
        """Decide, and remember. A sender that was replaced is refused, also what it had done before."""
        if act.token:
            if act.token < self._highest.get(act.scope, 0):
                return "refused"
            self._highest[act.scope] = act.token
        if act.op_id in self._performed:
            return "replayed"
        self._performed.add(act.op_id)
        return "performed"

    def write(self, lines: list[bytes]) -> None:
        """Append the lines and wait for the disk. Raises OSError; then nothing of them may be answered."""
        unwritten = b"\n".join([*lines, b""])
        while unwritten:
            unwritten = unwritten[os.write(self._fd, unwritten) :]
        os.fsync(self._fd)

    def close(self) -> None:
        """Release the file."""
        os.close(self._fd)
