"""`python -m sweeps ls` and `status` on a store with sweeps in it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweeps.ledger import Ledger
from sweeps.status import read_sweep
from tests.kept_sweeps import PLAN, empty_store, half_done, put, sweeps, trial
from zoo.store import Store

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    return empty_store(tmp_path, monkeypatch)


def test_ls_tells_of_every_sweep_what_it_came_to(store: Store) -> None:
    half_done(store)
    later = trial("objects", 128, ended_s=time.time() + 5)
    put(store, "baselines-world-1", later, plan={**PLAN, "kind": "baselines", "split": "objects"})
    rows = [re.split(r"  +", line) for line in sweeps("ls").splitlines()]
    assert rows[0] == [
        "NAME",
        "KIND",
        "DATA",
        "FIN",
        "STOP",
        "FAIL",
        "OPEN",
        "BEST VAL MPJPE cm",
        "LAST",
        "DRIVER",
    ]
    assert rows[1][:8] == ["baselines-world-1", "baselines", "world", "1", "0", "0", "0", "objects 1.28"]
    assert rows[2][:8] == ["mine", "codebook-size", "world", "2", "1", "1", "1", "objects 2.56, actions -"]
    assert rows[2][8:] == ["0 s ago", "-"]
    assert "baselines-world-1" not in sweeps("ls", "m*") and "mine" in sweeps("ls", "m*")
    assert "No sweep matches 'none-*'" in sweeps("ls", "none-*")


def test_ls_as_json(store: Store) -> None:
    half_done(store)
    (told,) = json.loads(sweeps("ls", "--json"))
    assert told["trials"] == {"finished": 2, "stopped": 1, "failed": 1, "unfinished": 1}
    assert told["best"]["objects"]["params"]["codes"] == 256 and "actions" not in told["best"]
    assert (told["name"], told["driver"], told["settings"]) == ("mine", "none", ["objects", "actions"])
    assert told["last_event"].startswith("20") and told["data_digest"] == "d1" * 32


def test_a_name_that_was_made_from_a_plan_says_its_kind(store: Store) -> None:
    of_old = {name: value for name, value in PLAN.items() if name != "kind"}
    put(store, "codebook-size-world-1234abcd", plan=of_old)
    put(store, "my-name", plan=of_old)
    kinds = {told["name"]: told["kind"] for told in json.loads(sweeps("ls", "--json"))}
    assert kinds == {"codebook-size-world-1234abcd": "codebook-size", "my-name": ""}


def test_status_shows_trials_money_failures_and_what_to_do_next(store: Store) -> None:
    half_done(store)
    said = sweeps("status", "mine")
    assert max(map(len, said.split("\nFailed")[0].splitlines())) <= 100
    assert "search tpe, stopping asha, trials 4, epochs 8, seeds 1, workers 2, protocol first" in said
    assert "2 finished, 1 stopped, 1 failed, 1 unfinished" in said
    # 900 + 900 + 450 s on two workers at 2 USD an hour.
    assert "1.25 GPU hours, 2.50 USD in trials that ended" in said and "by others" not in said
    cells = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in said.splitlines() if line.startswith("|")
    ]
    assert cells[0] == ["codes", "decoder_depth", "seed", "MPJPE cm", "F1", "epochs", "seconds", "status"]
    assert [row[0] for row in cells if row[0].isdigit()] == ["256", "512", "600", "700", "256"]
    assert ["600", "2", "0", "6.00", "0.700", "2", "450", "stopped"] in cells
    assert "Failed (1):\n  objects codes=700 decoder_depth=2 seed=0: loss is not finite" in said
    assert "nobody runs it" in said
    assert "python sweeps/codebook_size.py" in said and "# goes on where it was" in said
    assert "python -m sweeps retry mine" in said


def test_status_tells_own_trials_from_those_of_others(store: Store) -> None:
    put(store, "theirs", trial("objects", 256))
    shared = trial("objects", 256, "unfinished")
    put(store, "mine", shared, trial("objects", 300, reason="out of memory once, finished alone"))
    said = sweeps("status", "mine")
    assert (
        "0.50 GPU hours, 1.00 USD in trials that ended; 0.50 GPU hours were spent before, by others" in said
    )
    assert "| finished, by theirs" in said
    assert "| finished, out of memory" in said  # and the rest of it on the next line
    assert "actions: no trial yet" in said


def test_status_of_what_is_done_says_so_and_shows_the_report(store: Store) -> None:
    ledger = put(store, "mine", trial("objects", 256), plan={**PLAN, "split": "objects"})
    ledger.published("objects", {"lines": ["Registered:  latentact-world-objects@1, champion."]})
    said = sweeps("status", "mine")
    assert "Registered:  latentact-world-objects@1, champion." in said
    assert said.endswith("Next:\n  Nothing is left to do.\n")


def test_status_says_why_it_was_stopped_until_somebody_goes_on(store: Store) -> None:
    ledger = half_done(store)
    ledger.note("stop", reason="--budget-usd 5 is used up")
    assert "nobody runs it; --budget-usd 5 is used up" in sweeps("status", "mine")
    ledger.note("session", device="cuda")
    assert "used up" not in sweeps("status", "mine")


def test_status_of_many_trials_is_short_unless_all_are_asked_for(store: Store) -> None:
    put(store, "mine", *(trial("objects", codes) for codes in range(100, 130)))
    assert "and 10 more (--all shows them)" in sweeps("status", "mine")
    everything = sweeps("status", "mine", "--all")
    assert "more (--all" not in everything and "| 129" in everything.replace("|   129", "| 129")


def test_status_as_json_holds_every_trial(store: Store) -> None:
    half_done(store)
    told = json.loads(sweeps("status", "mine", "--json"))
    assert [t["status"] for t in told["by_setting"]["objects"]] == [
        "finished",
        "finished",
        "stopped",
        "failed",
    ]
    assert told["by_setting"]["objects"][3]["reason"] == "loss is not finite"
    assert told["worker_seconds"] == 4500.0 and told["usd_per_hour"] == 2.0
    assert told["plan"]["space"]["codes"] == "128:1024 log" and told["live"] is None


@pytest.mark.parametrize("command", ["status", "watch", "stop", "retry"])
def test_an_unknown_name_brings_up_those_like_it(store: Store, command: str) -> None:
    assert "is that the store you mean ($LATENTACT_ZOO)?" in sweeps(command, "mine", code=1)
    half_done(store)
    assert "There is no sweep mind in file:///" in (said := sweeps(command, "mind", code=1))
    assert "Did you mean mine?" in said and said.count("\n") == 1
    assert "`python -m sweeps ls` shows the 1 there are" in sweeps(command, "other", code=1)


def test_a_store_that_does_not_answer_is_one_sentence(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTACT_ZOO", "ftp://nowhere")
    assert "is not a zoo's address" in (said := sweeps("ls", code=1)) and said.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["--help"], ["ls"], ["ls", "--json"], ["status", "mine"], ["stop", "mine"]]
)
def test_looking_is_cheap(store: Store, arguments: list[str]) -> None:
    """None of these may pay for what training needs, and a machine without it can look."""
    half_done(store)
    script = f"""
import sys
from sweeps.__main__ import main
try:
    main({arguments!r})
except SystemExit as exit:
    assert not exit.code
heavy = {{"torch", "mlflow", "ray", "optuna", "trainables", "pandas", "scipy"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=False, timeout=120, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_what_a_store_of_earlier_versions_holds_is_read(store: Store) -> None:
    """Plans without most of today's fields, workers as a number, no notes."""
    old = {"data": "world", "data_digest": "ab", "split": "objects", "epochs": 8, "seeds": 1, "seed": 0, "workers": 1,
           "protocol": "first", "codes": "128:1024", "depth": "1:4", "trials": 4}  # fmt: skip
    ledger = Ledger(store, "codebook-size-world-11112222", session="old")
    ledger.plan(old)
    record = trial("objects", 1, params={"codes": 1, "depth": 2, "seed": 0})
    ledger.started(record.identity, "objects", "search", record.params, 1)
    ledger.ended(record)
    assert read_sweep(store, ledger.sweep).worker_seconds(own=True) == 900.0
    assert "depth" in sweeps("status", ledger.sweep) and "0.25 core hours" in sweeps("status", ledger.sweep)
    assert "codebook-size" in sweeps("ls")
