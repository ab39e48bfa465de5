"""What can be broken. `FAULTS` names every kind, without importing it."""

from collections.abc import Mapping

_ON_THE_WAY = {
    "slow": "Slow",
    "throttle": "Throttled",
    "slice": "Sliced",
    "lose_packets": "Lossy",
    "black_hole": "BlackHole",
    "reset": "Reset",
    "truncate": "Truncated",
    "refuse": "Refused",
}
_PROXIED = {
    f"{service}.{name}": f"harness.fault.proxied:{attribute}"
    for service in ("redis", "postgres", "llm")
    for name, attribute in _ON_THE_WAY.items()
}

FAULTS: Mapping[str, str] = {
    "target.freeze": "harness.fault.held:Frozen",
    "target.block_loop": "harness.fault.target:LoopBlocked",
    "target.kill": "harness.fault.target:Killed",
    "target.few_files": "harness.fault.surroundings:FewFiles",
    "target.clock_jump": "harness.fault.surroundings:ClockJumped",
    "target.cancel": "harness.fault.target:Cancelled",
    "agent.hang": "harness.fault.agent:Hanging",
    "agent.fail": "harness.fault.agent:Failing",
    "agent.slow": "harness.fault.agent:BrownedOut",
    "agent.wrong": "harness.fault.agent:Lying",
    "agent.hand_over": "harness.fault.agent:HandingOver",
    "redis.freeze": "harness.fault.held:Frozen",
    "redis.pause_writes": "harness.fault.redis:WritesPaused",
    "redis.full": "harness.fault.redis:MemoryFull",
    "redis.drop_clients": "harness.fault.redis:ClientsDropped",
    "redis.expire": "harness.fault.redis:KeysExpired",
    "redis.restart": "harness.fault.restart:RedisRestarted",
    "redis.failover": "harness.fault.failover:FailedOver",
    "postgres.restart": "harness.fault.restart:PostgresRestarted",
    "postgres.freeze": "harness.fault.held:Frozen",
    "postgres.terminate": "harness.fault.postgres:BackendsTerminated",
    "postgres.lock": "harness.fault.postgres:TablesLocked",
    "postgres.read_only": "harness.fault.postgres:ReadOnly",
    "postgres.use_connections": "harness.fault.postgres:ConnectionsUsedUp",
    **_PROXIED,
    "redis.refuse_commands": "harness.fault.proxied:CommandsRefused",
    "redis.lose_reply": "harness.fault.proxied:ReplyLost",
    "postgres.lose_commit": "harness.fault.proxied:CommitLost",
    "machine.cpu": "harness.fault.machine:CpuContended",
    "machine.memory": "harness.fault.machine:MemoryHeld",
}
"""Kind -> "module:attribute" of its type (`harness.fault.fault.Fault`)."""
