"""Speed of training and evaluation at the paper's size, in matrix products, and the memory they take.

    python -m tests.benchmarks.training_speed                 # every case, each in a process of its own
    python -m tests.benchmarks.training_speed codebook-volume --precision bfloat16

The unit `mm` is the median time of a 2048 x 2048 x 2048 product of float32 matrices in the same process, so that
figures of unlike machines can be compared. One step is everything: gathering the batch, forward, backward, clipping,
AdamW, averaged weights, EMA codes. Networks as the paper has them: window 30, K = 512, Q = 6, D = 512, one layer, one
head, no norm, dropout 0.2, image features of 768 and text features of 512; every frame has a contact point, and the
codebook's decoder is told of every frame. The released code, timed the same way (2 threads of an EPYC, mm = 0.097 s):
codebook step 43 mm as shipped and 35 with its debug switches off, at 7.9 GB; predictor step 31 and 28; indexer step at
batch 32, 12; evaluation of 128 windows, 29.
"""

from __future__ import annotations

import dataclasses
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import click
import torch

from tests.made_up_clips import random_clip, write
from trainables.clips import read_clips
from trainables.evaluate import evaluate
from trainables.frozen_encoders import FeatureTables
from trainables.hand import load_hand
from trainables.latentact import LatentAct
from trainables.optimisation import StageRun
from trainables.stages import codebook_stage, fit_statistics, indexer_stage, predictor_stage
from trainables.trial_config import TrialConfig
from trainables.windows import Windows

PAPER = {
    "setting": "objects",
    "image_encoder": "deit",
    "text_encoder": "clip",
    "codes": 512,
    "quantizers": 6,
    "width": 512,
    "heads": 1,
    "norm": False,
    "dropout": 0.2,
    "told": "frame",
    "joint_weight": 0.0,
    "quantizer_dropout": 0.0,  # every step runs all stages: the dearest
    "batch": 128,
    "codebook_epochs": 10**6,
    "indexer_epochs": 10**6,
    "epochs": 10**6,
}
# case -> (stage, changes, limit in mm as the project set it itself)
CASES: dict[str, tuple[str, dict[str, object], float]] = {
    "codebook-volume": ("codebook", {}, 24.0),
    "codebook-points": ("codebook", {"contact_encoder": "points"}, 18.0),
    "predictor-true-codes": ("predictor", {"true_codes": 1.0}, 9.0),  # as the release trains it
    "predictor-frozen-indexer": ("predictor", {"code_weight": 0.0}, 9.0),
    "predictor-joint-loss": ("predictor", {"code_weight": 0.0, "joint_weight": 2.0}, 9.0),
    # The default trains the indexer beside the predictor: two stages in one step, and no limit of its own.
    "predictor-and-indexer": ("predictor", {"joint_weight": 2.0}, float("inf")),
    "indexer": ("indexer", {"batch": 32}, 3.0),
    "evaluation": ("evaluation", {}, 8.0),
}


def matrix_product_s() -> float:
    """Median seconds of a 2048^3 product of float32 matrices."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    return median(_timed(lambda: a @ b) for _ in range(9))


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def benchmark_windows(folder: Path) -> Windows:
    """512 windows of random motion with random features, every frame in contact."""
    clips = read_clips(str(write(folder / "data", [random_clip(f"clip-{i}", 93, seed=i) for i in range(8)])))
    clips = dataclasses.replace(
        clips,
        point_known_F=torch.ones_like(clips.point_known_F),
        image_F=torch.arange(clips.frames),
        images_I=torch.zeros(clips.frames, 1, 1, 3, dtype=torch.uint8),
    )
    features = FeatureTables(
        image_IF=torch.randn(clips.frames, 768), text_XF=torch.randn(len(clips.texts), 512), digests={}
    )
    return Windows(clips, torch.arange(len(clips)), features=features)


def steps(run: StageRun, count: int) -> list[float]:
    """Seconds of each of `count` steps after two that warm up."""
    seconds: list[float] = []
    update, started = run._update, time.perf_counter()

    class Enough(Exception):
        pass

    def timed(loss: torch.Tensor) -> None:
        nonlocal started
        update(loss)
        now = time.perf_counter()
        seconds.append(now - started)
        started = now
        if len(seconds) == count + 2:
            raise Enough

    run._update = timed  # type: ignore[method-assign]
    try:
        for _ in run.run():
            started = time.perf_counter()
    except Enough:
        return seconds[2:]
    raise AssertionError("the budget ended before the benchmark")


def measure(case: str, config: TrialConfig, windows: Windows, count: int) -> list[float]:
    """Seconds of each repetition of a case."""
    torch.manual_seed(0)
    hand = load_hand()
    shape = config.model(data="made_up", data_digest="", hand=hand.name, encoders={})
    model = LatentAct(shape, hand)
    fit_statistics(model, windows)
    codebook = model.codebook
    assert codebook is not None
    with torch.no_grad():  # codes as different as trained ones
        codebook.quantizer.codes_QKD.normal_(std=0.3)
    if case == "evaluation":
        model.eval()
        part = Windows(windows.clips, torch.arange(2), features=windows.features)
        assert len(part) == 128
        call = lambda: evaluate(model.forecast, part, "object", batch=128)
        for _ in range(2):
            call()
        return [_timed(call) for _ in range(count)]
    stage = {"codebook": codebook_stage, "indexer": indexer_stage, "predictor": predictor_stage}[
        CASES[case][0]
    ]
    run = stage(model, windows, windows, config)
    run.score = lambda module: (0.0, {})
    return steps(run, count)


@click.command(help=__doc__)
@click.argument("case", type=click.Choice([*CASES]), required=False)
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True)
@click.option("--count", default=8, show_default=True, help="Steps timed.")
@click.option("--threads", default=2, show_default=True)
def main(case: str | None, precision: str, count: int, threads: int) -> None:
    if case is None:
        for name in CASES:
            options = ["--precision", precision, "--count", str(count), "--threads", str(threads)]
            subprocess.run(
                [sys.executable, "-m", "tests.benchmarks.training_speed", name, *options], check=True
            )
        return
    torch.set_num_threads(threads)
    _, changes, limit = CASES[case]
    config = TrialConfig(**{**PAPER, **changes, "precision": precision})  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        windows = benchmark_windows(Path(folder))
        before = matrix_product_s()
        taken = measure(case, config, windows, count)
        mm = median([before, matrix_product_s()])
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    in_mm = sorted(second / mm for second in taken)
    click.echo(
        f"{case:22} {precision}: median {median(in_mm):5.1f} mm "
        f"({in_mm[0]:.1f} to {in_mm[-1]:.1f}), limit {limit:g}; mm = {mm:.3f} s; peak {peak_gb:.2f} GB"
    )


if __name__ == "__main__":
    main()
