"""A web server for one page on an index: standard library, this machine alone, and nothing but what `Browsing` says.

Files are asked for by the number of their row, never by a path, and leave as JPEG that was made of their pixels.
"""

from __future__ import annotations

import errno
import http.server
import importlib.resources
import ipaddress
import json
import re
import socket
import socketserver
import sys
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from tf_simclr.errors import InputError
from tf_simclr.index.browsing import SIDES, Browsing

MOST_BYTES = 64 << 20
_MOST_LISTED = 500
_KINDS = {"html": "text/html", "js": "text/javascript", "css": "text/css"}
_PAGE = {"/": "browse.html", "/browse.js": "browse.js", "/browse.css": "browse.css"}
_IMAGE = re.compile(rf"/({'|'.join(SIDES)})/([0-9]{{1,9}})")
_SECONDS_TO_ASK = 60
# plotly.js makes functions of text and styles elements; images are the page's own, or dropped on it.
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


class RefusedError(Exception):
    """A request that is not answered: the status of HTTP, and why."""

    def __init__(self, status: int, why: str):
        super().__init__(why)
        self.status = status


class PageServer(http.server.ThreadingHTTPServer):
    """Takes a port when it is made; requests wait there until `serve` is called.

    Args:
        script: plotly.js.
        host: address or name to listen at.
        port: 0 for any that is free.

    Raises:
        InputError: the port is taken or may not be used, or the host is none of this machine.
    """

    daemon_threads = True
    browsing: Browsing

    def __init__(self, script: str, host: str, port: int):
        self.host = host
        self.files = {path: (name.rsplit(".")[-1], _own_file(name)) for path, name in _PAGE.items()}
        self.files["/plotly.js"] = ("js", script.encode())
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise _cannot_listen(error, host, port) from error

    def serve(self, browsing: Browsing) -> None:
        """Answers requests until `shutdown` is called by another thread."""
        self.browsing = browsing
        self.serve_forever()

    @property
    def address(self) -> str:
        """Where a browser on this machine finds the page."""
        everywhere = _is_number(self.host) and ipaddress.ip_address(self.host).is_unspecified
        shown = "localhost" if everywhere else self.host
        return f"http://{f'[{shown}]' if ':' in shown else shown}:{self.server_address[1]}"

    def server_bind(self) -> None:
        """Binds without asking for the name of this machine, which may take seconds where no name server answers."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says what went wrong, unless the browser has just closed a connection."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)

    def knows(self, host: str | None) -> bool:
        """Whether a request's Host is this server: by number, or by a name that no other site can give to it.

        A site of somebody else's may let its name point to this machine ("DNS rebinding"). The browser then takes what
        this server answers for that site's own, but says its name.
        """
        try:
            name = urlsplit(f"//{host or ''}").hostname or ""
        except ValueError:  # a bracket that is not closed
            return False
        return name in {"localhost", self.host.lower(), socket.gethostname().lower()} or _is_number(name)


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _own_file(name: str) -> bytes:
    return (importlib.resources.files("tf_simclr.index") / "templates" / name).read_bytes()


def _cannot_listen(error: OSError, host: str, port: int) -> InputError:
    if error.errno in (errno.EADDRINUSE, errno.EACCES):
        return InputError(
            f"`port` must be free, and one that you may use. Received: port={port}: {error.strerror}. Pass another, or "
            "--port=0 for any that is free"
        )
    return InputError(
        f"`host` must be an address of this machine, or its name. Received: host={host}: {error.strerror or error}. "
        "Pass --host=127.0.0.1 for this machine alone"
    )


class _Handler(http.server.BaseHTTPRequestHandler):
    server: PageServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "tf_simclr", ""
    timeout = _SECONDS_TO_ASK

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are no news."""

    def _answer(self, make: Callable[[], tuple[str, bytes]]) -> None:
        try:
            self._require_own_page()
            status, (kind, content) = 200, make()
        except RefusedError as error:
            status, kind, content = error.status, "application/json", _json({"error": str(error)})
        except InputError as error:
            status, kind, content = 400, "application/json", _json({"error": str(error)})
        except (ConnectionError, TimeoutError):  # the browser has gone
            raise
        except Exception as error:
            traceback.print_exc()
            status, kind, content = 500, "application/json", _json({"error": f"the server failed: {error}"})
        if status != 200:  # a body may not have been read
            self.close_connection = True
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(content))),
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", _POLICY),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
            *([("Connection", "close")] if self.close_connection else []),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _require_own_page(self) -> None:
        host, origin = self.headers.get("Host"), self.headers.get("Origin")
        if not self.server.knows(host):
            raise RefusedError(403, "this server answers to its own name only")
        if origin is not None and origin != f"http://{host}":
            raise RefusedError(403, "this server answers its own page only")

    def _get(self) -> tuple[str, bytes]:
        path = self.path.partition("?")[0]
        if path in self.server.files:
            ending, content = self.server.files[path]
            return f"{_KINDS[ending]}; charset=utf-8", content
        if path == "/map":
            return "application/json", _json(self.server.browsing.whole())
        found = _IMAGE.fullmatch(path)
        if found and int(found[2]) < self.server.browsing.rows:
            content = self.server.browsing.image(int(found[2]), found[1])
            if content:
                return "image/jpeg", content
        raise RefusedError(404, "there is no such page")

    def _post(self) -> tuple[str, bytes]:
        browsing, path, content = self.server.browsing, self.path.partition("?")[0], self._body()
        if path == "/near_image":
            return "application/json", _json(browsing.near_image(content))
        if path not in ("/near_row", "/tiles", "/find", "/table"):
            raise RefusedError(404, "there is no such page")
        asked = _parsed(content)
        if path == "/find":
            return "application/json", _json(browsing.find(str(asked.get("text", ""))))
        rows = _rows(asked.get("rows"), browsing.rows)
        if path == "/table":
            return "text/csv; charset=utf-8", browsing.table(rows, _similarities(asked.get("similarities"), len(rows)))
        if path == "/tiles":
            return "application/json", _json(browsing.tiles(rows[:_MOST_LISTED]))
        if len(rows) != 1:
            raise RefusedError(400, "`rows` must be one row")
        return "application/json", _json(browsing.near_row(rows[0]))

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,12}", length):
            raise RefusedError(411, "a request must say how long it is")
        if int(length) > MOST_BYTES:
            raise RefusedError(413, f"a file must have at most {MOST_BYTES >> 20} MiB")
        return self.rfile.read(int(length))


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError as error:
        raise RefusedError(400, "a request must be JSON") from error
    if not isinstance(value, dict):
        raise RefusedError(400, "a request must be an object of JSON")
    return value


def _rows(value: Any, number: int) -> list[int]:
    if not isinstance(value, list) or not all(type(row) is int and 0 <= row < number for row in value):
        raise RefusedError(400, f"`rows` must be numbers from 0 to {number - 1}")
    return value


def _similarities(value: Any, rows: int) -> list[float]:
    value = value or []
    right = isinstance(value, list) and len(value) in (0, rows) and all(type(one) in (int, float) for one in value)
    if not right:
        raise RefusedError(400, "`similarities` must be one number a row, or none")
    found: list[float] = value
    return found
