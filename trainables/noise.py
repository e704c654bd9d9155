"""Random draws keyed by sample, so that ranks, resumes and batch shards never change a result."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

CELL = 8  # samples that share one generator: small enough to split a batch, large enough to be cheap


def mix(*numbers: int) -> int:
    """A 63-bit seed from several integers (the finaliser of splitmix64, Steele et al. 2014)."""
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = (state ^ (number + 0x9E3779B97F4A7C15)) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1


class SampleNoise:
    """The noise of one training step.

    Sample `i` of the global batch gets the same numbers whichever rank holds it: noise is drawn per cell of
    8 neighbouring samples from a generator seeded by (seed, step, draw, cell). Nothing is kept between
    steps, so a resumed run needs no generator state.

    Args:
        seed: of the run.
        step: optimiser step, from 0.
        first: position in the global batch of this rank's first sample; a multiple of 8.
        count: samples on this rank; a multiple of 8.
    """

    def __init__(self, seed: int, step: int, first: int, count: int) -> None:
        if first % CELL or count % CELL:
            raise ValueError(
                f"batch shard [{first}, {first + count}) is not made of whole cells of {CELL} samples: "
                f"choose a batch size that is a multiple of {CELL} x the number of workers"
            )
        self.seed, self.step, self.first, self.count = seed, step, first, count
        self._draws = 0

    def _draw(
        self, per_sample: tuple[int, ...], like: Tensor, fill: Callable[[Tensor, torch.Generator], object]
    ) -> Tensor:
        self._draws += 1
        # float32 draws whatever the model's precision: float64 runs see the same numbers.
        out = torch.empty(self.count, *per_sample, dtype=torch.float32, device=like.device)
        generator = torch.Generator(device=like.device)
        for cell, part in enumerate(out.split(CELL)):
            generator.manual_seed(mix(self.seed, self.step, self._draws, self.first // CELL + cell))
            fill(part, generator)
        return out.to(like.dtype)

    def uniform(self, per_sample: tuple[int, ...], like: Tensor) -> Tensor:
        """Draws from [0, 1) of shape (count, *per_sample)."""
        return self._draw(per_sample, like, lambda part, g: part.uniform_(generator=g))

    def normal(self, per_sample: tuple[int, ...], like: Tensor) -> Tensor:
        """Standard normal draws of shape (count, *per_sample)."""
        return self._draw(per_sample, like, lambda part, g: part.normal_(generator=g))

    def dropout(self, x: Tensor, probability: float) -> Tensor:
        """Dropout of `x` (count, ...), scaled by 1 / (1 - probability)."""
        if probability == 0.0:
            return x
        keep = self._draw(
            tuple(x.shape[1:]), x, lambda part, g: part.bernoulli_(1.0 - probability, generator=g)
        )
        return x * keep / (1.0 - probability)

    def batch_integer(self, low: int, high: int) -> int:
        """One integer in [low, high) that the whole global batch shares."""
        self._draws += 1
        return low + mix(self.seed, self.step, self._draws, -1) % (high - low)

    def batch_uniform(self) -> float:
        """One number in [0, 1) that the whole global batch shares."""
        self._draws += 1
        return mix(self.seed, self.step, self._draws, -2) / 2**63
