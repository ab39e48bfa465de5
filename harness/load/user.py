"""Locust users of our own. Each is one loop inside one Locust task: Locust's events and its task loop would cost more
than everything else on the way of a workflow, so they are left out and Locust's statistics are fed in bulk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

import gevent
from locust import User, task
from locust.exception import StopUser
from locust.user.task import LOCUST_STATE_STOPPING

from harness.load.client import Client
from harness.load.recording import Recorder


class Work(Protocol):
    """What users ask of the level they work for."""

    clock: Callable[[], float]
    recorder: Recorder

    def client(self) -> Client:
        """A new connection for one user."""

    def may_start(self, intended: float) -> bool:
        """Whether a workflow whose intended start this is belongs to the level."""

    def next_arrival(self) -> float | None:
        """Wait for the next due arrival: its intended start; None when there will be no more."""

    def one_ended(self) -> None:
        """A workflow ended."""

    def fail(self, error: BaseException) -> None:
        """The harness itself broke: end the level."""


class HarnessUser(User):
    """A user with a connection of its own; `work` is set on a subclass for each level."""

    abstract = True
    work: ClassVar[Work]

    @task
    def live(self) -> None:
        """Work until there is no more, then leave. Locust would log an error and go on: here it ends the level."""
        client = self.work.client()
        try:
            self.loop(client)
        except Exception as error:
            self.work.fail(error)
            raise StopUser from error
        finally:
            client.close()
        raise StopUser

    def loop(self, client: Client) -> None:
        """One workflow after the other."""
        raise NotImplementedError

    def run_one(self, client: Client, intended: float) -> float:
        """Run a workflow; returns when the next may start: now, or after the wait that the target asked for."""
        recorder = self.work.recorder
        request = recorder.begin(intended)
        try:
            reply = client.run(request)
        except BaseException:  # being killed included: every arrival is observed
            recorder.censor(request.id)
            raise
        ended = recorder.end(request, reply)
        self.work.one_ended()
        return ended + reply.retry_after_s


class ClosedUser(HarnessUser):
    """Submits, waits for the end, submits again. A workflow's intended start is the end of the one before."""

    abstract = True

    def loop(self, client: Client) -> None:
        """Until the level takes no more starts."""
        clock = self.work.clock
        intended = clock()
        while self.work.may_start(intended) and self._state != LOCUST_STATE_STOPPING:
            if (wait_s := intended - clock()) > 0:
                gevent.sleep(wait_s)
                continue  # the level may have ended meanwhile
            intended = self.run_one(client, intended)


class OpenUser(HarnessUser):
    """Takes the next arrival that is due, however late that makes it: latency runs from when it was due."""

    abstract = True

    def loop(self, client: Client) -> None:
        """Until there are no more arrivals."""
        while (intended := self.work.next_arrival()) is not None:
            self.run_one(client, intended)
