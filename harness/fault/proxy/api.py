"""The API: Toxiproxy 2.x's paths, methods, names, defaults and errors, and a little of our own beside them.

Ours: `protocol` of a proxy; `lease_s` of a toxic, and of a proxy that is disabled; `fired` of a toxic; `GET /overhead`
and `GET /proxies/{proxy}/fired`. An attribute that nobody knows is refused, where Toxiproxy ignores it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote

import msgspec

from harness.fault.proxy.config import Protocol, Upstream
from harness.fault.proxy.http import Request, Response
from harness.fault.proxy.proxies import Proxies
from harness.fault.proxy.refusal import (
    BAD_BODY,
    BROWSER,
    MISSING_FIELD,
    UNKNOWN_PATH,
    WRONG_METHOD,
    Refusal,
)

VERSION = "2.12.0"
"""Of Toxiproxy, whose API this is: its clients look at it."""

T = TypeVar("T")
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Lease = Annotated[float, msgspec.Meta(ge=0.0)]


class ProxyBody(msgspec.Struct, kw_only=True):
    """What is said of a proxy. What else comes (its toxics, as a client got them from us) is not read."""

    name: str = ""
    upstream: str = ""
    listen: str = ""
    enabled: bool | None = None
    protocol: Protocol | None = None
    lease_s: Lease = 0.0

    def declared(self) -> Upstream:
        """Raises Refusal."""
        for field in ("name", "upstream"):
            if not getattr(self, field):
                raise Refusal(MISSING_FIELD, field)
        return Upstream(
            name=self.name,
            upstream=self.upstream,
            listen=self.listen or "127.0.0.1:0",
            protocol=self.protocol or "tcp",
        )


class ToxicBody(msgspec.Struct, kw_only=True):
    """What is said of a toxic."""

    name: str = ""
    type: str = ""
    stream: str = "downstream"
    toxicity: Share | None = None
    attributes: dict[str, Any] = {}
    lease_s: Lease | None = None


class Api:
    """Answers requests about the proxies."""

    def __init__(self, proxies: Proxies) -> None:
        self._proxies = proxies

    def answer(self, request: Request) -> Response:
        """One request. Whatever is wrong with it, or with us, is an answer, too."""
        try:
            return self._answer(request)
        except Refusal as refusal:
            return _json(refusal.status, {"error": str(refusal), "status": refusal.status})
        except Exception as error:  # noqa: BLE001 - a bug of ours must not end the faults of others
            words = f"a bug of the proxy: {type(error).__name__}: {' '.join(str(error).split())}"
            sys.stderr.write(words + "\n")
            return _json(500, {"error": words, "status": 500})

    def _answer(self, request: Request) -> Response:
        if request.headers.get("user-agent", "").startswith("Mozilla/"):
            raise Refusal(BROWSER)  # any page could ask a browser to do it
        path = [unquote(word) for word in request.path.strip("/").split("/")]
        pattern = tuple(word if place % 2 == 0 else "*" for place, word in enumerate(path))
        routes = _ROUTES.get(pattern)
        if routes is None:
            raise Refusal(UNKNOWN_PATH, f"there is nothing at {request.path[:200]}")
        method = "POST" if request.method == "PATCH" else request.method
        if method not in routes:
            raise Refusal(WRONG_METHOD, f"{request.method} on {request.path[:200]} (HINT: {' or '.join(routes)})")
        return routes[method](self, request, *path[1::2])

    # The process.

    def _version(self, request: Request) -> Response:
        return _json(200, {"version": VERSION})

    def _metrics(self, request: Request) -> Response:
        return Response(200, self._proxies.metrics().encode(), "text/plain; version=0.0.4; charset=utf-8")

    def _overhead(self, request: Request) -> Response:
        return _json(200, self._proxies.overhead.read())

    def _reset(self, request: Request) -> Response:
        self._proxies.reset()
        return Response(204)

    # Proxies.

    def _list(self, request: Request) -> Response:
        return _json(200, {proxy.name: proxy.told() for proxy in self._proxies})

    def _create(self, request: Request) -> Response:
        body = _read(request, ProxyBody)
        return _json(201, self._proxies.create(body.declared(), enabled=body.enabled is not False).told())

    def _populate(self, request: Request) -> Response:
        bodies = _read(request, list[ProxyBody])
        for place, body in enumerate(bodies):
            for field in ("name", "upstream"):
                if not getattr(body, field):
                    raise Refusal(MISSING_FIELD, f"{field} at proxy {place + 1}")
        made = [self._proxies.replace(body.declared(), enabled=body.enabled is not False) for body in bodies]
        return _json(201, {"proxies": [proxy.told() for proxy in made]})

    def _proxy(self, request: Request, name: str) -> Response:
        return _json(200, self._proxies[name].told())

    def _update(self, request: Request, name: str) -> Response:
        proxy, body = self._proxies[name], _read(request, ProxyBody)
        proxy.move(listen=body.listen, upstream=body.upstream)
        if body.enabled is False:
            proxy.disable(body.lease_s)
        elif body.enabled:
            proxy.enable()
        return _json(200, proxy.told())

    def _delete(self, request: Request, name: str) -> Response:
        self._proxies.delete(name)
        return Response(204)

    def _fired(self, request: Request, name: str) -> Response:
        return _json(200, self._proxies[name].fired())

    # Toxics.

    def _toxics(self, request: Request, name: str) -> Response:
        return _json(200, [toxic.told() for toxic in self._proxies[name].toxics.values()])

    def _add(self, request: Request, name: str) -> Response:
        proxy, body = self._proxies[name], _read(request, ToxicBody)
        toxic = proxy.add(
            body.type,
            stream=body.stream,
            name=body.name,
            toxicity=1.0 if body.toxicity is None else body.toxicity,
            attributes=body.attributes,
            lease_s=body.lease_s or 0.0,
        )
        return _json(200, toxic.told())

    def _toxic(self, request: Request, name: str, toxic: str) -> Response:
        return _json(200, self._proxies[name].toxic(toxic).told())

    def _change(self, request: Request, name: str, toxic: str) -> Response:
        proxy, body = self._proxies[name], _read(request, ToxicBody)
        changed = proxy.update(toxic, attributes=body.attributes, toxicity=body.toxicity, lease_s=body.lease_s)
        return _json(200, changed.told())

    def _remove(self, request: Request, name: str, toxic: str) -> Response:
        self._proxies[name].remove(toxic)
        return Response(204)


_ROUTES: dict[tuple[str, ...], dict[str, Callable[..., Response]]] = {
    ("version",): {"GET": Api._version},
    ("metrics",): {"GET": Api._metrics},
    ("overhead",): {"GET": Api._overhead},
    ("reset",): {"POST": Api._reset},
    ("populate",): {"POST": Api._populate},
    ("proxies",): {"GET": Api._list, "POST": Api._create},
    ("proxies", "*"): {"GET": Api._proxy, "POST": Api._update, "DELETE": Api._delete},
    ("proxies", "*", "fired"): {"GET": Api._fired},
    ("proxies", "*", "toxics"): {"GET": Api._toxics, "POST": Api._add},
    ("proxies", "*", "toxics", "*"): {"GET": Api._toxic, "POST": Api._change, "DELETE": Api._remove},
}


def _read(request: Request, type_: type[T]) -> T:
    try:
        return msgspec.json.decode(request.body, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(BAD_BODY, str(error)) from None


def _json(status: int, told: object) -> Response:
    return Response(status, msgspec.json.encode(told))
