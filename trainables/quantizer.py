"""Residual vector quantizer with EMA codes (van den Oord et al. 2017; Zeghidour et al. 2021, SoundStream)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.collective import global_sum, world
from trainables.noise import SampleNoise, mix


@dataclass(frozen=True, kw_only=True)
class QuantizerConfig:
    codes: int = 256  # K
    width: int = 128  # D
    quantizers: int = 3  # Q; the paper has 6
    decay: float = 0.99  # EMA of code sums and counts
    # A code whose EMA count falls below this x (rows in a batch) is reset to a row of the batch. The release
    # resets below 1 at 512 x 30 rows; taken per row, the policy means the same at every batch size.
    dead_below_per_row: float = 1 / (512 * 30)
    temperature: float = 0.5  # of stochastic selection in training
    quantizer_dropout: float = 0.2  # share of batches that run only the first stages


@dataclass
class Quantized:
    latent_BTD: Tensor  # sum of the selected codes, straight-through to the input
    index_BTQ: Tensor  # int64, -1 for stages that quantizer dropout left out
    commitment: Tensor  # mean squared distance to the selected codes, mean over the stages that ran


class ResidualQuantizer(nn.Module):
    """Q stages; each quantises what the stages before it left over.

    The whole EMA state is in buffers and so in the state dict: a resumed run continues bit for bit.
    """

    codes_QKD: Tensor
    sums_QKD: Tensor
    counts_QK: Tensor
    started: Tensor

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config
        shape = (config.quantizers, config.codes, config.width)
        self.register_buffer("codes_QKD", torch.zeros(shape))
        self.register_buffer("sums_QKD", torch.zeros(shape))
        self.register_buffer("counts_QK", torch.zeros(shape[:2]))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    def embed(self, index_BTQ: Tensor) -> Tensor:
        """Latents (B,T,D) of code indices (B,T,Q): the sum over stages of the selected codes."""
        stage_Q = torch.arange(self.config.quantizers, device=index_BTQ.device)
        return self.codes_QKD[stage_Q, index_BTQ].sum(dim=-2)

    def expect(self, logits_BTQK: Tensor) -> Tensor:
        """Expected latents (B,T,D) under the categorical distributions given by logits."""
        return torch.einsum("btqk,qkd->btd", logits_BTQK.softmax(dim=-1), self.codes_QKD)

    def forward(self, z_BTD: Tensor, noise: SampleNoise | None = None) -> Quantized:
        """Quantise. With `noise` (training) selection is stochastic and the codes move; without it, argmin."""
        config, (batch, frames, width) = self.config, z_BTD.shape
        starting = noise is not None and not bool(self.started)
        stages = config.quantizers
        if noise is not None and not starting and noise.batch_uniform() < config.quantizer_dropout:
            stages = noise.batch_integer(1, config.quantizers + 1)
        residual_ND, total_ND = z_BTD.reshape(-1, width), torch.zeros_like(z_BTD).view(-1, width)
        indices, losses = [], []
        rows = residual_ND.shape[0]
        for stage in range(config.quantizers):
            if stage >= stages:
                indices.append(torch.full((rows,), -1, dtype=torch.int64, device=z_BTD.device))
                continue
            if noise is not None and starting:
                self._reset(stage, residual_ND.detach(), noise, torch.ones_like(self.counts_QK[stage]) > 0)
            codes_KD = self.codes_QKD[stage]
            # Squared L2 distance without |z|^2, which no comparison over codes needs.
            score_NK = torch.addmm((codes_KD**2).sum(-1), residual_ND.detach(), codes_KD.T, alpha=-2.0)
            if noise is not None:
                # argmax(-d / temperature + Gumbel), with Gumbel = -log Exp(1).
                draws = noise.exponential((frames, config.codes), z_BTD).view(rows, config.codes)
                score_NK = score_NK / config.temperature + draws.clamp_min_(1e-30).log_()
            index_N = score_NK.argmin(dim=-1)
            chosen_ND = codes_KD[index_N]
            losses.append(F.mse_loss(residual_ND, chosen_ND, reduction="sum") / width)
            if noise is not None:
                self._update(stage, residual_ND.detach(), index_N, noise)
            residual_ND = residual_ND - chosen_ND
            total_ND = total_ND + chosen_ND
            indices.append(index_N)
        if starting:
            self.started.fill_(True)
        count = global_sum(torch.tensor(float(rows), device=z_BTD.device))
        latent_BTD = z_BTD + (total_ND.view_as(z_BTD) - z_BTD).detach()
        index_BTQ = torch.stack(indices, dim=-1).view(batch, frames, -1)
        return Quantized(latent_BTD, index_BTQ, torch.stack(losses).sum() / (len(losses) * count))

    @torch.no_grad()
    def _update(self, stage: int, residual_ND: Tensor, index_N: Tensor, noise: SampleNoise) -> None:
        """EMA of code sums and counts over the global batch; codes that died are reset."""
        decay = self.config.decay
        sums_KD = torch.zeros_like(self.sums_QKD[stage]).index_add_(0, index_N, residual_ND)
        counts_K = torch.bincount(index_N, minlength=self.config.codes).to(residual_ND.dtype)
        both = global_sum(torch.cat([sums_KD, counts_K[:, None]], dim=1))
        self.sums_QKD[stage].lerp_(both[:, :-1], 1 - decay)
        self.counts_QK[stage].lerp_(both[:, -1], 1 - decay)
        self.codes_QKD[stage] = self.sums_QKD[stage] / self.counts_QK[stage].clamp_min(1e-12)[:, None]
        dead_below = self.config.dead_below_per_row * residual_ND.shape[0] * world()[1]
        self._reset(stage, residual_ND, noise, self.counts_QK[stage] < dead_below)

    @torch.no_grad()
    def _reset(self, stage: int, residual_ND: Tensor, noise: SampleNoise, which_K: Tensor) -> None:
        """Set the codes `which_K` to rows of the global batch, with count 1.

        Code k takes row (offset + k * stride) of the flattened batch, jittered by 0.01 / sqrt(D), so that codes
        stay apart where the batch has fewer rows than there are codes.
        """
        rank, ranks = world()
        rows, width = residual_ND.shape
        codes, device = self.config.codes, residual_ND.device
        total, first = rows * ranks, rank * rows
        stride = max(total // codes, 1)
        offset = mix(noise.seed, noise.step, stage, -3) % total
        row_K = (offset + torch.arange(codes, device=device) * stride) % total
        mine_K = (row_K >= first) & (row_K < first + rows)
        picked_KD = torch.where(mine_K[:, None], residual_ND[(row_K - first).clamp(0, rows - 1)], 0.0)
        generator = torch.Generator(device=device).manual_seed(mix(noise.seed, noise.step, stage, -4))
        jitter = torch.randn(codes, width, generator=generator, device=device) * (0.01 / width**0.5)
        picked_KD = global_sum(picked_KD) + jitter.to(picked_KD.dtype)
        which = which_K[:, None]
        self.codes_QKD[stage] = torch.where(which, picked_KD, self.codes_QKD[stage])
        self.sums_QKD[stage] = torch.where(which, picked_KD, self.sums_QKD[stage])
        self.counts_QK[stage] = torch.where(which_K, 1.0, self.counts_QK[stage])


def perplexity(index_BTQ: Tensor, codes: int) -> tuple[Tensor, Tensor]:
    """(exp of the entropy of code use, share of codes used), each (Q,), over the given indices."""
    flat_NQ = index_BTQ.reshape(-1, index_BTQ.shape[-1])
    offset_Q = torch.arange(flat_NQ.shape[1], device=flat_NQ.device) * codes
    counts_QK = torch.bincount((flat_NQ + offset_Q).reshape(-1), minlength=codes * flat_NQ.shape[1])
    p_QK = counts_QK.view(-1, codes).double()
    p_QK = p_QK / p_QK.sum(-1, keepdim=True)
    entropy_Q = -(p_QK * p_QK.clamp_min(1e-12).log()).sum(-1)
    return entropy_Q.exp(), (p_QK > 0).double().mean(-1)
