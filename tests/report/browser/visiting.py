"""Pages that are watched from their first byte, in a real browser."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

HEIGHT = 900
PHONE, DESK = 390, 1100
WAIT_MS = 30_000


@dataclass
class Visits:
    """Opens pages, and keeps whatever they complained of."""

    browser: Browser
    folder: Path
    complaints: list[str] = field(default_factory=list)

    def open(self, address: str, *, width: int = DESK, scheme: Any = "light", javascript: bool = True) -> Page:
        """A page in a context of its own. It may not ask the network for anything but its own address."""
        context = self.browser.new_context(
            viewport={"width": width, "height": HEIGHT}, color_scheme=scheme, java_script_enabled=javascript
        )
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        page.on("console", lambda message: self.complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (self.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: request.url.startswith(address) or self.complaints.append(request.url))
        page.goto(address)
        return page

    def show(self, html: str, **how: Any) -> Page:
        """A page that is a file, as a person opens it."""
        path = self.folder / "page.html"
        path.write_text(html, encoding="utf-8")
        return self.open(path.as_uri(), **how)


def violations(page: Page) -> list[str]:
    """What axe finds: rule, how often, and the first place."""
    found = Axe().run(page).response["violations"]
    return [f"{each['id']} x{len(each['nodes'])}: {each['nodes'][0]['html'][:200]}" for each in found]


def overhang(page: Page) -> float:
    """Pixels by which the page is wider than the window."""
    return float(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
