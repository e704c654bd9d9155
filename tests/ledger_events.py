"""Trials for tests of the ledger: started and ended as a driver does, and what the store holds of them."""

from __future__ import annotations

from typing import Any

from sweeps.ledger import Ledger, TrialRecord
from sweeps.trial_record import Status
from zoo.store import Store, read_json

PARAMS = {"codes": 256, "decoder_depth": 2, "seed": 0}
HOME = "ledger/sweeps/one"


def start(ledger: Ledger, identity: str = "a", *, attempt: int = 1, setting: str = "objects") -> TrialRecord:
    ledger.started(identity, setting, "search", PARAMS, attempt)
    return TrialRecord(identity, setting, "search", PARAMS, attempts=attempt)


def end(ledger: Ledger, trial: TrialRecord, status: Status, epochs: int = 10, mpjpe_cm: float = 5.0) -> None:
    trial.status = status
    trial.epochs, trial.metrics, trial.curve = epochs, {"mpjpe_cm": mpjpe_cm}, [(epochs, mpjpe_cm)]
    trial.checkpoint = f"{ledger.store.url}/trials/{trial.identity}/best"
    ledger.ended(trial)


def trials(ledger: Ledger, budget: int = 10, setting: str = "objects") -> dict[str, TrialRecord]:
    return ledger.read(lambda setting, params: budget)[0][setting]


def forget(store: Store, prefix: str) -> int:
    keys = list(store.list(prefix))
    for key in keys:
        store.delete(key)
    return len(keys)


def events(store: Store, home: str = HOME) -> list[dict[str, Any]]:
    return [read_json(store, key) for key in store.list(f"{home}/events/")]


def segments(store: Store) -> list[str]:
    return list(store.list(f"{HOME}/segments/"))
