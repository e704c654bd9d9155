"""`zoo predict --click`: a page of this machine alone, on which a person points at the contact in a photo.

    http://127.0.0.1:PORT/TOKEN/          the photo; a click, a depth and a sentence ask for a prediction
    http://127.0.0.1:PORT/TOKEN/predict   POST of JSON {x, y, depth_m, text} -> {view, notes, files} or {problem}
    http://127.0.0.1:PORT/TOKEN/view/N    the viewer of the N-th prediction

The token is drawn anew each time: other pages in the browser and other users of the machine do not know it.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "127.0.0.1"
MOST_BYTES = 4096  # of a question
SECURE = {
    "Cache-Control": "no-cache",  # and not no-store: the way back from a viewer keeps the page
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

Answer = dict[str, Any]
Ask = Callable[[Mapping[str, Any]], tuple[Answer, str]]  # question -> what is answered, and the viewer's page


class ClickServer(ThreadingHTTPServer):
    """Serves `page` and asks `ask` for each click, one at a time. `port` 0 takes a free one."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, page: str, ask: Ask, port: int = 0) -> None:
        super().__init__((HOST, port), _Handler)
        self.page, self.ask = page, ask
        self.token = secrets.token_urlsafe(16)
        self.turn = threading.Lock()
        self.views: list[str] = []

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.server_port}/{self.token}/"


class _Handler(BaseHTTPRequestHandler):
    server: ClickServer
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        path = self._path()
        if path == "":
            self._send(200, self.server.page, "text/html")
        elif path is not None and path.startswith("view/") and path[5:].isdecimal():
            number = int(path[5:])
            known = 1 <= number <= len(self.server.views)
            self._send(
                *((200, self.server.views[number - 1]) if known else (404, "no such view")), "text/html"
            )
        else:
            self._send(404, "not found", "text/plain")

    def do_POST(self) -> None:
        if self._path() != "predict":
            return self._refuse(404, "not found")
        # A form of another page cannot send JSON without being asked first, which is never granted.
        if self.headers.get_content_type() != "application/json":
            return self._refuse(415, "send JSON")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            return self._refuse(413, "the question is too long")
        try:
            question = json.loads(self.rfile.read(int(length)))
        except ValueError:
            question = None
        if not isinstance(question, dict):
            return self._refuse(400, "send a JSON object")
        with self.server.turn:
            answer, view = self.server.ask(question)
            if view:
                self.server.views.append(view)
                answer["view"] = f"view/{len(self.server.views)}"
        self._send(200, json.dumps(answer), "application/json")

    def _path(self) -> str | None:
        """What follows the token; None without it, or where the browser was led here by another name."""
        if self.headers.get("Host", "") not in {
            f"{name}:{self.server.server_port}" for name in (HOST, "localhost")
        }:
            return None
        first, _, rest = self.path.removeprefix("/").partition("/")
        return rest if secrets.compare_digest(first.encode(), self.server.token.encode()) else None

    def _refuse(self, status: int, problem: str) -> None:
        self.close_connection = True  # what was sent with the request is not read
        self._send(status, json.dumps({"problem": problem}), "application/json")

    def _send(self, status: int, text: str, kind: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for name, value in SECURE.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the command says what was predicted."""
