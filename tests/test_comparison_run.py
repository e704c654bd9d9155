"""The comparison scripts and fine-tuning on a real Ray cluster, with real trainings of a second."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ray_head import ray_head
from test_start_from import BUDGET, NAME, SMALL, put

from tests.tiny_clips import tiny_clips
from trainables.trial import train_trial
from trainables.trial_config import TrialConfig
from zoo.store import open_store, read_json

ROOT = Path(__file__).resolve().parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass
class Scripts:
    """The scripts of sweeps/ on one data set, one store and one cluster."""

    folder: Path
    environment: dict[str, str]

    def run(self, script: str, *options: str, **fixed: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "sweeps" / f"{script}.py"), "--data", str(self.folder / "data")]
        for name, value in fixed.items():
            command += ["--set", f"{name}={value}"]
        environment = self.environment | {"LATENTACT_ZOO": f"file://{self.folder}/store"}
        return subprocess.run(
            [*command, "--epochs", "1", *options],
            env=environment,
            text=True,
            capture_output=True,
            check=False,
        )

    def compare(self, script: str, *options: str) -> dict[str, Any]:
        """The table of a comparison that ends well."""
        out = self.folder / "out" / script
        small = {**SMALL, "codebook_epochs": 1, "indexer_epochs": 1}
        done = self.run(script, "--out", str(out), *options, **small)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "| rank | method |" in done.stdout  # Markdown at the end of the log
        assert (out / "objects" / "comparison.md").read_text() in done.stdout
        return json.loads((out / "objects" / "comparison.json").read_text())

    def kept(self) -> set[str]:
        return set(open_store(f"file://{self.folder}/store").list(""))

    def shelved(self, stage: str) -> int:
        """How many codebooks or indexers have been trained."""
        return sum(key.startswith(f"{stage}s/") and key.endswith("/weights.json") for key in self.kept())


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripts]:
    folder = tmp_path_factory.mktemp("comparison")
    tiny_clips(folder / "data")
    with ray_head() as environment:
        yield Scripts(folder, environment)


def test_both_comparisons_and_then_nothing_more_to_train(scripts: Scripts) -> None:
    baselines = scripts.compare("baselines")
    rows = {row["name"]: row for row in baselines["rows"]}
    assert rows.keys() == {
        "latentact", "transformer", "diffusion", "diffusion-codebook", "retrieval", "mean trajectory",
    }  # fmt: skip
    assert sorted(row["rank"] for row in rows.values()) == [1, 2, 3, 4, 5, 6]
    assert {row["epochs"] for row in rows.values()} == {"1+1+1", "3", ""}
    assert all(
        row["mpjpe_cm"]["estimate"] > 0 and row["parameters"] > 0 for n, row in rows.items() if row["seeds"]
    )
    # The codebook and the indexer of the two that have one were trained once, and their seconds count in both.
    assert (scripts.shelved("codebook"), scripts.shelved("indexer")) == (1, 1)
    assert not any(row["seconds_are_least"] for row in rows.values())

    ablations = scripts.compare("ablations")
    assert len(ablations["rows"]) == 7 and ablations["rows"][-1]["oracle"] is True
    same = next(row for row in ablations["rows"] if row["name"] == "latentact")
    assert same["mpjpe_cm"] == rows["latentact"]["mpjpe_cm"], (
        "the trial of the other comparison was not reused"
    )
    assert sum(key.startswith("ledger/trials/") for key in scripts.kept()) == 4 + 7 - 2
    assert sum(key.startswith("evaluations/test/") for key in scripts.kept()) == 4 + 7 - 2
    assert (scripts.shelved("codebook"), scripts.shelved("indexer")) == (1 + 4, 1 + 4)

    before = scripts.kept()
    assert scripts.compare("baselines") == baselines
    assert scripts.compare("ablations") == ablations
    assert scripts.kept() == before, "the second run trained or wrote something"

    refused = scripts.run("ablations", "--name", baselines["name"])
    assert refused.returncode == 1 and "exists with other settings" in refused.stderr


def test_fine_tuning_a_model_of_the_zoo(scripts: Scripts) -> None:
    clips = tiny_clips(scripts.folder / "again")
    config = TrialConfig(setting="objects", decoder_depth=2, **SMALL, **BUDGET)
    figures: list[dict[str, Any]] = []
    model = train_trial(config, clips, report=lambda metrics, save: figures.append(metrics))
    store = open_store(f"file://{scripts.folder}/store")
    put(model, store, scripts.folder / "bundle")

    start = ("--start-from", f"{NAME}@1", "--no-publish", "--name")
    training = {"stride": 1, "batch": 32}
    still = {"learning_rate": 0.0, "codebook_epochs": 0, "indexer_epochs": 0}
    for name, fixed in (("still", training | still), ("tuned", training)):
        done = scripts.run("codebook_size", *start, name, **fixed)
        assert done.returncode == 0, done.stdout + done.stderr
    ended = {
        event["sweep"]: event
        for event in (read_json(store, key) for key in store.list("ledger/trials/"))
        if event["event"] == "finished" and event["sweep"] in ("still", "tuned")
    }
    for metric in ("mpjpe_cm", "contact_f1"):  # step 0 is the zoo's model
        assert ended["still"]["metrics"][metric] == figures[-1][metric], metric
    assert ended["still"]["params"] == {"codes": 16, "decoder_depth": 2, "seed": 0}
    assert ended["tuned"]["metrics"]["mpjpe_cm"] != figures[-1]["mpjpe_cm"]

    refused = scripts.run("codebook_size", *start, "other", "--codes", "32")
    assert refused.returncode == 1 and "has codes 16" in refused.stderr
