"""Who does something in a zoo: what the records of versions and moves say about it. No secret is among it."""

from __future__ import annotations

import functools
import getpass
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from zoo import settings


def signature() -> dict[str, str]:
    """{"by", "host", "at"}, and "publisher" where it is known: LATENTACT_PUBLISHER, else git's user.email."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in many containers
        user = "unknown"
    publisher = settings.environment().get("LATENTACT_PUBLISHER") or _git_email(os.getcwd())
    return {
        "by": user,
        "host": platform.node(),
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        **({"publisher": publisher} if publisher else {}),
    }


def publisher(record: Mapping[str, Any]) -> str:
    """Who did what a record tells of: the publisher, or the user's name where no publisher is known."""
    return str(record.get("publisher") or record.get("by", ""))


@functools.lru_cache(maxsize=4)
def _git_email(folder: str) -> str:
    """git's user.email in a folder, which may differ from repository to repository; empty without one."""
    try:
        asked = subprocess.run(
            ["git", "config", "--get", "user.email"],
            cwd=folder, capture_output=True, text=True, timeout=5, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return asked.stdout.strip()
