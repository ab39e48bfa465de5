"""What machine a run is measured on."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psutil

from harness.observation.manifest import Machine


def this_machine(*, asks_models: bool = False) -> Machine:
    """This machine, this Python, and the versions of what measures; of the SDKs, too, where models are asked."""
    packages = ["orchestration-harness", "locust", "gevent", "uvloop", "msgspec", "psutil", "numpy"]
    if asks_models:
        packages += [name for name in ("openai", "anthropic", "genai-prices", "uvicorn") if find_spec(_module(name))]
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1),
        memory_bytes=psutil.virtual_memory().total,
        python=platform.python_version(),
        versions={name: version(name) for name in packages},
        architecture=platform.machine(),
        libc=" ".join(platform.libc_ver()).strip(),
        hypervisor=_hypervisor(),
        quota_cores=_quota_cores(),
    )


def _hypervisor() -> str:
    """Who made this virtual machine, as far as its firmware tells; empty on bare metal."""
    try:
        if "hypervisor" not in Path("/proc/cpuinfo").read_text():
            return ""
        vendor = Path("/sys/class/dmi/id/sys_vendor")
        return vendor.read_text().strip() if vendor.exists() else "unnamed"
    except OSError:
        return ""


def control_group() -> Path:
    """The folder of this process's control group (version 2). Raises OSError where there are none."""
    return Path("/sys/fs/cgroup") / Path("/proc/self/cgroup").read_text().strip().rpartition(":")[2].lstrip("/")


def _quota_cores() -> float | None:
    """The CPU quota of this process's control group (version 2), in cores; None without one."""
    try:
        quota, period = (control_group() / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def _module(package: str) -> str:
    return package.replace("-", "_")


def _cpu_model() -> str:
    if sys.platform.startswith("linux"):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
