"""What can be broken. `FAULTS` names every kind, without importing it."""

from collections.abc import Mapping

FAULTS: Mapping[str, str] = {
    "target.freeze": "harness.fault.held:Frozen",
    "target.block_loop": "harness.fault.target:LoopBlocked",
    "target.kill": "harness.fault.target:Killed",
    "redis.freeze": "harness.fault.held:Frozen",
    "redis.pause_writes": "harness.fault.redis:WritesPaused",
    "redis.full": "harness.fault.redis:MemoryFull",
    "redis.drop_clients": "harness.fault.redis:ClientsDropped",
    "postgres.freeze": "harness.fault.held:Frozen",
    "postgres.terminate": "harness.fault.postgres:BackendsTerminated",
    "postgres.lock": "harness.fault.postgres:TablesLocked",
    "postgres.read_only": "harness.fault.postgres:ReadOnly",
    "postgres.use_connections": "harness.fault.postgres:ConnectionsUsedUp",
    "machine.cpu": "harness.fault.machine:CpuContended",
    "machine.memory": "harness.fault.machine:MemoryHeld",
}
"""Kind -> "module:attribute" of its type (`harness.fault.fault.Fault`)."""
