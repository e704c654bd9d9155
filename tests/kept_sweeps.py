"""Sweeps in a store as drivers leave them, for tests of the commands that look at them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sweeps.__main__ import main
from sweeps.ledger import Ledger, TrialRecord
from zoo.store import Store, open_store

PLAN: dict[str, Any] = {
    "kind": "codebook-size",
    "data": "world",
    "data_digest": "d1" * 32,
    "split": "objects,actions",
    "epochs": 8,
    "seeds": 1,
    "seed": 0,
    "workers": "2",
    "protocol": "first",
    "batch": 64,
    "norm": False,
    "code": "c0de",
    "torch": "2.13.0",
    "space": {"codes": "128:1024 log", "decoder_depth": "1,2"},
    "search": "tpe",
    "objectives": ["mpjpe_cm", "parameters"],
    "stopping": "asha",
    "trials": 4,
    "finalists": 4,
}


def empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store in a folder, set in this process's environment."""
    monkeypatch.setenv("LATENTACT_HOME", f"{tmp_path}/home")
    monkeypatch.setenv("LATENTACT_ZOO", f"file://{tmp_path}/zoo")
    monkeypatch.delenv("LATENTACT_USD_PER_HOUR", raising=False)
    return open_store()


def sweeps(*args: str, code: int = 0) -> str:
    """What `python -m sweeps` with these arguments says."""
    result = CliRunner().invoke(main, args)
    assert result.exit_code == code, result.output
    return result.output


def trial(setting: str, codes: int, status: str = "finished", **changes: Any) -> TrialRecord:
    record = TrialRecord(
        f"{setting}-{codes}", setting, "search", {"codes": codes, "decoder_depth": 2, "seed": 0}
    )
    record.attempts, record.status, record.epochs, record.seconds = 1, status, 8, 900.0  # type: ignore[assignment]
    record.metrics = {"mpjpe_cm": codes / 100, "contact_f1": 0.7}
    record.ended_s = time.time() - 120
    for field, value in changes.items():
        setattr(record, field, value)
    return record


def put(store: Store, name: str, *trials: TrialRecord, plan: dict[str, Any] = PLAN, **session: Any) -> Ledger:
    """A sweep that nobody runs."""
    ledger = Ledger(store, name, session="driver-0")
    ledger.plan(plan)
    facts = {"slots": 2, "device": "cuda", "workers": "2", "nodes": 1, "usd_per_hour": 2.0, **session}
    ledger.note("session", **facts)
    for record in trials:
        ledger.started(record.identity, record.setting, record.phase, record.params, 1)
        if record.status != "unfinished":
            ledger.ended(record)
    return ledger


def half_done(store: Store) -> Ledger:
    return put(
        store,
        "mine",
        trial("objects", 512),
        trial("objects", 256),
        trial("objects", 600, "stopped", epochs=2, seconds=450.0),
        trial("objects", 700, "failed", reason="loss is not finite", metrics={}, epochs=0, seconds=0.0),
        trial("actions", 256, "unfinished"),
    )
