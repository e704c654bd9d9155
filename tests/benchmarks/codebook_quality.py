"""What a codebook of K = 512 has learned: share of live codes, reconstruction of unseen objects, which contact encoder.

    python -m trainables.prepare dexycb SOURCE /tmp/dexycb
    python -m tests.benchmarks.codebook_quality /tmp/dexycb

Trains codebooks alone on one fold of DexYCB's objects and reads every figure on all clips of the objects that were
not trained on (val, gate and test together), in evaluation mode, where no code is ever reset. A code is live if at
least 0.01% of these frames choose it. `volume` and `points` differ in the contact encoder; with --told frame the
codebook's decoder is told every frame's contact point, as the release does. About ten minutes each on one core.
"""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import click
import torch

from trainables.clips import read_clips
from trainables.code_table import CodeTables
from trainables.code_use import code_use
from trainables.evaluate import batches
from trainables.hand import load_hand
from trainables.latentact import LatentAct
from trainables.metrics import CM_PER_M, mpjpe
from trainables.motion import joints_first
from trainables.noise import mix
from trainables.splits import part_clips
from trainables.stages import codebook_stage, fit_statistics
from trainables.trial import part_windows
from trainables.trial_config import TrialConfig
from trainables.windows import Windows

CODES = 512


@torch.no_grad()
def figures(model: LatentAct, unseen: Windows) -> str:
    """Live share and perplexity a quantizer, and reconstruction MPJPE, of windows that do not overlap."""
    assert model.codebook is not None
    codebook, errors, indices = model.codebook.eval(), [], []
    for batch in batches(unseen, 256):
        quantized = codebook.encode(model.target(batch), batch)
        motion_BTC, _ = codebook.decode(quantized.latent_BTD, batch)
        joints = joints_first(model.hand, model.pose(motion_BTC, batch))
        errors.append(mpjpe(joints, batch.joints_ref_BTJ3, batch.camera_known_BT))
        indices.append(quantized.index_BTQ)
    use = code_use(indices, CODES)
    live = ", ".join(f"{share:.3f}" for share in use.live_Q.tolist())
    ppl = ", ".join(f"{value:.0f}" for value in use.perplexity_Q.tolist())
    error_cm, frames = CM_PER_M * float(torch.cat(errors).nanmean()), len(unseen) * unseen.length
    return f"MPJPE {error_cm:.2f} cm; live codes {live}; perplexity {ppl}; {frames} frames"


def run(data: str, setting: str, encoder: str, told: str, epochs: int, seed: int) -> None:
    torch.set_num_threads(1)
    clips, hand = read_clips(data), load_hand()
    config = TrialConfig(
        setting=setting,
        protocol="goal",
        contact_encoder=encoder,
        told=told,
        codes=CODES,
        quantizers=6,
        width=128,
        stride=3,
        batch=32,
        schedule="cosine",
        temperature=0.01,
        codebook_dropout=0.0,
        codebook_forecasts=0.0,
        codebook_joint_weight=4.0,
        quantizer_dropout=0.1,
        dead_below_per_row=1 / 4000,
        codebook_epochs=epochs,
        seed=seed,
    )
    train, val = part_windows(config, clips, "train"), part_windows(config, clips, "val")
    torch.manual_seed(mix(seed))
    model = LatentAct(config.model(data=clips.name, data_digest="", hand=hand.name, encoders={}), hand)
    fit_statistics(model, train)
    started = time.process_time()
    stage = codebook_stage(model, train, val, config, CodeTables(model))
    losses = [metrics["val_loss"] for metrics in stage.run()]
    unseen = torch.cat([part_clips(clips, setting, part) for part in ("val", "gate", "test")])
    windows = Windows(clips, unseen, length=config.window, stride=config.window, protocol="goal")
    if told == "frame":
        windows = windows.with_every_frame_given()
    name = f"{setting} {encoder} told {told} seed {seed}"
    minutes = (time.process_time() - started) / 60
    print(
        f"{name}: val loss {min(losses):.4f}; {figures(model, windows)}; {minutes:.1f} core-minutes",
        flush=True,
    )


@click.command(help=__doc__)
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--setting", default="objects:1/6", show_default=True)
@click.option("--encoders", default="volume,points", show_default=True)
@click.option("--told", default="window", show_default=True)
@click.option("--epochs", default=16, show_default=True)
@click.option("--seeds", default=1, show_default=True)
@click.option("--processes", default=2, show_default=True)
def main(data: Path, setting: str, encoders: str, told: str, epochs: int, seeds: int, processes: int) -> None:
    jobs = [
        (str(data), setting, encoder, told, epochs, seed)
        for seed in range(seeds)
        for encoder in encoders.split(",")
    ]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.starmap(run, jobs, chunksize=1)


if __name__ == "__main__":
    main()
