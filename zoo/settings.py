"""Where this process finds its zoo: environment variables, with the local stack's file as their defaults.

`python -m cluster.local up` writes `$LATENTACT_HOME/stack.env` (KEY=VALUE lines). A shell that never sourced
it finds the stack all the same, unless its own variables point elsewhere.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

DEFAULT_ZOO = "s3://zoo"


def home() -> Path:
    """State folder of this user: `$LATENTACT_HOME`, else `~/.latentact-zoo`."""
    return Path(os.environ.get("LATENTACT_HOME") or Path.home() / ".latentact-zoo").expanduser()


def environment() -> dict[str, str]:
    """The environment, filled up with the local stack's settings where it says nothing of its own.

    The file is left alone when AWS_ENDPOINT_URL or AWS_ENDPOINT_URL_S3 is set, or when LATENTACT_ZOO names another store than the
    file's: half of one place's settings and half of another's make errors that nobody understands.
    """
    stack = _stack_file(home() / "stack.env")
    elsewhere = os.environ.get("LATENTACT_ZOO") not in (None, "", stack.get("LATENTACT_ZOO", DEFAULT_ZOO))
    if s3_endpoint(os.environ) or elsewhere:
        stack = {}
    return stack | {key: value for key, value in os.environ.items() if value}


def zoo_url() -> str:
    """URL of the store: `$LATENTACT_ZOO`, else s3://zoo."""
    return environment().get("LATENTACT_ZOO", DEFAULT_ZOO)


def s3_endpoint(environment: Mapping[str, str]) -> str | None:
    """Where the S3 server is, or None for AWS itself. As for boto3, the variable for S3 alone goes before."""
    return environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")


def offline() -> bool:
    """True where LATENTACT_OFFLINE forbids every request to the store."""
    return os.environ.get("LATENTACT_OFFLINE", "").lower() in ("1", "true", "yes", "on")


def _stack_file(path: Path) -> dict[str, str]:
    """KEY=VALUE lines, values quoted as for a shell. A file that is not there says nothing."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    words = [word for line in lines for word in shlex.split(line, comments=True)]
    return {key: value for key, equals, value in (word.partition("=") for word in words) if equals}
