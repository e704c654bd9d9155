"""Small bundles with random weights, for the tests of the zoo."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from zoo import model_card

DIGEST = "d" * 64


def write_bundle(
    folder: Path,
    *,
    seed: int = 0,
    data: str = "world",
    setting: str = "objects",
    mode: str = "forecast",
    window: int = 30,
    errors_cm: list[float] | None = None,
) -> Path:
    """A bundle of 12 gate clips in 6 held-out groups; `errors_cm` gives each group's error."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    save_file({"weight": rng.normal(size=(64, 32)).astype(np.float32)}, folder / "model.safetensors")
    model = {
        "data": data, "data_digest": DIGEST, "setting": setting, "mode": mode, "protocol": "first",
        "window": window, "hand": "standin-1",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps({"schema": 1, "model": model}))
    (folder / "metrics.json").write_text(json.dumps(metrics(errors_cm or [3.0] * 6)))
    body = f"# latentact-{data}-{setting}\n\nRandom weights, seed {seed}.\n"
    (folder / "card.md").write_text(model_card.write(card_metadata(model, seed), body))
    return folder


def card_metadata(model: dict, seed: int = 0) -> dict:
    """What a complete card says of a model (its config.json's `model`)."""
    return {
        "license": "apache-2.0", "method": "LatentAct (CVPR 2025)", "data": model["data"],
        "data_digest": model["data_digest"], "setting": model["setting"], "mode": model["mode"],
        "protocol": model["protocol"], "window": model["window"], "seeds": {"model": seed, "compared": [seed]},
        "code": {"version": "0.1.0", "trainables": "c" * 64}, "hardware": {"device": "cpu", "workers": 1},
        "training_cost": {"predictor_s": 1.0}, "hand": model["hand"], "mano": "not needed, and not in the bundle",
        "test_reads": 1, "sweep": "none", "trial": f"random-{seed}", "codebook": "none",
    }  # fmt: skip


def metrics(errors_cm: list[float]) -> dict:
    clips = [
        {"clip": f"clip-{i}", "group": f"shape-{i // 2}", "mpjpe_cm": errors_cm[i // 2] + 0.1 * (i % 2), "windows": 20 + i}
        for i in range(2 * len(errors_cm))
    ]  # fmt: skip
    figures = {"mpjpe_cm": {"estimate": 3.25, "low": 3.0, "high": 3.5, "groups": 6, "clips": 12}}
    return {
        "schema": 1,
        "metric_version": 1,
        "gate": {"clips": clips},
        "val": {"metrics": figures},
        "test": {},
    }
