"""Writers in several processes at once: none waits for ever on another, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any
from uuid import uuid4

import pytest

from harness.store.postgres import PostgresStore
from harness.store.redis import RedisStore
from harness.store.store import Versioned

OPEN: dict[str, Any] = {"redis": RedisStore.connect, "postgres": PostgresStore.connect}
WRITERS = 3
ROUNDS = 30
KEYS = [f"k{n}" for n in range(12)]
WRITER = """
import asyncio, json, random, sys
from harness.store.postgres import PostgresStore
from harness.store.redis import RedisStore
from harness.store.store import Merge

asked = json.loads(sys.stdin.readline())
me = asked["writer"]

async def main():
    connect = {"redis": RedisStore.connect, "postgres": PostgresStore.connect}[asked["kind"]]
    store = await connect(asked["url"], namespace=asked["namespace"], timeout_s=20.0)
    rng = random.Random(me)

    async def count(turn):
        attempt = 0
        while True:
            attempt += 1
            found = await store.read("counter")
            value = b"%d" % (int(found.value) + 1)
            done = await store.write("counter", value, if_version=found.version, op_id=f"{me}/{turn}/{attempt}")
            if done.ok:
                return

    async def merge(turn):
        # Every process takes the same documents in another order: what deadlocks when locks are taken as they come.
        keys = rng.sample(asked["keys"], len(asked["keys"]))
        results = await store.batch([Merge(key, {f"{me}/{turn}": b"x"}, f"{me}/{turn}") for key in keys])
        assert all(result.ok and not result.replayed for result in results)

    for turn in range(asked["rounds"]):
        alone = [store.merge(key, {str(me): b"%d" % turn}, op_id=f"{me}/{turn}/{key}") for key in asked["keys"]]
        await asyncio.gather(count(turn), merge(turn), *alone)
    await store.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", list(OPEN))
def test_writers_of_several_processes(kind: str, request: pytest.FixtureRequest) -> None:
    """Counting by compare and set, and batches over the same documents in different orders: every one is there."""
    url = request.getfixturevalue(f"{kind}_url")
    namespace = f"t-{uuid4().hex}"

    async def prepare() -> None:
        store = await OPEN[kind](url, namespace=namespace)
        await store.write("counter", b"0", if_version=0, op_id="create")
        await store.close()

    async def look() -> tuple[Versioned, list[tuple[str, Versioned]]]:
        store = await OPEN[kind](url, namespace=namespace)
        found = await store.read("counter"), await store.scan("k")
        await store.drop()
        await store.close()
        return found

    asyncio.run(prepare())
    asked = {"kind": kind, "url": url, "namespace": namespace, "keys": KEYS, "rounds": ROUNDS}
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITER], stdin=subprocess.PIPE, text=True) for _ in range(WRITERS)
    ]
    for number, process in enumerate(processes):
        assert process.stdin is not None
        process.stdin.write(json.dumps({**asked, "writer": number}) + "\n")
        process.stdin.close()
    assert [process.wait(60.0) for process in processes] == [0] * WRITERS

    counter, documents = asyncio.run(look())
    assert counter == Versioned(WRITERS * ROUNDS + 1, b"%d" % (WRITERS * ROUNDS), {})
    assert [key for key, _ in documents] == sorted(KEYS)
    fields = {f"{writer}/{turn}": b"x" for writer in range(WRITERS) for turn in range(ROUNDS)}
    fields |= {str(writer): b"%d" % (ROUNDS - 1) for writer in range(WRITERS)}
    for _, document in documents:
        assert document.fields == fields
        assert document.version == 2 * WRITERS * ROUNDS
