"""What runs in a Tune trial's own process; it stays small, since every trial starts and imports it anew."""

from __future__ import annotations

from typing import Any

from ray import tune
from ray.train import TrainingFailedError
from ray.tune.integration.ray_train import TuneReportCallback

from trainables import ray_train


def suggestion(config: dict[str, Any]) -> dict[str, Any]:
    """The trial in a Tune configuration: {"identity", "config"}, as the search gives it or one of a given list."""
    return config.get("trial", config)


def drive(config: dict[str, Any], **settings: Any) -> None:
    """A Tune trial: starts the Ray Train run and waits; Tune hears its reports through the callback.

    A training that failed for good is reported as `failure`; an exception, which Tune answers with another try,
    is left to mean that this process itself came to grief.
    """
    trial = suggestion(config)
    try:
        ray_train.fit(
            trial["config"],
            identity=trial["identity"],
            callbacks=[TuneReportCallback()],
            **settings,
        )
    except TrainingFailedError as error:
        tune.report({"failure": _reason(error)})


def _reason(error: TrainingFailedError) -> str:
    """The first worker's own words, on one line."""
    failures = list(getattr(error, "worker_failures", {}).values())
    cause = failures[0] if failures else error
    lines = [line for line in str(cause).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(cause).__name__
