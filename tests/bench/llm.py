"""What the simulated provider can do, and how right its times and quotas are, over real HTTP.

    python tests/bench/llm.py [--rounds 5] [--quick]

The clients are `llm_client.py`, in a process of their own. The token bucket takes a minute; the rest a second or
fifteen each. In the rounds of requests/s the simulator and a bare ASGI app on the same server take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil

from harness.child import Children
from harness.llm.config import ProviderConfig
from harness.llm.prices import load_prices
from harness.observation.llm import LlmCall
from harness.run.provider import Provider, provider
from harness.scenario.models import Llm, LlmFault, Quota

CLIENT = Path(__file__).with_name("llm_client.py")
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
PROMPT = "@canary " + "Look at what the others found, and say what to do. " * 23  # 300 tokens
TURNS = [{"role": "user", "content": PROMPT}]
STREAM = {"model": "gpt-4.1-mini", "stream": True, "messages": TURNS}


@contextmanager
def simulator(folder: Path, **config: Any) -> Iterator[Provider]:
    """A provider process as a run starts it."""
    given = {"run_id": "bench", "t0": time.monotonic(), "log": str(folder / "calls.jsonl")} | config
    prices = load_prices(["gpt-4.1-mini"], None)
    with (
        Children(f"bench-{secrets.token_hex(4)}", folder / "logs") as children,
        provider(children, ProviderConfig(prices=prices, **given)) as serving,
    ):
        yield serving


def calls(folder: Path) -> dict[str, LlmCall]:
    """What was written down, by workflow."""
    decode = msgspec.json.Decoder(LlmCall).decode
    return {call.workflow: call for call in map(decode, (folder / "calls.jsonl").read_bytes().splitlines())}


def started(job: str, url: str, **what: Any) -> subprocess.Popen[str]:
    """A client at its job."""
    client = subprocess.Popen([sys.executable, str(CLIENT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert client.stdin is not None
    client.stdin.write(json.dumps({"job": job, "port": int(url.rsplit(":", 1)[1]), **what}) + "\n")
    client.stdin.flush()
    return client


def done(job: str, url: str, **what: Any) -> dict[str, Any]:
    """What a client saw."""
    words, _ = started(job, url, **what).communicate()
    seen: dict[str, Any] = json.loads(words)
    return seen


# Requests a second, beside a bare app.


@contextmanager
def bare() -> Iterator[tuple[str, int]]:
    """The same server with an app that only reads and answers: URL and pid."""
    server = subprocess.Popen(
        [sys.executable, __file__, "--role", "bare"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip(), server.pid
    finally:
        server.communicate()


async def serve_bare() -> None:
    """The bare app; ends with its standard input. Its answer is as long as the simulator's."""
    from harness.llm.server import listen, run_app

    answer = b"x" * 800
    head = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))],
    }

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        await send(head)
        await send({"type": "http.response.body", "body": answer})

    listener = listen(ProviderConfig(run_id="bench", t0=0.0))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, lambda: os.read(0, 100) or stop.set())
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    await run_app(app, listener, stop)


def requests_per_s(url: str, pid: int, seconds: float) -> tuple[float, float]:
    """At 50 connections: requests a second, and ms of the server's CPU for each."""
    body = {"model": "gpt-4.1-mini", "messages": TURNS}
    before = psutil.Process(pid).cpu_times()
    seen = done("rate", url, path=CHAT, body=body, connections=50, seconds=seconds)
    after = psutil.Process(pid).cpu_times()
    cpu_s = after.user + after.system - before.user - before.system
    return seen["count"] / seen["seconds"], 1000 * cpu_s / seen["count"]


def throughput(folder: Path, rounds: int, seconds: float) -> None:
    """The two by turns."""
    with simulator(folder, time_scale=1e-9) as ours, bare() as (url, pid):
        seen = [(requests_per_s(ours.url, ours.pid, seconds), requests_per_s(url, pid, seconds)) for _ in range(rounds)]
    show("simulator, requests/s at 50 connections", [mine[0] for mine, _ in seen])
    show("bare ASGI app on the same server, requests/s", [other[0] for _, other in seen])
    show("simulator over bare, x", [mine[0] / other[0] for mine, other in seen], ">= 0.5")
    show("simulator, ms of CPU a request", [mine[1] for mine, _ in seen])
    show("bare, ms of CPU a request", [other[1] for _, other in seen])


# Times as injected and as seen.


def times(folder: Path, rounds: int, seconds: float) -> None:
    """200 streams at a time, answers as long as people's."""
    errors: dict[str, list[float]] = {"first token": [], "whole call": []}
    for number in range(rounds):
        here = folder / f"times-{number}"
        here.mkdir()
        with simulator(here, seed=number) as serving:
            seen = done("streams", serving.url, path=CHAT, body=STREAM, connections=200, seconds=seconds)["seen"]
        planned = calls(here)
        assert planned.keys() == seen.keys()
        firsts = [1000 * (seen[name][0] - (call.ttft_planned_s or 0.0)) for name, call in planned.items()]
        wholes = [1000 * (seen[name][1] - (call.ended_planned_s or 0.0)) for name, call in planned.items()]
        assert min(firsts) > -3, "nothing comes before its time"
        errors["first token"].append(quantile(list(map(abs, firsts)), 0.99))
        errors["whole call"].append(quantile(list(map(abs, wholes)), 0.99))
    for what, values in errors.items():
        show(f"200 streams, {len(planned)} calls: {what}, p99 error, ms", values, "<= 10")


# Many streams at once.


def memory(folder: Path, count: int) -> None:
    """All of them stand still half-way, so that all are open at one moment."""
    llm = Llm(fault=(LlmFault(fault="stall", delay=600.0),))
    with simulator(folder, time_scale=0.5, llm=llm) as serving:
        process = psutil.Process(serving.pid)
        before = process.memory_info().rss
        client = started("hold", serving.url, path=CHAT, body=STREAM, connections=count, seconds=60.0)
        assert client.stdout is not None
        open_now = json.loads(client.stdout.readline())["open"]
        held = process.memory_info().rss - before
        client.communicate()
    show("streams open at one moment", [open_now], ">= 2000")
    show("memory of a stream, KiB of RSS", [held / open_now / 1024], "<= 100")


# Token buckets.


def buckets(folder: Path, seconds: float) -> None:
    """More is asked than is admitted, of one model a bucket. A bucket begins full: a second's worth."""
    burst_s, tokens = 1.0, 60
    quota = {
        "gpt-4.1-mini": Quota(requests=50.0, burst=burst_s),
        "gpt-4o-mini": Quota(tokens=20_000.0, burst=burst_s),
        "claude-haiku-4-5": Quota(input_tokens=15_000.0, burst=burst_s),
        "claude-sonnet-4-0": Quota(output_tokens=3_000.0, burst=burst_s),
    }
    asked = {
        model: (MESSAGES if model.startswith("claude") else CHAT, {"model": model, "max_tokens": 80, "messages": TURNS})
        for model in quota
    }
    with simulator(folder, time_scale=1e-9, llm=Llm(quota=quota)) as serving:
        seen = done("ask_much", serving.url, asked=asked, connections=8, seconds=seconds)["seen"]
    lines = [msgspec.json.decode(line, type=LlmCall) for line in (folder / "calls.jsonl").read_bytes().splitlines()]
    for model, given in quota.items():
        admitted = [line for line in lines if line.model == model and line.status == 200]
        assert len(admitted) == seen[model][0]
        one = admitted[0]
        cost, rate = {
            "gpt-4.1-mini": (1, given.requests),
            "gpt-4o-mini": (one.input_tokens + 80, given.tokens),
            "claude-haiku-4-5": (one.input_tokens, given.input_tokens),
            "claude-sonnet-4-0": (tokens, given.output_tokens),
        }[model]
        assert rate is not None
        allowed = rate * (seconds + burst_s) / cost
        share = 100 * (len(admitted) / allowed - 1)
        name = next(field for field in ("requests", "input_tokens", "output_tokens", "tokens") if getattr(given, field))
        show(f"{name} over {seconds:g} s, of {sum(seen[model])} asked: off by, %", [share], "<= 1")


def quantile(values: list[float], share: float) -> float:
    """The smallest value that at least this share does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def show(name: str, values: list[float], aim: str = "") -> None:
    """A row."""
    spread = f"({min(values):.4g}-{max(values):.4g})" if len(values) > 1 else ""
    print(f"{name:62} median {statistics.median(values):.4g}  {spread}  {'aim ' + aim if aim else ''}", flush=True)


def main() -> None:
    """The rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it works")
    parser.add_argument("--only", choices=["throughput", "times", "memory", "buckets"])
    parser.add_argument("--role", choices=["bare"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.role == "bare":
        import uvloop

        uvloop.run(serve_bare())
        return
    rounds = 1 if given.quick else given.rounds
    parts: dict[str, Callable[[Path], None]] = {
        "throughput": lambda folder: throughput(folder, rounds, 2.0 if given.quick else 5.0),
        "times": lambda folder: times(folder, rounds, 5.0 if given.quick else 15.0),
        "memory": lambda folder: memory(folder, 2000),
        "buckets": lambda folder: buckets(folder, 5.0 if given.quick else 60.0),
    }
    for name, part in parts.items():
        if given.only in (None, name):
            with tempfile.TemporaryDirectory(prefix="hb-") as folder:
                part(Path(folder))


if __name__ == "__main__":
    main()
