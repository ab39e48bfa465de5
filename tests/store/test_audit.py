"""The audit of two stores after quiesce: what differs is named with its reason, and time alone is no difference."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from harness.errors import UsageError
from harness.store.audit import audit_services, differences
from harness.store.memory import MemoryStore
from harness.store.postgres import PostgresStore
from harness.store.redis import RedisStore
from harness.target.target import Services


class Hands:
    """A clock set by hand; each look moves it on by `step_s`."""

    now_s = 100.0
    step_s = 0.0

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


def test_every_kind_of_difference_is_named() -> None:
    """Missing, extra, another version, another value, other fields, another owner; and not the ones that agree."""

    async def main() -> None:
        authority, mirror = MemoryStore(), MemoryStore()
        for store, word in ((authority, b"1"), (mirror, b"2")):
            await store.write("same", b"v", if_version=0, op_id="a")
            await store.write("value", word, if_version=0, op_id="a")
            await store.merge("fields", {"a": b"", "b": word, word.decode(): b""}, op_id="a")
            await store.merge("fence", {}, op_id="a", fence=int(word))
            await store.merge("version", {}, op_id="a")
        await authority.merge("version", {}, op_id="b")
        await authority.merge("missing", {}, op_id="a")
        await mirror.merge("extra", {}, op_id="a")
        audit = await differences(authority, mirror, level="10", look_again_s=0.0)
        assert (audit.level, audit.compared) == ("10", 7)
        assert {each.key: each.why for each in audit.different} == {
            "extra": "only in the mirror, at version 1",
            "fence": "version 1 in both; fencing token 1, in the mirror 2",
            "fields": "version 1 in both, with other fields: 1, 2, b",
            "missing": "version 1; in the mirror missing",
            "value": "version 1 in both, with other values",
            "version": "version 2; in the mirror 1",
        }
        assert (await differences(authority, mirror, "sa")).compared == 1

    asyncio.run(main())


def test_a_document_that_expires_right_then_is_no_difference() -> None:
    """Its time is up in one store a little before the other."""

    async def main() -> None:
        early, late = Hands(), Hands()
        authority, mirror = MemoryStore(clock=early), MemoryStore(clock=late)
        for store in (authority, mirror):
            await store.merge("k", {}, op_id="a", ttl_s=10.0)
        late.now_s += 10.0  # the mirror is the earlier one, and the authority's time runs by 3 s a look
        early.step_s = 3.0
        audit = await differences(authority, mirror, look_again_s=0.0)
        assert (audit.compared, audit.different) == (1, ())
        for store in (authority, mirror):
            await store.merge("l", {}, op_id="a", ttl_s=100.0)
        early.now_s += 100.0  # the authority is, and the mirror has it still
        assert (await differences(authority, mirror, look_again_s=0.0)).different == ()

    asyncio.run(main())


def test_a_document_that_expired_in_the_mirror_only_is_a_difference() -> None:
    """It stays one however often it is looked at; so does a mirror that went on after the authority's ended."""

    async def main() -> None:
        clock = Hands()
        authority, mirror = MemoryStore(clock=clock), MemoryStore(clock=clock)
        await authority.merge("a", {}, op_id="a", ttl_s=60.0)
        await mirror.merge("a", {}, op_id="a", ttl_s=1.0)
        await authority.merge("b", {}, op_id="a", ttl_s=1.0)
        await mirror.merge("b", {}, op_id="a")
        await mirror.merge("b", {}, op_id="b")
        clock.now_s += 2.0
        audit = await differences(authority, mirror, look_again_s=0.0)
        assert [(each.key, each.why) for each in audit.different] == [
            ("a", "version 1; in the mirror expired at version 1"),
            ("b", "expired at version 1; in the mirror alive at 2"),
        ]

    asyncio.run(main())


def test_real_servers_are_compared_by_their_addresses(redis_url: str, postgres_url: str) -> None:
    """As after a level: the audit opens connections of its own, and closes them."""

    async def main() -> None:
        services = Services(redis_url=redis_url, postgres_url=postgres_url, namespace=f"t-{uuid4().hex}")
        authority = await PostgresStore.connect(postgres_url, namespace=services.namespace)
        mirror = await RedisStore.connect(redis_url, namespace=services.namespace)
        for store in (authority, mirror):
            await store.write("same", b"\x00\xff", if_version=0, op_id="a", fence=4)
            await store.merge("same", {"é": b"1"}, op_id="b", ttl_s=60.0)
        assert (await audit_services(services, "10")).different == ()
        await authority.merge("same", {"f": b"1"}, op_id="c")
        audit = await audit_services(services, "10")
        assert [(each.key, each.why) for each in audit.different] == [("same", "version 3; in the mirror 2")]
        await mirror.drop()
        await authority.drop()
        await mirror.close()
        await authority.close()

    asyncio.run(main())


def test_an_audit_without_both_addresses_is_refused() -> None:
    """It cannot compare one with nothing."""
    with pytest.raises(UsageError, match="not given both"):
        asyncio.run(audit_services(Services(redis_url="redis://127.0.0.1:1/0"), "10"))
