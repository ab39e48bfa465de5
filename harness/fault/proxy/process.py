"""Starting a proxy process and ending it, and knowing when it died."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import msgspec

from harness.child import Child, Children, expect_line
from harness.errors import HarnessError, UsageError
from harness.fault.fault import FaultFailed
from harness.fault.proxy.client import ProxyControl
from harness.fault.proxy.config import ProxyConfig, ProxyFailed, ProxyLine, ProxyReady

READY_S = 30.0

_decode = msgspec.json.Decoder(ProxyLine).decode


class ProxyProcess:
    """One that serves: its API at `api`, and each proxy's host:port by its name in `addresses`."""

    def __init__(self, child: Child, ready: ProxyReady) -> None:
        self._child = child
        self.api = ready.api
        self.addresses: Mapping[str, str] = ready.proxies
        self._failed: str | None = None
        threading.Thread(target=self._listen, name="proxy", daemon=True).start()

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._child.pid

    def control(self, name: str) -> ProxyControl:
        """What faults of the service of that name are given."""
        return ProxyControl(self.api, name)

    def died(self) -> str | None:
        """Why it does not serve any more; None while it does."""
        if self._failed is not None:
            return f"the fault proxy failed: {self._failed}"
        code = self._child.returncode()
        return None if code is None else self._child.with_last_words(f"the fault proxy ended (exit {code})")

    def _listen(self) -> None:
        for line in self._child.stdout:
            said = _decode(line)
            if isinstance(said, ProxyFailed):
                self._failed = said.message


@contextmanager
def proxy_process(children: Children, config: ProxyConfig, name: str = "proxy") -> Iterator[ProxyProcess]:
    """Start one and wait until it serves; it is ended on leaving, and every fault with it.

    Raises UsageError, or FaultFailed with its own words.
    """
    child = children.start(name, "harness.fault.proxy.server", first_line=msgspec.json.encode(config))
    try:
        said = _decode(expect_line(child, READY_S))
    except HarnessError as error:
        raise FaultFailed(str(error)) from error
    if isinstance(said, ProxyFailed):
        raise (UsageError if said.usage else FaultFailed)(said.message)
    try:
        yield ProxyProcess(child, said)
    finally:
        child.end(grace_s=5.0)
