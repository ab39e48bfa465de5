"""Workflows that are cancelled while they run."""

from __future__ import annotations

import asyncio
import socket
import time

import msgspec

from harness.observation.observation import Outcome
from harness.target.serving import Connection, Host
from harness.target.target import CancelSome, Services, Watch, WorkflowRequest, WorkflowResult
from harness.target.wire import Accepted, Ended, HostFrame, Submit


class Waiting:
    """A target whose workflows never end by themselves."""

    async def start(self, services: Services) -> None:
        pass

    async def run(self, request: WorkflowRequest, watch: Watch) -> WorkflowResult:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    async def stop(self) -> None:
        pass


def test_a_workflow_that_has_not_begun_is_not_cancelled_without_a_word() -> None:
    """Its task would never run, and its client would wait to its deadline: it is cancelled once it has begun."""

    async def main() -> list[object]:
        host = Host(Waiting(), Services(), time.monotonic)
        ours, theirs = socket.socketpair()
        connection = Connection(host)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, theirs)
        reader, writer = await asyncio.open_connection(sock=ours)
        host.submit(Submit("1-0", "job", 1, 30.0), connection)
        everything = CancelSome(share=1.0, seed=1)
        assert host.cancel_some(everything) == 0, "its first step is still to come"
        await asyncio.sleep(0)
        assert host.cancel_some(everything) == 1
        assert host.cancel_some(everything) == 0, "each once"
        told = [msgspec.json.decode(await reader.readline(), type=HostFrame) for _ in range(2)]
        writer.close()
        await host.stop()
        return list(told)

    accepted, ended = asyncio.run(asyncio.wait_for(main(), 20.0))
    assert isinstance(accepted, Accepted)
    assert isinstance(ended, Ended)
    assert (ended.id, ended.outcome, ended.error_class) == ("1-0", Outcome.UNKNOWN, "cancelled")
