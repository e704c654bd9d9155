"""Time of a prediction beyond its image encoder, one by one and in batches of a folder's size, against their limits.

    python -m tests.benchmarks.predict_speed            # two threads, as the limits are meant

30 frames, skin of 778 vertices and contact included; the image is 64 x 64 pixels already, so that what a photo's decoding
and an image encoder cost is left out (the default's own small convolutional network is in). Limits, set by the project:
100 ms for one prediction, 10 ms each for 100 at once. "share of the limit" below 1 is within it. Figures go with the
machine: mm, the median time of a 2048^3 float32 product in the same process, is printed beside them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import click
import numpy as np
import torch

from tests.benchmarks.training_speed import matrix_product_s
from trainables.hand import load_hand
from trainables.latentact import LatentAct
from trainables.prompt import Prompt
from trainables.trial_config import TrialConfig

ONE_MS, EACH_MS, FOLDER = 100.0, 10.0, 100
MODELS: dict[str, dict[str, object]] = {
    "latentact, width 64": {},
    "latentact, the paper's size": {"width": 512, "quantizers": 6, "codes": 512, "heads": 1, "norm": False},
    "diffusion, 4 samples": {"method": "diffusion"},
}


def timed_ms(call: Callable[[], object], repeats: int) -> list[float]:
    """Milliseconds of each call, after one that is not counted."""
    call()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - started))
    return sorted(times)


def line(what: str, times_ms: list[float], limit_ms: float) -> str:
    middle = median(times_ms)
    return (
        f"  {what:<24} {middle:7.2f} ms ({times_ms[0]:.2f} to {times_ms[-1]:.2f} of {len(times_ms)}), "
        f"share of the limit {middle / limit_ms:.2f}"
    )


@click.command(help=(__doc__ or "").split("\n\n")[0])
@click.option("--threads", default=2, show_default=True)
@click.option("--repeats", default=9, show_default=True)
def main(threads: int, repeats: int) -> None:
    torch.set_num_threads(threads)
    click.echo(
        f"{threads} threads; mm = {matrix_product_s():.3f} s; limits {ONE_MS:.0f} ms for one, {EACH_MS:.0f} ms each"
    )
    for name, changes in MODELS.items():
        measure(name, changes, repeats)


def measure(name: str, changes: dict[str, object], repeats: int) -> None:
    torch.manual_seed(0)
    hand, rng = load_hand(), np.random.default_rng(0)
    config = TrialConfig(setting="objects", **changes)  # type: ignore[arg-type]
    shape = config.model(data="none", data_digest="d" * 64, hand=hand.name, encoders={})
    model = LatentAct(shape, hand).eval()
    image = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    prompts = [
        Prompt(text="push the mug left", image=image, contact_point=point)
        for point in rng.normal((0, 0, 0.5), 0.05, (FOLDER, 3)).tolist()
    ]
    click.echo(f"{name} ({sum(p.numel() for p in model.parameters()) / 1e6:.1f} million parameters)")
    click.echo(line("one", timed_ms(lambda: list(model.predict_batch(prompts[:1])), repeats), ONE_MS))
    alone = timed_ms(lambda: [list(model.predict_batch([one])) for one in prompts], max(3, repeats // 3))
    click.echo(line(f"{FOLDER} one by one, each", [ms / FOLDER for ms in alone], EACH_MS))
    together = timed_ms(lambda: list(model.predict_batch(prompts)), repeats)
    click.echo(line(f"{FOLDER} in batches, each", [ms / FOLDER for ms in together], EACH_MS))


if __name__ == "__main__":
    main()
