"""Drawing codes by the inverse cumulative distribution gives the categorical distribution, and never an index outside."""

from __future__ import annotations

import torch
from torch import Tensor

from trainables.noise import SampleNoise
from trainables.quantizer import QuantizerConfig, ResidualQuantizer, draw

ALMOST_ONE = 1 - 2**-24  # the largest number below 1 that uniform draws of float32 give


def logits(codes: int = 16, seed: int = 0) -> Tensor:
    return 1.5 * torch.randn(codes, generator=torch.Generator().manual_seed(seed))


def test_draws_follow_the_categorical_distribution() -> None:
    """Chi-square with 15 degrees of freedom: below its 99.9 % quantile, for a seed that is fixed."""
    count = 40_000
    uniform_N = SampleNoise(0, 0, 0, count).uniform((), torch.zeros(()))
    drawn_N = draw(logits().expand(count, -1), uniform_N)
    expected_K = count * logits().softmax(-1)
    observed_K = torch.bincount(drawn_N, minlength=16)
    assert expected_K.min() > 5
    assert float(((observed_K - expected_K) ** 2 / expected_K).sum()) < 37.7
    # The statistic sees a small error: a distribution a tenth of a logit away would be refused.
    tilted_K = count * (logits() + 0.1 * torch.arange(16) / 15 * 3).softmax(-1)
    assert float(((observed_K - tilted_K) ** 2 / tilted_K).sum()) > 37.7


def test_evenly_spread_draws_hit_each_code_as_often_as_it_is_likely() -> None:
    count = 10_000
    uniform_N = (torch.arange(count) + 0.5) / count
    observed_K = torch.bincount(draw(logits(5).expand(count, -1), uniform_N), minlength=5)
    assert (observed_K - count * logits(5).softmax(-1)).abs().max() <= 1.01


def test_the_ends_of_the_interval_give_the_first_and_the_last_code() -> None:
    ends = torch.tensor([0.0, ALMOST_ONE])
    assert draw(logits().expand(2, -1), ends).tolist() == [0, 15]
    # Many rows, because their sums differ from 1 by rounding either way.
    rows = torch.randn(4096, 300, generator=torch.Generator().manual_seed(1))
    assert (draw(rows, torch.full((4096,), ALMOST_ONE)) == 299).all()
    assert (draw(rows, torch.zeros(4096)) == 0).all()


def test_a_code_that_cannot_be_is_never_drawn() -> None:
    certain = torch.full((3, 16), -1e4)
    certain[:, 5] = 0.0
    assert draw(certain, torch.tensor([0.0, 0.5, ALMOST_ONE])).tolist() == [5, 5, 5]
    two = certain.clone()
    two[:, 7] = 0.0
    assert draw(two, torch.tensor([0.0, 0.4999, ALMOST_ONE])).tolist() == [5, 5, 7]
    assert draw(two, torch.tensor([0.5, 0.5001, ALMOST_ONE])).tolist() == [7, 7, 7]


def test_each_row_has_a_distribution_of_its_own() -> None:
    rows = torch.full((4, 4), -1e4)
    rows[torch.arange(4), torch.tensor([2, 0, 3, 1])] = 0.0
    assert draw(rows, torch.full((4,), 0.3)).tolist() == [2, 0, 3, 1]


def test_training_selects_by_distance_over_temperature() -> None:
    """Share of each code over many steps, against softmax(-|z - code|^2 / temperature)."""
    config = QuantizerConfig(codes=4, width=2, quantizers=1, temperature=0.5, decay=1.0, dead_below_per_row=0)
    quantizer = ResidualQuantizer(config)
    codes_KD = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.6, 0.6]])
    with torch.no_grad():
        quantizer.codes_QKD[0] = quantizer.sums_QKD[0] = codes_KD
        quantizer.counts_QK.fill_(1.0)
        quantizer.started.fill_(True)
    z_D = torch.tensor([0.4, 0.3])
    index = quantizer(z_D.expand(4096, 8, 2), SampleNoise(3, 0, 0, 4096)).index_BTQ
    share_K = torch.bincount(index.flatten(), minlength=4) / index.numel()
    expected_K = (-(z_D - codes_KD).square().sum(-1) / 0.5).softmax(-1)
    torch.testing.assert_close(share_K, expected_K, atol=0.01, rtol=0)
    # Frozen by a decay of 1, the codes are where they were.
    torch.testing.assert_close(quantizer.codes_QKD[0], codes_KD)
