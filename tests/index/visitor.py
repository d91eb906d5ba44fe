"""A visit to a page that is served: real clicks, drags and drops, in the Chromium of the studies' pages."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.studies.browser import HUNG_SECONDS, Browser, Page, _note


class Visitor(Browser):
    """A browser with one page, which is used as a person uses it."""

    def visit(self, address: str, width: int = 1400, height: int = 900) -> None:
        """Opens the page."""
        target = self._call("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._session = self._call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self._ask("Page.navigate", url=address)

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Returns as soon as a JavaScript expression is true."""
        self.wait_until(lambda: self.value(expression), expression)

    def wait_until(self, holds: Callable[[], Any], what: str = "") -> None:
        """Returns as soon as something holds."""
        until = time.monotonic() + HUNG_SECONDS
        while not holds():
            assert time.monotonic() < until, f"never true: {what or holds}; the page shows {self.text('body')}"
            self.value("new Promise(requestAnimationFrame)")

    def text(self, selector: str) -> str:
        """The text of an element."""
        return self.value(f"document.querySelector({selector!r}).innerText")

    def click(self, selector: str) -> None:
        """Clicks on the middle of an element."""
        box = f"document.querySelector({selector!r}).getBoundingClientRect()"
        self.press(self.value(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({box})"))

    def press(self, *places: list[float]) -> None:
        """Presses the mouse at the first place, draws it through the others and lets it go at the last one."""
        self._mouse("mouseMoved", places[0])
        self._mouse("mousePressed", places[0], button="left", clickCount=1)
        for place in places[1:]:
            self._mouse("mouseMoved", place, button="left", buttons=1)
        self._mouse("mouseReleased", places[-1], button="left", clickCount=1)

    def move(self, place: list[float]) -> None:
        """Moves the mouse."""
        self._mouse("mouseMoved", place)

    def write(self, text: str) -> None:
        """Writes into what has the focus."""
        self._ask("Input.insertText", text=text)

    def drop(self, path: Path, place: list[float]) -> None:
        """Drags a file of this machine over the page and lets it go."""
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self._ask("Input.dispatchDragEvent", type=kind, x=place[0], y=place[1], data=data)

    def save_to(self, folder: Path) -> None:
        """Has what the page saves go to a folder."""
        self._call("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})

    def screenshot(self, path: Path) -> None:
        """Writes what is to be seen as PNG."""
        path.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot")["data"]))

    def page(self) -> Page:
        """What the page did so far."""
        page = Page()
        for event in self._events:
            _note(page, event["method"], event["params"])
        return page

    def _mouse(self, kind: str, place: list[float], **values: Any) -> None:
        self._ask("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], **values)

    def _ask(self, method: str, **values: Any) -> dict[str, Any]:
        return self._call(method, values, self._session)
