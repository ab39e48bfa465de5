"""Joining a run by hand, with Locust's own command:

harness run SCENARIO --workers 1 --join 1 --listen HOST      waits for a worker
locust -f …/locustfile.py --worker --master-host HOST        is one, for the next level

Rules of the scenario written in Python are imported from the folder in which it is started.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from locust import events
from locust.env import Environment
from locust.runners import WorkerRunner

from harness.load.crew.joining import CrewWorker
from harness.load.user import ClosedUser


class WorkflowUser(ClosedUser):
    """Locust wants a kind of user before the master has said which; none of these is ever made."""


def join(environment: Environment, **_: Any) -> None:
    """Locust has found its master."""
    if not isinstance(environment.runner, WorkerRunner):
        sys.exit("harness: this file is for `locust --worker`; `harness serve` prints the line for a Locust of its own")
    CrewWorker(environment, ours=False, folder=os.getcwd())


events.init.add_listener(join)  # type: ignore[no-untyped-call]  # Locust's is untyped
