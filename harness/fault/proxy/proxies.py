"""All proxies of the process, by name."""

from __future__ import annotations

from collections.abc import Iterator

from harness.fault.proxy.address import parsed
from harness.fault.proxy.config import ProxyConfig, Upstream
from harness.fault.proxy.journal import Journal
from harness.fault.proxy.overhead import Overhead
from harness.fault.proxy.proxy import Proxy
from harness.fault.proxy.refusal import NO_PROXY, PROXY_EXISTS, Refusal


class Proxies:
    """Made, changed and removed while others work."""

    def __init__(self, config: ProxyConfig, journal: Journal) -> None:
        """Those of the configuration, which take connections at once. Raises Refusal."""
        self.overhead = Overhead()
        self._config = config
        self._journal = journal
        self._proxies: dict[str, Proxy] = {}
        for declared in config.proxies:
            self.create(declared)

    def __getitem__(self, name: str) -> Proxy:
        """Raises Refusal."""
        if name not in self._proxies:
            raise Refusal(NO_PROXY)
        return self._proxies[name]

    def __iter__(self) -> Iterator[Proxy]:
        return iter(tuple(self._proxies.values()))

    def create(self, declared: Upstream, *, enabled: bool = True) -> Proxy:
        """A further one. Raises Refusal."""
        if declared.name in self._proxies:
            raise Refusal(PROXY_EXISTS)
        proxy = Proxy(
            declared,
            seed=self._config.seed,
            journal=self._journal,
            overhead=self.overhead,
            allow_remote=self._config.allow_remote,
        )
        if enabled:
            try:
                proxy.enable()
            except Refusal:
                proxy.close()
                raise
        self._proxies[declared.name] = proxy
        return proxy

    def replace(self, declared: Upstream, *, enabled: bool) -> Proxy:
        """As `create`, but one of the same name goes first, unless it is the same already. Raises Refusal."""
        before = self._proxies.get(declared.name)
        if before is not None:
            listen = parsed(declared.listen, is_listener=True)
            is_there = listen == before.listen or (listen[1] == 0 and listen[0] == before.listen[0])
            if is_there and parsed(declared.upstream) == before.upstream:
                return before
            self.delete(declared.name)
        return self.create(declared, enabled=enabled)

    def delete(self, name: str) -> None:
        """It takes no more connections, and its own are cut. Raises Refusal."""
        self[name].close()
        del self._proxies[name]

    def reset(self) -> None:
        """All enabled, no toxic on any. Raises Refusal."""
        for proxy in self:
            for toxic in tuple(proxy.toxics):
                proxy.remove(toxic)
            proxy.enable()

    def close(self) -> None:
        """All of them, for good."""
        for name in tuple(self._proxies):
            self.delete(name)

    def metrics(self) -> str:
        """In Prometheus's text format."""
        lines = ["# TYPE harness_proxy_connections gauge"]
        lines += [f'harness_proxy_connections{{proxy="{_quoted(each.name)}"}} {each.connections}' for each in self]
        lines += ["# TYPE harness_proxy_fired gauge"]
        for proxy in self:
            for toxic, count in sorted(proxy.fired().items()):
                lines.append(f'harness_proxy_fired{{proxy="{_quoted(proxy.name)}",toxic="{_quoted(toxic)}"}} {count}')
        return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
