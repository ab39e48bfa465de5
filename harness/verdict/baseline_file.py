"""Baselines on disk: read with every link of their chain checked, and added to at their end only.

A file is JSON that reads well in a diff: an entry's parts are a line each, so that an accepted run shows as lines
that were added. Each epoch and entry carries the SHA-256 of itself and of the one before it, and the head of the file
says how many there are and how the chain ends: what was edited, moved, cut or left out does not fit any more.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError, RunInvalid
from harness.observation.build import lock_digest
from harness.observation.ids import file_stem, label_of
from harness.verdict.baseline import (
    BASELINE_VERSION,
    Baseline,
    Entry,
    Epoch,
)

WAY_OUT = "restore it from version control; `harness baseline doctor` looks at all of them"
LOCKS = "locks"
LOCK_DIGITS = 16


def baseline_path(baselines: Path, scenario: str, machine_class: str, level: str) -> Path:
    """Where a level's baseline is, whether it exists or not."""
    return baselines / scenario / machine_class / f"{file_stem(level)}.json"


def read_baseline(path: Path) -> Baseline:
    """Read and check it. Raises RunInvalid, with place and way out, for what is damaged or of another version."""
    try:
        content = path.read_bytes()
        version = msgspec.json.decode(content, type=dict[str, Any]).get("schema_version")
        if version != BASELINE_VERSION:
            raise RunInvalid(
                f"{path} has schema version {version}; this harness reads {BASELINE_VERSION}; "
                f"use the harness that wrote it, or {WAY_OUT}"
            )
        baseline = msgspec.json.decode(content, type=Baseline)
    except OSError as error:
        raise RunInvalid(f"{path} cannot be read: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise RunInvalid(f"{path} cannot be read: {error}; {WAY_OUT}") from None
    before, links = _anchor(baseline), list(_chain(baseline))
    for link in links:
        if link.checksum != _checksum(link, before):
            raise RunInvalid(f"{path}: {_named(link)} is not as it was written; {WAY_OUT}")
        before = link.checksum
    # Entries that were moved to where another epoch's are, or claim an epoch that there is not, break no link.
    if tuple(link for link in links if isinstance(link, Entry)) != baseline.entries:
        raise RunInvalid(f"{path}: its entries are not in the order they were written in; {WAY_OUT}")
    if (baseline.links, baseline.head) != (len(baseline.epochs) + len(baseline.entries), before):
        raise RunInvalid(f"{path}: something was cut from its end, or added by hand; {WAY_OUT}")
    return baseline


def append(path: Path, entry: Entry, samples: Sequence[NDArray[np.float32]] = ()) -> None:
    """Add an entry at the end; the file is begun, with its first epoch, when there is none yet.

    `samples` are the exact latencies by time block, in s, and become `<level>.<run>.npz` beside it. Raises HarnessError
    when it cannot be written, RunInvalid when what is there is damaged; nothing is changed then.
    """
    with _alone(path):
        if path.exists():
            baseline = read_baseline(path)
        else:
            level = label_of(path.stem)
            first = Epoch(number=1, began_at=entry.accepted_at, by=entry.accepted_by, why="the first accepted run")
            baseline = Baseline(
                scenario=path.parent.parent.name,
                level=level,
                machine_class=path.parent.name,
                epochs=(first,),
                entries=(),
            )
        if any(known.run == entry.run for known in baseline.entries):
            raise HarnessError(f"{path}: {entry.run} was accepted before")
        name, digest = _write_samples(path, entry.run, samples) if samples else ("", "")
        entry = msgspec.structs.replace(
            entry, epoch=baseline.epochs[-1].number, samples=name, samples_sha256=digest, checksum=""
        )
        try:
            _write(path, msgspec.structs.replace(baseline, entries=(*baseline.entries, entry)))
        except HarnessError:
            if name:
                (path.parent / name).unlink()
            raise


def begin_epoch(path: Path, *, by: str, why: str, at: str) -> Epoch:
    """From here on the level is meant to be different. Entries so far are kept, and not compared with any more."""
    with _alone(path):
        baseline = read_baseline(path)
        epoch = Epoch(number=baseline.epochs[-1].number + 1, began_at=at, by=by, why=why)
        _write(path, msgspec.structs.replace(baseline, epochs=(*baseline.epochs, epoch)))
    return epoch


def read_samples(path: Path, entry: Entry) -> list[NDArray[np.float32]]:
    """An entry's exact latencies by time block, in s. Raises RunInvalid when they are gone or not as they were."""
    file = path.parent / entry.samples
    try:
        content = file.read_bytes()
    except OSError as error:
        raise RunInvalid(f"{file} cannot be read: {error.strerror}; {WAY_OUT}") from None
    if hashlib.sha256(content).hexdigest() != entry.samples_sha256:
        raise RunInvalid(f"{file} is not as it was written; {WAY_OUT}")
    with np.load(file) as found:
        if not {"latency_s", "block_sizes"} <= set(found):
            raise RunInvalid(f"{file} holds samples of another version; use the harness that accepted the run")
        return np.split(found["latency_s"], np.cumsum(found["block_sizes"])[:-1])


def keep_lock(folder: Path, text: str) -> None:
    """Keep a lock text under its digest, in the folder of a scenario's baselines."""
    place, content = folder / LOCKS / f"{lock_digest(text)[:LOCK_DIGITS]}.txt", text.encode()
    if not place.is_file() or place.read_bytes() != content:  # one that was cut would keep the build from running
        place.parent.mkdir(parents=True, exist_ok=True)
        _replace(place, content)


def read_lock(baselines: Path, scenario: str, digest: str) -> str | None:
    """The lock text of that digest; None when it was not kept, or is not what it was."""
    place = baselines / scenario / LOCKS / f"{digest[:LOCK_DIGITS]}.txt"
    text = place.read_bytes().decode(errors="replace") if digest and place.is_file() else None
    return text if text is not None and lock_digest(text) == digest else None


def _chain(baseline: Baseline) -> Iterator[Epoch | Entry]:
    """Epochs and entries in the order they were written: each epoch before its own entries."""
    for epoch in baseline.epochs:
        yield epoch
        yield from (entry for entry in baseline.entries if entry.epoch == epoch.number)


def _anchor(baseline: Baseline) -> str:
    """What the chain hangs on: whose baseline it is."""
    return f"{baseline.scenario}\n{baseline.machine_class}\n{baseline.level}\n"


def _checksum(link: Epoch | Entry, before: str) -> str:
    bare = msgspec.structs.replace(link, checksum="")
    return hashlib.sha256(before.encode() + msgspec.json.encode(bare, order="sorted")).hexdigest()


def _named(link: Epoch | Entry) -> str:
    return f"epoch {link.number}" if isinstance(link, Epoch) else f"the entry of {link.run}"


def _write(path: Path, baseline: Baseline) -> None:
    """Replace the file at once, with the checksums of what is new in it."""
    before, done = _anchor(baseline), {}
    for link in _chain(baseline):
        link = link if link.checksum else msgspec.structs.replace(link, checksum=_checksum(link, before))
        before = link.checksum
        done[id(link)] = link
    links = list(done.values())
    epochs = tuple(link for link in links if isinstance(link, Epoch))
    entries = tuple(link for link in links if isinstance(link, Entry))
    whole = msgspec.structs.replace(baseline, epochs=epochs, entries=entries, links=len(links), head=before)
    content = _readable(whole).encode()
    if not _comes_back(whole, content):
        raise HarnessError(f"{path}: {_named(links[-1])} holds a number that is none (NaN or infinite); it stays out")
    _replace(path, content)


def _comes_back(baseline: Baseline, content: bytes) -> bool:
    """Whether it is read as it was. JSON has no NaN and no infinity, and with one of them the whole file were lost."""
    try:
        return msgspec.json.decode(content, type=Baseline) == baseline
    except msgspec.DecodeError:
        return False


def _replace(path: Path, content: bytes) -> None:
    """Make it the whole content of the file, at once, also when the machine goes down meanwhile."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise HarnessError(f"cannot write {path}: {error.strerror}") from error


def _readable(baseline: Baseline) -> str:
    """JSON in which a part of an entry is a line, and a time block, too."""
    return "\n".join(_lines(msgspec.to_builtins(baseline), 0)) + "\n"


ONE_LINE = 100  # characters: what is shorter stays in one line


def _lines(value: Any, depth: int) -> list[str]:
    short = msgspec.json.encode(value).decode()
    if len(short) <= ONE_LINE or not isinstance(value, dict | list | tuple):
        return [short]
    heads, parts, brackets = [""] * len(value), list(value), "[]"
    if isinstance(value, dict):
        heads = [f"{msgspec.json.encode(key).decode()}: " for key in value]
        parts, brackets = list(value.values()), "{}"
    lines: list[str] = []
    for head, part in zip(heads, parts, strict=True):
        first, *others = _lines(part, depth + 1)
        lines += [" " * (depth + 1) + head + first, *others]
        lines[-1] += ","
    lines[-1] = lines[-1][:-1]
    return [brackets[0], *lines, " " * depth + brackets[1]]


def _write_samples(path: Path, run: str, samples: Sequence[NDArray[np.float32]]) -> tuple[str, str]:
    name = f"{path.stem}.{run}.npz"
    file = path.parent / name
    try:
        with file.open("xb") as out:
            # One array, as each costs 250 bytes of its own.
            np.savez_compressed(out, latency_s=np.concatenate(samples), block_sizes=[len(block) for block in samples])
    except FileExistsError:
        raise HarnessError(f"{file} is there, and no entry names it; remove it by hand") from None
    except OSError as error:
        raise HarnessError(f"cannot write {file}: {error.strerror}") from error
    return name, hashlib.sha256(file.read_bytes()).hexdigest()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Nobody else adds to the file meanwhile."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise HarnessError(f"cannot write {path}: {error.strerror}") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
