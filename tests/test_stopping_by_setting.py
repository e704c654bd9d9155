"""One stopper a setting: none hears of another's trials, nor of repeats; by itself, and where Tune asks on a real Ray."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ray.tune")
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from sweeps.stopping import BySetting
from tests.tune_trials import NOBODY, random_curve, run, stopper, trial

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("method", ["asha", "hyperband", "pareto"])
def test_settings_never_influence_each_other(method: str) -> None:
    rng = np.random.default_rng(0)
    curves = {f"{setting}{n}": random_curve(rng, 12) for setting in "ab" for n in range(40)}
    # One setting is harder by far: judged together, all its trials would be stopped.
    curves = {name: [v * (10 if name[0] == "b" else 1) for v in values] for name, values in curves.items()}
    alone = {setting: stopper(method, 12) for setting in "ab"}
    together = BySetting({setting: stopper(method, 12) for setting in "ab"})
    order = rng.permutation(sorted(curves)).tolist()
    lengths = {name: run(alone[name[0]], trial(name), curves[name]) for name in order}
    assert {name: run(together, trial(name, name[0]), curves[name]) for name in order} == lengths
    assert {lengths[name] == 12 for name in order if name[0] == "b"} == {True, False}


@pytest.mark.parametrize("phase", ["repeat", "comparison"])
def test_only_searched_trials_are_stopped(phase: str) -> None:
    both = BySetting({"objects": stopper("asha", 12)})
    assert run(both, trial("a"), [5.0] * 12) == 12
    assert run(both, trial("b", phase=phase), [50.0] * 12) == 12
    # Nor does another seed of a finalist raise the bar of the search.
    assert run(both, trial("c", phase=phase), [1.0] * 12) == 12
    assert run(both, trial("d"), [4.0] * 12) == 12


class Listener(FIFOScheduler):
    """Writes down what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, str]] = []

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        self.heard.append(("add", trial.config["identity"]))

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        self.heard.append(("error", trial.config["identity"]))

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        self.heard.append(("result", trial.config["identity"]))
        return self.STOP

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        self.heard.append(("complete", trial.config["identity"]))

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        self.heard.append(("remove", trial.config["identity"]))


def test_every_word_reaches_the_stopper_of_its_setting() -> None:
    listeners = {"objects": Listener(), "actions": Listener()}
    both = BySetting(listeners)
    one, other = trial("o"), trial("r", phase="repeat")
    for subject, decision in ((one, "STOP"), (other, "CONTINUE")):
        both.on_trial_add(NOBODY, subject)
        assert both.on_trial_result(NOBODY, subject, {}) == decision
        both.on_trial_error(NOBODY, subject)
        both.on_trial_complete(NOBODY, subject, {})
        both.on_trial_remove(NOBODY, subject)
    assert listeners["objects"].heard == [(w, "o") for w in ("add", "result", "error", "complete", "remove")]
    assert listeners["actions"].heard == []
    assert "objects: " in both.debug_string()
    assert "actions: " in both.debug_string()
    assert both.set_search_properties("mpjpe_cm", "min")


def test_trials_run_in_the_order_in_which_they_came() -> None:
    both = BySetting({"objects": stopper("asha", 12), "actions": stopper("none", 12)})
    trials = [trial("a"), trial("b", "actions"), trial("c", phase="repeat")]
    controller: Any = SimpleNamespace(get_trials=lambda: trials)
    chosen = []
    while (one := both.choose_trial_to_run(controller)) is not None:
        assert both.choose_trial_to_run(controller) is one
        chosen.append(one.config["identity"])
        one.set_status(Trial.RUNNING)
    assert chosen == ["a", "b", "c"]


DRIVER = """
import json, os, sys
os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"
os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
import ray
from ray import tune
from sweeps.space import OBJECTIVES
from sweeps.stopping import BySetting, make_stopper

folder, EPOCHS = sys.argv[1], 8
LEVELS = {  # identity: MPJPE; the second setting is harder
    "objects": {"o1": 5.0, "o2": 6.0, "o3": 4.0}, "actions": {"a1": 50.0, "a2": 60.0, "a3": 40.0},
}

def train(config):
    tune.report({"trial_seconds": 0.1, "stage_seconds": {"codebook": 0.1}})
    level, curve = LEVELS[config["setting"]][config["identity"][:2]], []
    for epoch in range(1, EPOCHS + 1):
        if config["identity"] == "o3" and epoch == 4 and not os.path.exists(f"{folder}/lost"):
            open(f"{folder}/lost", "w").close()
            os._exit(1)  # as a node that is lost
        curve.append([epoch, level])
        with open(f"{folder}/{config['identity']}", "w") as file:
            file.write(str(epoch))
        tune.report({"predictor_epoch": epoch, "mpjpe_cm": level, "curve": curve, "best": {"mpjpe_cm": level},
                     "parameters": 1000, "latency_ms": 1.0, "contact_f1": 0.5})

ray.init(address="auto", log_to_driver=False)
names = [*LEVELS["objects"], *LEVELS["actions"], "a2 repeat"]
setting = tune.sample_from(lambda spec: "objects" if spec.config["identity"][0] == "o" else "actions")
phase = tune.sample_from(lambda spec: spec.config["identity"].partition(" ")[2] or "search")
scheduler = BySetting({
    s: make_stopper("asha", epochs=EPOCHS, objectives=[OBJECTIVES["mpjpe_cm"]], ended=[]) for s in LEVELS
})
results = tune.Tuner(
    tune.with_resources(train, {"cpu": 1}),
    param_space={"identity": tune.grid_search(names), "setting": setting, "phase": phase},
    tune_config=tune.TuneConfig(metric="mpjpe_cm", mode="min", scheduler=scheduler, max_concurrent_trials=1,
                               reuse_actors=True),
    run_config=tune.RunConfig(
        storage_path=f"{folder}/tune", verbose=0, failure_config=tune.FailureConfig(max_failures=1)
    ),
).fit()
print(json.dumps({"errors": results.num_errors, "ends": {n: int(open(f"{folder}/{n}").read()) for n in names}}))
"""


@pytest.mark.slow
def test_tune_itself_stops_what_the_stoppers_say(head: dict[str, str], tmp_path: Path) -> None:
    """On a real Ray, one trial after the other; the process of one is lost and comes again."""
    output = subprocess.run(
        [sys.executable, "-c", DRIVER, str(tmp_path)],
        env=head | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=240,
        check=True,
    ).stdout
    told = json.loads(output.splitlines()[-1])
    # Two epochs are the first rung; a lost trial begins anew, since these have no checkpoints.
    ends = {"o1": 8, "o2": 2, "o3": 8, "a1": 8, "a2": 2, "a3": 8, "a2 repeat": 8}
    assert told == {"errors": 0, "ends": ends}
