"""The Ray cluster that a driver joins."""

from __future__ import annotations

import logging
import os
import socket

import ray

from sweeps.errors import SweepError

_HEAD_TIMEOUT_S = 10.0


def connect() -> None:
    """Join the Ray cluster of the job, or of RAY_ADDRESS. Raises SweepError where none answers."""
    address = os.environ.get("RAY_ADDRESS", "auto")
    host, _, port = address.rpartition(":")
    try:
        # Ray itself looks for a head that is not there for minutes.
        if port.isdigit() and "://" not in address:
            socket.create_connection((host, int(port)), _HEAD_TIMEOUT_S).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except OSError as error:  # ConnectionError among them
        raise SweepError(
            f"No Ray cluster answers at {address} ({error}). Start one (`python -m cluster.local up` on one machine, "
            "`ray up` for a fleet) and submit this script with `ray job submit`."
        ) from None
