"""`zoo predict --click` in a process of its own, ended as a person ends it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def clicking(name: str, image: Path, text: str, out: Path) -> Iterator[str]:
    """The address of its page. It must end at Ctrl-C without an error."""
    command = [
        sys.executable,
        "-m",
        "zoo",
        "predict",
        name,
        "--image",
        str(image),
        "--text",
        text,
        "--click",
        "--out",
        str(out),
    ]
    process = subprocess.Popen(
        command, cwd=Path(__file__).parents[1], env={**os.environ, "PYTHONUNBUFFERED": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/\S+/", line)
        assert found, line + process.communicate(timeout=60)[1]
        yield found[0]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0 and not errors, errors
    finally:
        process.kill()
        process.communicate()
