"""What runs in a Tune trial's own process; it stays small, since every trial starts and imports it anew."""

from __future__ import annotations

from typing import Any

from ray.train import TrainingFailedError
from ray.tune.integration.ray_train import TuneReportCallback

from trainables import ray_train


def drive(suggestion: dict[str, Any], **settings: Any) -> None:
    """A Tune trial: starts the Ray Train run and waits; Tune hears its reports through the callback."""
    suggestion = suggestion.get("trial", suggestion)
    try:
        ray_train.fit(
            suggestion["config"],
            identity=suggestion["identity"],
            callbacks=[TuneReportCallback()],
            **settings,
        )
    except TrainingFailedError as error:
        raise RuntimeError(_reason(error)) from None


def _reason(error: TrainingFailedError) -> str:
    """The first worker's own words, on one line."""
    failures = list(getattr(error, "worker_failures", {}).values())
    cause = failures[0] if failures else error
    lines = [line for line in str(cause).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(cause).__name__
