import torch

from trainables.noise import SampleNoise
from trainables.quantizer import QuantizerConfig, ResidualQuantizer

CONFIG = QuantizerConfig(codes=16, width=4, quantizers=3, quantizer_dropout=0.0)


def trained(steps: int = 30, config: QuantizerConfig = CONFIG) -> tuple[ResidualQuantizer, torch.Tensor]:
    quantizer = ResidualQuantizer(config)
    z_BTD = torch.randn(16, 5, 4, generator=torch.Generator().manual_seed(0))
    for step in range(steps):
        quantizer(z_BTD, SampleNoise(0, step, 0, 16))
    return quantizer, z_BTD


def test_selection_is_the_nearest_code_of_each_residual():
    quantizer, z_BTD = trained()
    index_BTQ = quantizer(z_BTD).index_BTQ
    residual = z_BTD.clone()
    for stage in range(3):
        distance = (residual[..., None, :] - quantizer.codes_QKD[stage]).square().sum(-1)
        assert (index_BTQ[..., stage] == distance.argmin(-1)).all()
        residual -= quantizer.codes_QKD[stage][index_BTQ[..., stage]]


def test_latent_is_the_embedding_of_the_indices_and_more_stages_come_closer():
    quantizer, z_BTD = trained()
    quantized = quantizer(z_BTD)
    embedded = quantizer.embed(quantized.index_BTQ)
    torch.testing.assert_close(quantized.latent_BTD, embedded)
    first = quantizer.codes_QKD[0][quantized.index_BTQ[..., 0]]
    assert (z_BTD - embedded).norm() < 0.7 * (z_BTD - first).norm()


def test_expected_latent_of_certain_logits_is_the_embedding():
    quantizer, z_BTD = trained()
    index_BTQ = quantizer(z_BTD).index_BTQ
    logits = 1e4 * torch.nn.functional.one_hot(index_BTQ, 16).float()
    torch.testing.assert_close(quantizer.expect(logits), quantizer.embed(index_BTQ))


def test_straight_through_gradient_and_commitment():
    quantizer, z_BTD = trained()
    z_BTD = z_BTD.requires_grad_()
    quantized = quantizer(z_BTD)
    quantized.latent_BTD.sum().backward()
    torch.testing.assert_close(z_BTD.grad, torch.ones_like(z_BTD))
    residual, expected = z_BTD.detach(), []
    for stage in range(3):
        chosen = quantizer.codes_QKD[stage][quantized.index_BTQ[..., stage]]
        expected.append((residual - chosen).square().mean())
        residual = residual - chosen
    torch.testing.assert_close(quantized.commitment.detach(), torch.stack(expected).mean())


def test_dead_codes_come_back():
    quantizer, z_BTD = trained()
    with torch.no_grad():
        quantizer.codes_QKD[0, :8] = 1e6  # so far away that no vector chooses them
        quantizer.sums_QKD[0, :8] = 0.0
        quantizer.counts_QK[0, :8] = 0.0
    quantizer(z_BTD, SampleNoise(0, 99, 0, 16))
    assert (quantizer.codes_QKD[0].abs() < 100).all()


def test_quantizer_dropout_runs_only_the_first_stages():
    config = QuantizerConfig(codes=16, width=4, quantizers=3, quantizer_dropout=1.0)
    quantizer, z_BTD = trained(1, config)
    seen = set()
    for step in range(1, 40):
        index_BTQ = quantizer(z_BTD, SampleNoise(0, step, 0, 16)).index_BTQ
        left_out = (index_BTQ == -1).all(0).all(0)
        assert (left_out | (index_BTQ >= 0).all(0).all(0)).all()
        seen.add(int((~left_out).sum()))
    assert seen == {1, 2, 3}


def test_perplexity_of_uniform_and_of_constant_indices():
    uniform = torch.arange(8).repeat(4).view(4, 8, 1)
    constant = torch.zeros(4, 8, 1, dtype=torch.int64)
    both, live = perplexity(torch.cat([uniform, constant], -1), 8)
    torch.testing.assert_close(both, torch.tensor([8.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(live, torch.tensor([1.0, 0.125], dtype=torch.float64))
