"""A headless Chromium that tells what a page did: its errors, its requests, and what it answers to a question.

It is spoken to in the DevTools protocol over a pipe, messages of JSON that end with a zero byte.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
HUNG_SECONDS = 120
# Chromium reads its orders from descriptor 3 and answers on 4, whatever numbers the pipes have here.
_LAUNCHER = """
import fcntl, os, sys
orders, answers = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(orders, 3)
os.dup2(answers, 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""


def find_chromium() -> str | None:
    """The program, None where none is installed."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


@dataclass
class Page:
    """What a page did until it was loaded.

    Attributes:
        errors: what it wrote to the console as errors, exceptions and loads that failed among them.
        requests: the addresses it asked for, data URIs left out.
        answers: to the questions.
    """

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)


class Browser:
    """Opens pages; a context manager."""

    def __init__(self, program: str, profile: Path):
        read_orders, self._orders = os.pipe()
        self._answers, write_answers = os.pipe()
        switches = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        own = ["--remote-debugging-pipe", f"--user-data-dir={profile}", "--disable-background-networking"]
        ends = (read_orders, write_answers)
        command = [sys.executable, "-S", "-c", _LAUNCHER, *map(str, ends), program, *switches, *own, "about:blank"]
        self._process = subprocess.Popen(command, pass_fds=ends, stderr=subprocess.DEVNULL)
        for end in ends:
            os.close(end)
        self._buffer, self._number, self._events = b"", 0, []

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._send("Browser.close", {}, None)
        self._process.wait(HUNG_SECONDS)
        os.close(self._orders)
        os.close(self._answers)

    def open(self, path: Path, questions: dict[str, str], width: int = 1000) -> Page:
        """Loads a file and asks JavaScript expressions, by name, whose values are JSON."""
        target = self._call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self._call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable", {}, session)
        screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", screen, session)
        self._events.clear()
        self._call("Page.navigate", {"url": path.as_uri()}, session)
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._events.append(self._read())
        page = Page()
        for name, expression in questions.items():
            answer = self._call("Runtime.evaluate", {"expression": expression, "returnByValue": True}, session)
            assert "exceptionDetails" not in answer, answer
            page.answers[name] = answer["result"].get("value")
        for event in self._events:
            _note(page, event["method"], event["params"])
        self._call("Target.closeTarget", {"targetId": target})
        return page

    def _call(self, method: str, values: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        number = self._send(method, values, session)
        while True:
            message = self._read()
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            if "method" in message:
                self._events.append(message)

    def _send(self, method: str, values: dict[str, Any], session: str | None) -> int:
        self._number += 1
        message = {"id": self._number, "method": method, "params": values} | ({"sessionId": session} if session else {})
        os.write(self._orders, json.dumps(message).encode() + b"\0")
        return self._number

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], HUNG_SECONDS)
            content = os.read(self._answers, 1 << 20) if ready else b""
            assert content, "Chromium hangs, or ended: start it by hand with the switches above"
            self._buffer += content
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)


def _note(page: Page, method: str, values: dict[str, Any]) -> None:
    if method == "Runtime.exceptionThrown":
        page.errors.append(values["exceptionDetails"]["text"])
    elif method == "Runtime.consoleAPICalled" and values["type"] in ("error", "assert"):
        page.errors.append(" ".join(str(part.get("value")) for part in values["args"]))
    elif method == "Log.entryAdded" and values["entry"]["level"] == "error":
        page.errors.append(values["entry"]["text"])
    elif method == "Network.requestWillBeSent" and not values["request"]["url"].startswith("data:"):
        page.requests.append(values["request"]["url"])
