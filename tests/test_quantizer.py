"""The residual quantizer: selection, gradients, and the life and death of codes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from trainables.noise import SampleNoise
from trainables.quantizer import QuantizerConfig, ResidualQuantizer

CONFIG = QuantizerConfig(codes=16, width=4, quantizers=3, quantizer_dropout=0.0)
SHARED = QuantizerConfig(codes=16, width=4, quantizers=3, quantizer_dropout=0.0, shared=True)
both = pytest.mark.parametrize("config", [CONFIG, SHARED], ids=["each its own", "shared"])


def trained(steps: int = 30, config: QuantizerConfig = CONFIG) -> tuple[ResidualQuantizer, Tensor]:
    quantizer = ResidualQuantizer(config)
    z_BTD = torch.randn(16, 5, 4, generator=torch.Generator().manual_seed(0))
    for step in range(steps):
        quantizer(z_BTD, SampleNoise(0, step, 0, 16))
    return quantizer, z_BTD


def plain_commitment(z_BTD: Tensor, codes_QKD: Tensor, index_BTQ: Tensor) -> Tensor:
    """Mean over the stages that ran of the mean squared distance to the chosen codes, the codes being constants."""
    left, terms = z_BTD, []
    for stage in range(index_BTQ.shape[-1]):
        if (index_BTQ[..., stage] >= 0).all():
            left = left - codes_QKD[stage][index_BTQ[..., stage]]
            terms.append(left.square().mean())
    return torch.stack(terms).mean()


@both
def test_selection_is_the_nearest_code_of_each_residual(config: QuantizerConfig) -> None:
    quantizer, z_BTD = trained(config=config)
    index_BTQ = quantizer(z_BTD).index_BTQ
    residual = z_BTD.clone()
    for stage in range(3):
        codes_KD = quantizer.codes_QKD[0 if config.shared else stage]
        distance = (residual[..., None, :] - codes_KD).square().sum(-1)
        assert (index_BTQ[..., stage] == distance.argmin(-1)).all()
        residual -= codes_KD[index_BTQ[..., stage]]


@both
def test_latent_is_the_embedding_of_the_indices_and_more_stages_come_closer(config: QuantizerConfig) -> None:
    quantizer, z_BTD = trained(config=config)
    quantized = quantizer(z_BTD)
    embedded = quantizer.embed(quantized.index_BTQ)
    torch.testing.assert_close(quantized.latent_BTD, embedded)
    first = quantizer.codes_QKD[0][quantized.index_BTQ[..., 0]]
    assert (z_BTD - embedded).norm() < 0.7 * (z_BTD - first).norm()


def test_a_shared_codebook_is_one_table_for_all_stages() -> None:
    quantizer, z_BTD = trained(config=SHARED)
    assert quantizer.codes_QKD.shape == (1, 16, 4) and quantizer.stages_QKD.shape == (3, 16, 4)
    index = quantizer(z_BTD).index_BTQ
    one_table = quantizer.codes_QKD[0]
    expected = sum(one_table[index[..., stage]] for stage in range(3))
    torch.testing.assert_close(quantizer.embed(index), expected)
    # All stages move it: after one step its counts have grown by the rows of three.
    before = quantizer.counts_QK.sum()
    quantizer(z_BTD, SampleNoise(0, 99, 0, 16))
    rows, decay = 16 * 5, SHARED.decay
    expected = before * decay**3 + rows * (1 - decay) * (1 + decay + decay**2)
    torch.testing.assert_close(quantizer.counts_QK.sum(), expected)


@both
def test_expected_latent_of_certain_logits_is_the_embedding(config: QuantizerConfig) -> None:
    quantizer, z_BTD = trained(config=config)
    index_BTQ = quantizer(z_BTD).index_BTQ
    logits = 1e4 * torch.nn.functional.one_hot(index_BTQ, 16).float()
    torch.testing.assert_close(quantizer.expect(logits), quantizer.embed(index_BTQ))


@both
def test_expected_latent_is_the_mean_over_codes_summed_over_stages(config: QuantizerConfig) -> None:
    quantizer, _ = trained(config=config)
    logits_BTQK = torch.randn(2, 5, 3, 16, generator=torch.Generator().manual_seed(1))
    expected = torch.zeros(2, 5, 4)
    for stage in range(3):
        share_BTK = logits_BTQK[:, :, stage].softmax(-1)
        for code in range(16):
            codes_KD = quantizer.codes_QKD[0 if config.shared else stage]
            expected += share_BTK[..., code, None] * codes_KD[code]
    torch.testing.assert_close(quantizer.expect(logits_BTQK), expected)


def test_the_gradient_goes_straight_through() -> None:
    quantizer, z_BTD = trained()
    z_BTD = z_BTD.requires_grad_()
    quantizer(z_BTD).latent_BTD.sum().backward()
    torch.testing.assert_close(z_BTD.grad, torch.ones_like(z_BTD))


@both
@pytest.mark.parametrize("training", [False, True])
def test_commitment_and_its_gradient_are_those_of_the_plain_formula(
    config: QuantizerConfig, training: bool
) -> None:
    quantizer, z_BTD = trained(config=config)
    quantizer, z_BTD = quantizer.double(), z_BTD.double().requires_grad_()
    if (
        config.shared
    ):  # in training each stage chooses from what the stage before it moved: hold the codes still
        quantizer.config = replace(config, decay=1.0)
        quantizer.codes_QKD.copy_(quantizer.sums_QKD / quantizer.counts_QK[..., None])
    constants = quantizer.stages_QKD.clone()
    quantized = quantizer(z_BTD, SampleNoise(0, 99, 0, 16) if training else None)
    plain = plain_commitment(z_BTD, constants, quantized.index_BTQ)
    torch.testing.assert_close(quantized.commitment, plain)
    (ours,), (theirs,) = (torch.autograd.grad(x, z_BTD) for x in (quantized.commitment, plain))
    assert theirs.abs().max() > 1e-4
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-9)


def test_stages_that_were_left_out_count_neither_in_commitment_nor_in_its_gradient() -> None:
    config = QuantizerConfig(codes=16, width=4, quantizers=3, quantizer_dropout=1.0)
    quantizer, z_BTD = trained(config=config)
    quantizer, z_BTD = quantizer.double(), z_BTD.double().requires_grad_()
    seen = set()
    for step in range(100, 120):
        constants = quantizer.stages_QKD.clone()
        quantized = quantizer(z_BTD, SampleNoise(0, step, 0, 16))
        plain = plain_commitment(z_BTD, constants, quantized.index_BTQ)
        torch.testing.assert_close(quantized.commitment, plain)
        (ours,), (theirs,) = (torch.autograd.grad(x, z_BTD) for x in (quantized.commitment, plain))
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-9)
        seen.add(int((quantized.index_BTQ[0, 0] >= 0).sum()))
    assert seen == {1, 2, 3}


def lose_half_of_the_codes(quantizer: ResidualQuantizer) -> None:
    with torch.no_grad():
        quantizer.codes_QKD[0, :8] = 1e6  # so far away that no vector chooses them
        quantizer.counts_QK[0, :8] = 1e-14
        quantizer.sums_QKD[0, :8] = 1e-8


def test_dead_codes_come_back() -> None:
    quantizer, z_BTD = trained()
    lose_half_of_the_codes(quantizer)
    quantizer(z_BTD, SampleNoise(0, 99, 0, 16))
    assert (quantizer.codes_QKD[0].abs() < 100).all()
    assert (quantizer.counts_QK[0, :8] == 1).all()


def test_without_a_threshold_dead_codes_stay_as_they_are() -> None:
    quantizer, z_BTD = trained(
        config=QuantizerConfig(codes=16, width=4, quantizers=3, quantizer_dropout=0.0, dead_below_per_row=0)
    )
    lose_half_of_the_codes(quantizer)
    for step in range(99, 109):
        quantizer(z_BTD, SampleNoise(0, step, 0, 16))
    torch.testing.assert_close(quantizer.codes_QKD[0, :8], torch.full((8, 4), 1e6))
    assert (quantizer.counts_QK[0, :8] < 1e-14).all()


def test_quantizer_dropout_runs_only_the_first_stages() -> None:
    config = QuantizerConfig(codes=16, width=4, quantizers=3, quantizer_dropout=1.0)
    quantizer, z_BTD = trained(1, config)
    seen = set()
    for step in range(1, 40):
        index_BTQ = quantizer(z_BTD, SampleNoise(0, step, 0, 16)).index_BTQ
        left_out = (index_BTQ == -1).all(0).all(0)
        assert (left_out | (index_BTQ >= 0).all(0).all(0)).all()
        seen.add(int((~left_out).sum()))
    assert seen == {1, 2, 3}


def test_evaluation_changes_nothing_and_training_does() -> None:
    quantizer, z_BTD = trained()
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    quantizer(z_BTD)
    assert all(torch.equal(value, before[name]) for name, value in quantizer.state_dict().items())
    quantizer(z_BTD, SampleNoise(0, 99, 0, 16))
    assert not torch.equal(quantizer.codes_QKD, before["codes_QKD"])
