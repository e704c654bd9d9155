"""The loop of one stage: learning rate, averaged weights, best epoch, precision."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.tiny_clips import tiny_clips
from tests.tiny_trials import checkpoint, tiny, train
from trainables.clips import Clips
from trainables.optimisation import OptimisationConfig, StageRun
from trainables.trial import part_windows
from trainables.trial_config import METHODS


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return tiny_clips(tmp_path_factory.mktemp("data") / "tiny", clips=16)


class Numbers:
    """Windows that are but their own index: 32 of them, in four batches of 8."""

    def __len__(self) -> int:
        return 32

    def gather(self, index: torch.Tensor) -> torch.Tensor:
        return index.double()


def stage_run(scores: list[float] | None = None, **changes: Any) -> StageRun:
    """A single weight that is drawn to 1; `scores` are the figures of the epochs, in order."""
    module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)
    config = OptimisationConfig(
        **{"epochs": 4, "batch": 8, "learning_rate": 0.1, "weight_decay": 0.0, **changes}
    )
    figures = iter(scores or [0.0] * 100)
    return StageRun(
        "predictor", module, Numbers(), config, 0,  # type: ignore[arg-type]
        loss=lambda m, batch, noise: (m.weight - 1).square().sum(),
        score=lambda m: ((figure := next(figures)), {"figure": figure}),
    )  # fmt: skip


def rates(run: StageRun) -> list[float]:
    """The learning rate that the optimiser really used, step by step."""
    used: list[float] = []
    step = run.optimiser.step

    def recorded(*args: Any, **kwargs: Any) -> Any:
        used.append(run.optimiser.param_groups[0]["lr"])
        return step(*args, **kwargs)

    run.optimiser.step = recorded  # type: ignore[method-assign]
    for _ in run.run():
        pass
    return used


def test_the_constant_rate_follows_a_linear_warm_up() -> None:
    used = rates(stage_run(warmup_steps=5))
    assert used[:6] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.1]) and len(used) == 16
    assert used[5:] == pytest.approx([0.1] * 11)
    assert rates(stage_run(warmup_steps=0)) == pytest.approx([0.1] * 16)


def test_the_constant_rate_does_not_know_the_budget_and_the_cosine_does() -> None:
    short, long = (rates(stage_run(epochs=n, warmup_steps=3)) for n in (2, 4))
    assert long[:8] == short
    short, long = (rates(stage_run(epochs=n, schedule="cosine")) for n in (2, 4))
    assert long[:8] != short


def test_the_cosine_rate_falls_from_all_to_almost_none() -> None:
    used = rates(stage_run(schedule="cosine", warmup_steps=0))
    assert used == pytest.approx([0.05 * (1 + math.cos(math.pi * step / 16)) for step in range(16)])
    assert used[0] == 0.1 and used[8] == pytest.approx(0.05) and 0 < used[-1] < 0.001
    warm = rates(stage_run(schedule="cosine", warmup_steps=4))
    assert warm[:4] == pytest.approx([rate * (step + 1) / 4 for step, rate in enumerate(used[:4])])
    assert warm[4:] == pytest.approx(used[4:])


def test_the_best_epoch_is_kept_and_its_metrics_are_its_own() -> None:
    run = stage_run([3.0, 1.0, 2.0, 1.0], average=0.0)
    weights, reports = [], []
    for report in run.run():
        weights.append(run.module.weight.item())
        reports.append(report)
    assert [report["figure"] for report in reports] == [3.0, 1.0, 2.0, 1.0]
    assert len(set(weights)) == 4 and run.module.weight.item() == weights[1]  # the first of equals
    assert run.best_score == 1.0 and run.best_metrics == {"figure": 1.0}


def test_averaged_weights_lag_behind_and_without_averaging_do_not() -> None:
    lagging, exact = stage_run(average=0.99), stage_run(average=0.0)
    next(lagging.run()), next(exact.run())
    assert 0 < lagging.averaged.weight.item() < lagging.module.weight.item()
    assert exact.averaged.weight.item() == exact.module.weight.item() == lagging.module.weight.item()


def test_every_window_is_seen_once_an_epoch_in_an_order_of_its_own() -> None:
    run = stage_run(epochs=2)
    seen: list[list[float]] = []
    loss = run.loss
    run.loss = lambda module, batch, noise: (seen.append(batch.tolist()), loss(module, batch, noise))[1]  # type: ignore[func-returns-value]
    for _ in run.run():
        pass
    first, second = ([number for batch in seen[i : i + 4] for number in batch] for i in (0, 4))
    assert sorted(first) == sorted(second) == list(range(32)) and first != second


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ValueError, match="32 training windows in batches of 4 cannot be shared by 1 workers"):
        stage_run(batch=4)


@pytest.mark.parametrize("method", METHODS)
def test_bfloat16_trains_and_gives_finite_float32(clips: Clips, method: str, tmp_path: Path) -> None:
    once = {"codebook_epochs": 1, "indexer_epochs": 1, "epochs": 1}
    forecasts = {}
    for precision in ("float32", "bfloat16"):
        config = tiny(method=method, precision=precision, **once)
        model, recorder = train(config, clips, tmp_path / precision)
        assert all(math.isfinite(report["loss"]) for report in recorder.reports)
        assert all(p.dtype == torch.float32 and p.isfinite().all() for p in model.parameters())
        tensors, _ = checkpoint(tmp_path / precision / f"{len(recorder.reports) - 1}")
        assert not [name for name, value in tensors.items() if value.dtype == torch.bfloat16]
        with torch.no_grad():
            prediction = model.forecast(part_windows(config, clips, "val").gather(torch.arange(8)))
        for value in (prediction.joints_ref_BTJ3, prediction.contact_logits_BTV, prediction.transl_BT3):
            assert value.dtype == torch.float32 and value.isfinite().all()
        forecasts[precision] = prediction.joints_ref_BTJ3
    apart = (forecasts["bfloat16"] - forecasts["float32"]).abs().max()
    assert 0 < apart < 0.1  # metres: it is another arithmetic, and about the same model


def test_training_learns(clips: Clips) -> None:
    _, recorder = train(tiny(method="transformer", epochs=8, warmup_steps=0, learning_rate=1e-2), clips)
    losses = [report["loss"] for report in recorder.reports]
    assert losses[-1] < 0.8 * losses[0]
