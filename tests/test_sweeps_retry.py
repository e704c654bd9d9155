"""`python -m sweeps retry`: the command that a sweep came from, printed or submitted."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.kept_sweeps import PLAN, empty_store, half_done, put, sweeps, trial
from zoo.store import Store

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    return empty_store(tmp_path, monkeypatch)


def command_of(store: Store, name: str = "mine") -> str:
    return sweeps("retry", name).splitlines()[-1]


def test_retry_prints_the_command_that_the_last_driver_noted(store: Store) -> None:
    put(store, "mine", trial("objects", 1, "failed", reason="x"), command="/job/sweeps/joint.py --data 's3://a b' --trials 9 --retry failed --dry-run")  # fmt: skip
    assert command_of(store) == (
        "python sweeps/joint.py --data 's3://a b' --trials 9 --name mine --retry failed"
    )
    put(store, "named", trial("objects", 1, "failed", reason="x"), command="sweeps/joint.py --name=named --retry=failed")  # fmt: skip
    assert command_of(store, "named") == "python sweeps/joint.py --name=named --retry failed"


def test_without_a_note_retry_makes_the_command_from_the_plan(store: Store) -> None:
    half_done(store)
    assert command_of(store) == (
        "python sweeps/codebook_size.py --split objects,actions --epochs 8 --seeds 1 --workers 2 --protocol first "
        "--seed 0 --trials 4 --search tpe --stop-by asha --finalists 4 --codes 128:1024 --depth 1,2 "
        "--objectives mpjpe_cm,parameters --set batch=64 --set norm=false --name mine --retry failed"
    )
    compared = {k: v for k, v in PLAN.items() if k in ("data", "data_digest", "split", "epochs", "seeds", "seed", "workers", "protocol")}  # fmt: skip
    compared |= {
        "kind": "baselines",
        "contenders": {"a": {}},
        "untrained": [],
        "folds": 6,
        "mode": "forecast",
    }
    put(store, "rivals", trial("objects", 1), plan=compared)
    assert "No trial of rivals has failed" in sweeps("retry", "rivals")
    assert command_of(store, "rivals") == (
        "python sweeps/baselines.py --split objects,actions --epochs 8 --seeds 1 --workers 2 --protocol first "
        "--folds 6 --mode forecast --name rivals"
    )


@pytest.mark.parametrize(
    "change", [{"kind": "none-such"}, {"start_from": "12ab"}, {"space": {"width": "64,128"}}]
)
def test_a_plan_that_does_not_tell_its_command_says_what_it_was(store: Store, change: dict[str, Any]) -> None:
    put(store, "mine", trial("objects", 1, "failed", reason="x"), plan={**PLAN, **change})
    said = sweeps("retry", "mine", code=1)
    assert "does not tell the command it came from: repeat that one, with --name mine" in said
    assert "trials 4" in said
    assert "repeat that one" in sweeps("status", "mine")


def test_the_command_of_a_plan_gives_that_plan_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `retry` prints, read by the scripts themselves, is the same request to the last field."""
    from sweeps import baselines, codebook_size
    from sweeps.comparison_plan import ComparisonPlan
    from sweeps.plan import Plan
    from tests.tiny_clips import tiny_clips

    tiny_clips(tmp_path / "data")
    monkeypatch.setenv("LATENTACT_DATA", f"{tmp_path}/data")
    monkeypatch.chdir(ROOT)
    planned: list[Plan] = []

    def keep(plan: Plan, *rest: Any, **more: Any) -> int:
        planned.append(plan)
        return 0

    monkeypatch.setattr("sweeps.sweep.run_sweep", keep)
    monkeypatch.setattr("sweeps.comparison.run_comparison", keep)
    asked = {
        codebook_size: "--codes 64:512 --depth 1,3 --trials 7 --set batch=16 --set norm=false --seed 4 --stop-by none",
        baselines: "--seeds 2 --epochs 3 --mode interpolate --set width=32",
    }
    for script, options in asked.items():
        done = CliRunner().invoke(script.main, options.split(), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        plan = planned[-1]
        put(store, plan.name, plan=plan.record())
        words = command_of(store, plan.name).split()
        assert words[:2] == ["python", f"sweeps/{Path(str(script.__file__)).name}"]
        done = CliRunner().invoke(script.main, words[2:], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert planned[-1] is not plan and planned[-1].record() == plan.record()
        assert planned[-1].name == plan.name
    assert isinstance(planned[-1], ComparisonPlan)


@pytest.mark.slow
def test_retry_can_be_submitted_to_a_cluster(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.ray_head import ray_head

    put(
        store, "mine", trial("objects", 1, "failed", reason="x"), command="sweeps/joint.py --help --set 'a b;$HOME=1'"
    )  # fmt: skip
    # What a cluster calls python is for its image to say; here it is this one.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    with ray_head() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        address = environment["RAY_API_SERVER_ADDRESS"]
        said = sweeps("retry", "mine", "--submit", address)
    assert "Submitted as raysubmit_" in said and "Usage: joint.py [OPTIONS]" in said


def test_no_cluster_to_submit_to_is_one_sentence(store: Store) -> None:
    put(store, "mine", trial("objects", 1, "failed", reason="x"), command="sweeps/joint.py")
    said = sweeps("retry", "mine", "--submit", "http://127.0.0.1:9", code=1)
    assert "The Ray cluster at http://127.0.0.1:9 did not take the job" in said.replace("\n", " ")
