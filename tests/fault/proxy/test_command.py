"""`harness proxy` in the foreground."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from tests.fault.proxy.proxying import PATIENCE_S, Upstreamed, connected, echo, rest

HARNESS = (sys.executable, "-m", "harness", "proxy")


def test_it_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    """It says where; Toxiproxy's API is there; the journal is written; nothing is left."""
    server, journal = Upstreamed(echo), tmp_path / "firings.jsonl"
    words = [f"echo={server.address}", "cache=127.0.0.1:1", "--protocol", "cache=redis", "--api", "127.0.0.1:0"]
    process = subprocess.Popen(
        [*HARNESS, *words, "--journal", str(journal)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        api, one, other = (process.stdout.readline().split() for _ in range(3))
        assert (one[0], one[2:]) == ("echo", ["->", server.address, "(tcp)"])
        assert (other[0], other[2:]) == ("cache", ["->", "127.0.0.1:1", "(redis)"])
        body = json.dumps({"type": "limit_data", "attributes": {"bytes": 3}})
        with connected(api[1].removeprefix("http://")) as asking:
            head = f"POST /proxies/echo/toxics HTTP/1.1\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            asking.sendall((head + body).encode())
            assert rest(asking).startswith(b"HTTP/1.1 200 OK")
        with connected(one[1]) as client:
            client.sendall(b"abcdef")
            assert rest(client) == b"abc"
        assert json.loads(journal.read_text())["type"] == "limit_data"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.communicate()
        server.close()


def refused(*words: str) -> tuple[int, list[str]]:
    """Exit code and what it said."""
    done = subprocess.run([*HARNESS, *words], capture_output=True, text=True, check=False, timeout=30.0)
    return done.returncode, done.stderr.splitlines()


def test_every_mistake_is_said() -> None:
    """At once, with the way out; so is what the process finds."""
    words = ["a=127.0.0.1:1", "a=127.0.0.1:2", "nothing", "--listen", "b=127.0.0.1:0", "--protocol", "a=reddis"]
    code, said = refused(*words)
    assert code == 2
    assert said == [
        "harness: a=127.0.0.1:2: there is a proxy of that name already",
        "harness: 'nothing' is not NAME=HOST:PORT",
        "harness: --listen b=127.0.0.1:0: the proxy 'b' is unknown (known: a)",
        "harness: --protocol a=reddis: the protocol 'reddis' is unknown; did you mean 'redis'? "
        "(known: http, postgres, redis, tcp)",
    ]
    code, said = refused("a=192.0.2.1:80", "--api", "127.0.0.1:0")
    assert (code, "another machine's" in said[-1]) == (2, True)
