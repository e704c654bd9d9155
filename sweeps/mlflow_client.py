"""A client of MLflow that learns in seconds, not in minutes, that nobody listens, and says nothing about it by itself."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient


def client_of(uri: str) -> MlflowClient:
    """Raises ImportError where MLflow is not installed; no request is made yet."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    # It tells of every connection that is tried again.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=uri)


def is_refusal(error: Exception) -> bool:
    """Whether the fault lies in what was to be written, and not in MLflow or on the way to it."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return error.get_http_status_code() == 400
    is_ours = isinstance(error, ArithmeticError | LookupError | TypeError | ValueError)
    return is_ours and not isinstance(error, OSError)
