"""Do two stores hold the same? Asked after quiesce, of the stores themselves, sharing nothing with who wrote them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from harness.errors import UsageError
from harness.observation.observation import AuditResult, Difference
from harness.store.store import Expired, StateStore, Versioned
from harness.target.target import Services

LOOKS = 4
LOOK_AGAIN_S = 0.25


async def differences(
    authority: StateStore, mirror: StateStore, prefix: str = "", *, level: str = "", look_again_s: float = LOOK_AGAIN_S
) -> AuditResult:
    """Compare every document of both. What differs is looked at LOOKS times in all: it may be about to expire.

    A document whose time is up at the authority is no difference while the mirror still has it at its last version.
    Raises `StoreUnavailable`.
    """
    right, mirrored = dict(await authority.scan(prefix)), dict(await mirror.scan(prefix))
    keys = right.keys() | mirrored.keys()
    suspects = [key for key in sorted(keys) if right.get(key) != mirrored.get(key)]
    found: dict[str, str] = {}
    for look in range(LOOKS):
        if look:
            await asyncio.sleep(look_again_s)
        found = {}
        for key in suspects:
            why = _difference(await authority.read(key), await mirror.read(key))
            if why is not None:
                found[key] = why
        suspects = list(found)
        if not found:
            break
    return AuditResult(
        level=level, compared=len(keys), different=tuple(Difference(key, why) for key, why in found.items())
    )


async def audit_services(services: Services, level: str) -> AuditResult:
    """Compare what a level left in PostgreSQL, the authority, and in Redis. Raises UsageError, `StoreUnavailable`."""
    if services.postgres_url is None or services.redis_url is None:
        raise UsageError("an audit compares Redis with PostgreSQL, and was not given both")
    # Heavy, and needed only here: whoever names this module need not have a driver.
    from harness.store.postgres import PostgresStore
    from harness.store.redis import RedisStore

    async with AsyncExitStack() as stack:
        authority = await PostgresStore.connect(services.postgres_url, namespace=services.namespace)
        stack.push_async_callback(authority.close)
        mirror = await RedisStore.connect(services.redis_url, namespace=services.namespace)
        stack.push_async_callback(mirror.close)
        return await differences(authority, mirror, level=level)


def _difference(right: Versioned | Expired | None, mirrored: Versioned | Expired | None) -> str | None:
    """What is not the same, in words; None when it is, or only time is between the two."""
    if not isinstance(right, Versioned):
        if not isinstance(mirrored, Versioned):
            return None
        if right is None:
            return f"only in the mirror, at version {mirrored.version}"
        if right.version != mirrored.version:
            return f"expired at version {right.version}; in the mirror alive at {mirrored.version}"
        return None
    if not isinstance(mirrored, Versioned):
        state = "missing" if mirrored is None else f"expired at version {mirrored.version}"
        return f"version {right.version}; in the mirror {state}"
    if right.version != mirrored.version:
        return f"version {right.version}; in the mirror {mirrored.version}"
    if right.value != mirrored.value:
        return f"version {right.version} in both, with other values"
    if right.fields != mirrored.fields:
        names = sorted(
            name
            for name in right.fields.keys() | mirrored.fields.keys()
            if right.fields.get(name) != mirrored.fields.get(name)
        )
        return f"version {right.version} in both, with other fields: {', '.join(names[:10])}"
    if right.fence != mirrored.fence:
        return f"version {right.version} in both; fencing token {right.fence}, in the mirror {mirrored.fence}"
    return None
