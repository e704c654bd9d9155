"""The server of a user study as a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sweeps.study_votes import Design

ROOT = Path(__file__).resolve().parent.parent


class Server:
    """A running `python -m sweeps.study serve`."""

    def __init__(self, study: Path, *more: str) -> None:
        command = [sys.executable, "-m", "sweeps.study", "serve", str(study), "--port", "0", *more]
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/", self.process.stdout.readline())
        assert found, "the server did not start"
        self.url = found[0]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def get(self, path: str) -> tuple[int, bytes]:
        return self._asked(urllib.request.Request(self.url + path))

    def post(self, path: str, body: object, **headers: str) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method="POST")
        status, answer = self._asked(request)
        return status, json.loads(answer)

    def _asked(self, request: urllib.request.Request) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def keep(self, vote: dict[str, Any]) -> None:
        """Sends an answer as often as the server puts it off, as the page does."""
        while (answer := self.post("api/votes", vote)) != (200, {"kept": True}):
            assert answer[0] == 429, answer
            time.sleep(0.05)

    def join(self, design: Design, rater: str) -> int:
        status, said = self.post("api/raters", {"study": design.study, "rater": rater})
        assert status == 200, said
        return int(said["slot"])


@contextmanager
def serving(study: Path, *more: str) -> Iterator[Server]:
    server = Server(study, *more)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.send_signal(signal.SIGINT)
            server.process.wait(60)
