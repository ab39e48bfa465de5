"""A target that is only served."""

from __future__ import annotations

import json
import shlex
import socket
from pathlib import Path

from harness.run.plan import Options, prepare
from harness.run.run import serving

SCENARIO = """
name = "served"
description = "crashes in a run"
[load]
closed = [1]
[state]
store = "redis"
[crash]
kill = ["before_claim"]
every = "1 ms"
[[workflow]]
kind = "job"
steps = [{ name = "only", agent = "data" }]
[agent.data]
pool = 1
"""


def test_a_target_that_is_only_served_is_not_made_to_crash(tmp_path: Path, redis_url: str) -> None:
    """Nobody would start it again."""
    path = tmp_path / "served.toml"
    path.write_text(SCENARIO)
    plan = prepare(path, Options(reports=tmp_path / "reports", redis_url=redis_url), "harness serve")
    with serving(plan) as line, socket.socket(socket.AF_UNIX) as client:
        served = shlex.split(line)[0].partition("=")[2]
        client.settimeout(20.0)
        client.connect(json.loads(Path(served).read_bytes())["sockets"][0])
        client.sendall(b'{"type":"submit","id":"w-1","kind":"job","seed":1,"deadline_s":10.0}\n')
        frames = client.makefile("rb")
        types = [json.loads(frames.readline())["type"] for _ in range(2)]
    assert types == ["accepted", "ended"]
