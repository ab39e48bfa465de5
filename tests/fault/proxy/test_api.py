"""Toxiproxy's API as its clients know it, what is beyond it, and what is refused, in what words."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from toxiproxy import Toxiproxy  # type: ignore[import-untyped]
from toxiproxy.api import APIConsumer  # type: ignore[import-untyped]
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists  # type: ignore[import-untyped]

from tests.fault.proxy.proxying import PATIENCE_S, Proxying, connected, received, rest

TOXICS = "/proxies/echo/toxics"


@pytest.fixture
def client(proxy: Proxying) -> Iterator[Any]:
    """Toxiproxy's Python client, as a person has it from PyPI."""
    before = APIConsumer.host, APIConsumer.port
    made = Toxiproxy()
    host, _, port = proxy.api.removeprefix("http://").rpartition(":")
    made.update_api_consumer(host, int(port))
    yield made
    APIConsumer.host, APIConsumer.port = before


def upstream(proxy: Proxying) -> str:
    """What is behind `echo`."""
    found: str = proxy.told("GET", "/proxies/echo")["upstream"]
    return found


def test_toxiproxys_own_client_drives_it(proxy: Proxying, client: Any) -> None:
    """Proxies and toxics, made, looked at, disabled and removed."""
    assert client.running()
    assert b"2." in client.version()
    made = client.create(name="second", upstream=upstream(proxy))
    assert set(client.proxies()) == {"echo", "second"}
    assert made.enabled
    made.add_toxic(type="latency", attributes={"latency": 40, "jitter": 5})
    made.add_toxic(type="limit_data", name="cut", stream="upstream", toxicity=0.5, attributes={"bytes": 7})
    toxic = made.get_toxic("latency_downstream")
    assert (toxic.type, toxic.stream, toxic.toxicity) == ("latency", "downstream", 1.0)
    assert toxic.attributes == {"latency": 40, "jitter": 5}
    assert set(made.toxics()) == {"latency_downstream", "cut"}
    made.destroy_toxic("cut")
    assert set(made.toxics()) == {"latency_downstream"}
    with made.down():
        assert not client.get_proxy("second").enabled
        with pytest.raises(ConnectionRefusedError):
            connected(made.listen)
    connected(made.listen).close()
    client.reset()
    assert made.toxics() == {}
    made.destroy()
    assert set(client.proxies()) == {"echo"}


def test_toxiproxys_own_client_is_told_what_is_wrong(proxy: Proxying, client: Any) -> None:
    """By the status codes from which it makes its exceptions."""
    with pytest.raises(ProxyExists):
        client.create(name="echo", upstream=upstream(proxy))
    with pytest.raises(InvalidToxic, match="invalid toxic type"):
        client.get_proxy("echo").add_toxic(type="latncy", attributes={})
    with pytest.raises(NotFound, match="toxic not found"):
        client.get_proxy("echo").destroy_toxic("none")
    behind = upstream(proxy)
    assert [each.name for each in client.populate([{"name": "third", "upstream": upstream(proxy)}])] == ["third"]
    client.destroy_all()
    assert client.proxies() == {}
    proxy.proxies["echo"] = client.create(name="echo", upstream=behind).listen


def proxy_upstream(proxy: Proxying) -> str:
    """Somewhere on this machine; nothing is sent there."""
    return proxy.api.removeprefix("http://")


def test_names_and_defaults_are_toxiproxys(proxy: Proxying) -> None:
    """A toxic that says little is downstream, always, and named by its type; updates leave the rest as it is."""
    made = proxy.told("POST", TOXICS, {"type": "latency", "attributes": {"latency": 10}})
    assert made == {
        "name": "latency_downstream",
        "type": "latency",
        "stream": "downstream",
        "toxicity": 1.0,
        "attributes": {"latency": 10, "jitter": 0},
        "fired": 0,
    }
    for method, latency in (("POST", 20), ("PATCH", 30)):
        told = proxy.told(method, TOXICS + "/latency_downstream", {"attributes": {"latency": latency}})
        assert told["attributes"] == {"latency": latency, "jitter": 0}
    told = proxy.told("PATCH", TOXICS + "/latency_downstream", {"toxicity": 0.5})
    assert (told["toxicity"], told["attributes"]["latency"]) == (0.5, 30)
    assert proxy.told("GET", TOXICS) == [told]
    assert proxy.told("GET", "/proxies/echo")["toxics"] == [told]
    assert proxy.ask("DELETE", TOXICS + "/latency_downstream").status == 204


def test_statuses(proxy: Proxying) -> None:
    """201 for what is made, 204 for what has nothing to say."""
    body = {"name": "other", "upstream": upstream(proxy), "enabled": False}
    made = proxy.ask("POST", "/proxies", body)
    assert (made.status, made.json()["enabled"]) == (201, False)
    populated = proxy.ask("POST", "/populate", [body | {"enabled": True, "listen": made.json()["listen"]}])
    assert populated.status == 201
    assert [each["name"] for each in populated.json()["proxies"]] == ["other"]
    assert proxy.ask("POST", "/reset").status == 204
    assert proxy.told("GET", "/proxies/other")["enabled"]
    assert proxy.ask("DELETE", "/proxies/other").status == 204
    assert proxy.refusal("GET", "/proxies/other") == (404, "proxy not found")


def test_a_proxy_can_be_moved(proxy: Proxying) -> None:
    """To another server or another address; its toxics come along, its connections are cut."""
    body = {"name": "moving", "upstream": proxy_upstream(proxy)}
    before = proxy.told("POST", "/proxies", body)["listen"]
    proxy.add("limit_data", proxy="moving", bytes=2)
    proxy.told("POST", "/proxies/moving", {"upstream": upstream(proxy)})
    told = proxy.told("POST", "/proxies/moving", {"listen": "127.0.0.1:0"})
    assert told["listen"] != before
    with pytest.raises(ConnectionRefusedError):
        connected(before)
    with connected(told["listen"]) as client:
        client.sendall(b"abc")
        assert rest(client) == b"ab"
    proxy.told("DELETE", "/proxies/moving")


WRONG: dict[str, tuple[str, str, Any, int, str]] = {
    "type": ("POST", TOXICS, {"type": "latncy"}, 400, "did you mean 'latency'?"),
    "no type": ("POST", TOXICS, {}, 400, "missing required field: type"),
    "stream": ("POST", TOXICS, {"type": "latency", "stream": "up"}, 400, "stream was invalid, can be either"),
    "attribute's type": ("POST", TOXICS, {"type": "latency", "attributes": {"latency": "1"}}, 400, "Expected `int`"),
    "attribute": ("POST", TOXICS, {"type": "latency", "attributes": {"latecy": 1}}, 400, "did you mean 'latency'?"),
    "negative": ("POST", TOXICS, {"type": "limit_data", "attributes": {"bytes": -1}}, 400, "Expected `int` >= 0"),
    "toxicity": ("POST", TOXICS, {"type": "latency", "toxicity": 1.5}, 400, "$.toxicity"),
    "protocol": ("POST", TOXICS, {"type": "redis_error"}, 400, "whose protocol is redis, and echo speaks tcp"),
    "no object": ("POST", TOXICS, [], 400, "bad request body: Expected `object`, got `array`"),
    "no toxic": ("GET", TOXICS + "/none", None, 404, "toxic not found"),
    "no proxy": ("POST", "/proxies/none/toxics", {"type": "latency"}, 404, "proxy not found"),
    "name taken": ("POST", "/proxies", {"name": "echo", "upstream": "127.0.0.1:1"}, 409, "proxy already exists"),
    "no name": ("POST", "/proxies", {"upstream": "127.0.0.1:1"}, 400, "missing required field: name"),
    "no upstream": ("POST", "/populate", [{"name": "x"}], 400, "missing required field: upstream at proxy 1"),
    "listens to all": (
        "POST", "/proxies", {"name": "x", "upstream": "127.0.0.1:1", "listen": "0.0.0.0:0"}, 400, "is not loopback"
    ),
    "another machine": ("POST", "/proxies", {"name": "x", "upstream": "example.com:80"}, 400, "another machine's"),
    "no address": ("POST", "/proxies", {"name": "x", "upstream": "nowhere"}, 400, "'nowhere' is not host:port"),
    "moved away": ("POST", "/proxies/echo", {"upstream": "10.0.0.1:80"}, 400, "another machine's"),
    "path": ("GET", "/toxics", None, 404, "there is nothing at /toxics"),
    "method": ("PUT", "/proxies", None, 405, "HINT: GET or POST"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said(proxy: Proxying, what: str) -> None:
    """With the status and the words that Toxiproxy has for it where it has some, and our own behind them."""
    method, path, body, status, words = WRONG[what]
    said = proxy.refusal(method, path, body)
    assert said[0] == status
    assert words in said[1]
    assert set(proxy.told("GET", "/proxies")) == {"echo"}
    assert proxy.told("GET", TOXICS) == []


def test_an_address_that_is_taken(proxy: Proxying) -> None:
    """Nothing is made, and where it was to be moved to it stays."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        body = {"name": "x", "upstream": "127.0.0.1:1", "listen": address}
        status, words = proxy.refusal("POST", "/proxies", body)
        assert (status, words) == (500, f"cannot listen: on {address}: Address already in use")
        assert proxy.refusal("POST", "/proxies/echo", {"listen": address})[0] == 500
    assert proxy.told("GET", "/proxies/echo")["enabled"]


def test_a_toxic_of_that_name_is_there(proxy: Proxying) -> None:
    """Unless a lease is given, which is renewed then."""
    proxy.add("latency", latency=1, lease_s=60)
    assert proxy.refusal("POST", TOXICS, {"type": "latency"}) == (409, "toxic already exists")
    renewed = proxy.told("POST", TOXICS, {"type": "latency", "attributes": {"latency": 2}, "lease_s": 50})
    assert (renewed["attributes"]["latency"], renewed["lease_s"]) == (2, 50.0)


def test_browsers_are_refused(proxy: Proxying) -> None:
    """Any page could make one ask."""
    assert proxy.ask("POST", "/reset", headers={"User-Agent": "Mozilla/5.0 (X11)"}).status == 403


NO_HTTP = {
    b"hello\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n": 400,
    b"POST /reset HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n": 413,
    b"POST /reset HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n": 411,
    b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000 + b"\r\n\r\n": 431,
}


@pytest.mark.parametrize("words", NO_HTTP)
def test_what_is_no_request(proxy: Proxying, words: bytes) -> None:
    """Is told so, and the connection is closed."""
    with connected(proxy.api.removeprefix("http://")) as client:
        client.sendall(words)
        assert received(client, 12) == b"HTTP/1.1 %d" % NO_HTTP[words]
        client.settimeout(PATIENCE_S)


def test_overhead_is_measured(proxy: Proxying) -> None:
    """Of chunks on which no toxic acts."""
    with proxy.connect() as client:
        for _ in range(200):
            client.sendall(b"x")
            received(client, 1)
    told = proxy.told("GET", "/overhead")
    assert told["n"] >= 20
    assert 0 < told["p50_us"] <= told["p99_us"] < 1e6


def test_metrics(proxy: Proxying) -> None:
    """In Prometheus's text format."""
    with proxy.connect() as client:
        proxy.add("latency", name='a "name"', latency=1)
        client.sendall(b"x")
        received(client, 1)
        assert 'harness_proxy_fired{proxy="echo",toxic="a \\"name\\""} 1' in proxy.ask("GET", "/metrics").text
