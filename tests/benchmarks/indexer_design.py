"""One token a frame with a head a quantizer, or one token a frame and quantizer as the release: which indexer is better?

    python -m trainables.prepare dexycb SOURCE /tmp/dexycb
    python -m tests.benchmarks.indexer_design /tmp/dexycb

Both are trained end to end on the same codebooks (one a seed) of one fold of DexYCB's objects, contact protocol `goal`,
and compared window by window on its validation part. About two minutes a seed and design on one core.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from pathlib import Path

import click
import torch
from torch import Tensor, nn

from trainables import latentact
from trainables.clips import read_clips
from trainables.evaluate import evaluate
from trainables.evaluation import Evaluation, average_seeds
from trainables.indexer import Indexer, IndexerConfig
from trainables.noise import SampleNoise
from trainables.splits import setting_group
from trainables.transformer import learned
from trainables.trial import part_windows, train_trial
from trainables.trial_config import TrialConfig, stage_identities
from trainables.windows import Inputs

DESIGNS = ("frame", "place")
BUDGET = {"stride": 10, "codes": 256, "quantizers": 3, "codebook_epochs": 5, "indexer_epochs": 2, "epochs": 5}


class PlaceIndexer(Indexer):
    """T x Q tokens, as the released indexer has, without its attention, which is constant."""

    def __init__(self, config: IndexerConfig) -> None:
        super().__init__(config)
        width = config.width
        self.query_TD = learned(config.window * config.quantizers, width, scale=1.0)
        self.classify = nn.Sequential(  # type: ignore[assignment]
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, config.codes)
        )

    def forward(self, inputs: Inputs, noise: SampleNoise | None = None) -> Tensor:
        told_BD = self.memory(self.conditions(inputs))
        x_BSD = self.norm_query(self.query_TD + self.value(told_BD)[:, None])
        x_BSD = self.norm(x_BSD + self.feed_forward(x_BSD))
        return self.classify(x_BSD).unflatten(1, (self.config.window, self.config.quantizers))


def run(data: str, design: str, seed: int, shelf: str) -> Evaluation:
    torch.set_num_threads(1)
    latentact.Indexer = PlaceIndexer if design == "place" else Indexer  # type: ignore[misc]
    clips = read_clips(data)
    config = TrialConfig(setting="objects:1/6", protocol="goal", seed=seed, **BUDGET)  # type: ignore[arg-type]
    # The codebook alone: its identity does not know the design of an indexer, nor does the indexer's.
    identity = stage_identities(config, clips.digest, workers="1", device="cpu")["codebook"]
    shelves = {"codebook": f"{shelf}/{identity}"}
    model = train_trial(config, clips, report=lambda metrics, save: None, shelves=shelves)
    val = part_windows(config, clips, "val")
    scored = evaluate(
        model.forecast, val, setting_group(clips, "objects"), contact_threshold=float(model.contact_threshold)
    )
    means = scored.means()
    print(f"{design} seed {seed}: {means['mpjpe_cm']:.2f} cm, F1 {means['contact_f1']:.3f}", flush=True)
    return scored


@click.command(help=__doc__)
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--seeds", default=3, show_default=True)
@click.option("--processes", default=2, show_default=True)
def main(data: Path, seeds: int, processes: int) -> None:
    with tempfile.TemporaryDirectory() as shelf, multiprocessing.get_context("spawn").Pool(processes) as pool:
        scores = {}
        for design in DESIGNS:  # the second finds the codebooks of the first
            jobs = [(str(data), design, seed, shelf) for seed in range(seeds)]
            scores[design] = average_seeds(pool.starmap(run, jobs, chunksize=1))
    for metric in ("mpjpe_cm", "contact_f1"):
        difference = scores["frame"].difference(scores["place"], metric)
        print(
            f"{metric}, a token a frame minus a token a place: {difference.estimate:+.3f} "
            f"[{difference.low:+.3f}, {difference.high:+.3f}] ({difference.groups} groups, {seeds} seeds)"
        )


if __name__ == "__main__":
    main()
