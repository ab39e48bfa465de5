"""Runs one client of the load side, as one Locust user would, in a process that gevent may have for itself.

python ask.py '{"socket": … | "http": {…}, "requests": [{…}], "t0": …}'      prints replies and acceptances as JSON
"""

from __future__ import annotations

import sys
import time
from typing import Any

import msgspec

from harness.load.client import Client, Reply, SocketClient
from harness.load.http_client import HttpClient
from harness.load.http_rules import HttpRules
from harness.scenario.scenario import Http, Workflow
from harness.target.target import WorkflowRequest


class Asked(msgspec.Struct, frozen=True):
    """What to do. `pause_s` is waited before each request but the first."""

    requests: list[WorkflowRequest]
    socket: str = ""
    http: Http | None = None
    t0: float = 0.0


class Answer(msgspec.Struct, kw_only=True):
    """What came of it. `accepted` holds the calls of on_accepted, `took_s` the length of each run."""

    replies: list[Reply] = []
    accepted: list[tuple[str, float]] = []
    took_s: list[float] = []
    cpu_s: float = 0.0


def main() -> None:
    asked = msgspec.json.decode(sys.argv[1], type=Asked)
    answer = Answer()

    def clock() -> float:
        return time.monotonic() - asked.t0

    def accepted(workflow: str, at: float) -> None:
        answer.accepted.append((workflow, at))

    client: Client
    if asked.http is not None:
        inputs: dict[str, Any] = {request.kind: request.input or {} for request in asked.requests}
        client = HttpClient(
            HttpRules(asked.http, [Workflow(kind=kind, input=given) for kind, given in inputs.items()]), clock, accepted
        )
    else:
        client = SocketClient(asked.socket, clock, accepted)
    cpu_s = time.process_time()
    for request in asked.requests:
        begun = clock()
        answer.replies.append(client.run(request))
        answer.took_s.append(clock() - begun)
    answer.cpu_s = time.process_time() - cpu_s
    client.close()
    sys.stdout.buffer.write(msgspec.json.encode(answer))


if __name__ == "__main__":
    main()
