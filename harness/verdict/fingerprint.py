"""What must be the same for two runs to be compared: the machine, what measured, what was run, on which services."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import RunInvalid
from harness.observation.manifest import Machine, Manifest
from harness.scenario.units import render

Fingerprint = dict[str, str]
"""Name of a condition -> how it was."""

HARDWARE = ("architecture", "cpu", "cores", "quota", "memory", "hypervisor")
"""The conditions that make a machine class; baselines of one class lie in one folder."""

NOT_CONTENT = ("name", "description")


def machine_fingerprint(machine: Machine) -> Fingerprint:
    """The conditions of HARDWARE. Memory is taken to the next GiB, as kernels keep different parts of it."""
    return {
        "architecture": machine.architecture,
        "cpu": machine.cpu,
        "cores": str(machine.cores),
        "quota": "none" if machine.quota_cores is None else f"{machine.quota_cores:g} cores",
        "memory": render(round(machine.memory_bytes / 2**30) * 2**30, "size"),
        "hypervisor": machine.hypervisor or "none",
    }


def machine_class(machine: Machine) -> str:
    """A folder's name for machines alike: readable, and distinct by a digest of all conditions of HARDWARE."""
    found = machine_fingerprint(machine)
    digest = hashlib.sha256(msgspec.json.encode(found, order="sorted")).hexdigest()[:8]
    words = f"{found['architecture']}-{found['cores']}c-{found['memory']}-{digest}"
    return re.sub(r"[^a-z0-9_.-]+", "", words.lower().replace(" ", ""))


def fingerprint(run_dir: Path, manifest: Manifest) -> Fingerprint:
    """Every condition of a run. Raises RunInvalid when its scenario cannot be read.

    The build of the system under test, and what it installed, are no condition: they are what is compared.
    """
    machine = manifest.machine
    versions = machine.versions
    found = machine_fingerprint(machine)
    found |= {
        "system": machine.system,
        "libc": machine.libc,
        "python": machine.python,
        "harness": versions.get("orchestration-harness", ""),
        "locust": versions.get("locust", ""),
        "gevent": versions.get("gevent", ""),
        "scenario": scenario_digest(run_dir),
        "state": manifest.state,
        "models": manifest.llm,
    }
    if manifest.load_processes != 1:
        found["load processes"] = str(manifest.load_processes)
    found |= {used.service: f"{used.provider} {used.version}" for used in manifest.services}
    return found


def scenario_digest(run_dir: Path) -> str:
    """Of the scenario as it was run, the seed and what the command line changed included; its words are left out.

    So is what is empty or off: a harness that knows more than the one that ran it then reads the same of it.
    """
    try:
        content: dict[str, Any] = msgspec.json.decode((run_dir / "scenario.json").read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise RunInvalid(f"{run_dir / 'scenario.json'} cannot be read: {error}") from None
    for key in NOT_CONTENT:
        content.pop(key, None)
    return hashlib.sha256(msgspec.json.encode(_said(content), order="sorted")).hexdigest()[:16]


def _said(value: Any) -> Any:
    """Without what is empty or off, at any depth of tables."""
    if isinstance(value, list):
        return [_said(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _said(item) for key, item in value.items()}
    return {
        key: item for key, item in kept.items() if item is not None and item is not False and item not in ("", [], {})
    }


def unlike(ours: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The conditions in which two runs differ: name -> (ours, theirs); what only one of them has is `none` there."""
    names = dict.fromkeys([*ours, *theirs])
    pairs = {name: (ours.get(name, "none"), theirs.get(name, "none")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
